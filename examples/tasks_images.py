"""Tasks about tiny pictures: bar heights and coloured squares, drawn pixel by pixel."""

import base64
import random
import struct
import zlib

from examples.tools import python
from examples.trace import Step, Trace, assemble
from examples.world import ISLANDS

_SIDE = 24
_COLOURS = {"red": (200, 40, 40), "green": (40, 160, 60), "blue": (40, 70, 200), "yellow": (230, 200, 50)}
_WHITE = (255, 255, 255)


def png(pixels: list[list[tuple[int, int, int]]]) -> str:
    """A picture as a base64 PNG. Stored, not deflated: the bytes must not depend on the zlib at hand."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    palette = sorted({pixel for row in pixels for pixel in row})
    raw = b"".join(b"\0" + bytes(palette.index(pixel) for pixel in row) for row in pixels)
    stored = (
        b"\x78\x01\x01" + struct.pack("<HH", len(raw), len(raw) ^ 0xFFFF) + raw + struct.pack(">I", zlib.adler32(raw))
    )
    header = struct.pack(">IIBBBBB", len(pixels[0]), len(pixels), 8, 3, 0, 0, 0)
    colours = b"".join(bytes(colour) for colour in palette)
    body = chunk(b"IHDR", header) + chunk(b"PLTE", colours) + chunk(b"IDAT", stored) + chunk(b"IEND", b"")
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + body).decode()


def bars(rng: random.Random) -> Trace:
    """Read bar heights, compute something awkward of them with Python."""
    heights = [rng.randint(3, 22) for _ in range(4)]
    colour = rng.choice(list(_COLOURS))
    pixels = [
        [_COLOURS[colour] if x % 6 < 4 and _SIDE - y <= heights[x // 6] else _WHITE for x in range(_SIDE)]
        for y in range(_SIDE)
    ]
    port, catch = rng.choice(ISLANDS).port, rng.choice(("herring", "crab", "mackerel", "eel", "oyster", "squid"))
    power = rng.randint(3, 6)
    code = f"heights = {heights}\nprint(sum(h ** {power} for h in heights))"
    prompt = rng.choice(
        (
            f"The {colour} bars show four weeks of {catch} landed at {port}. Sum the heights, each raised to the "
            f"power {power}.",
            f"Read the four {colour} bars ({catch}, {port}), raise each height to {power} and add the results.",
        )
    )
    trace = assemble(
        rng,
        kind="bars",
        prompt=prompt,
        steps=[
            Step(f"The bars are {', '.join(map(str, heights))} high; powers need a program.", "python", {"code": code})
        ],
        reply=f"The {catch} bars add up.",
        answer=python(code).strip(),
        tools=["python", "search"],
        necessary=True,
    )
    trace.images = [png(pixels)]
    return trace


def squares(rng: random.Random) -> Trace:
    """Count a few coloured squares; no tool could help."""
    wanted = rng.choice(list(_COLOURS))
    cells = [rng.choice((wanted, *_COLOURS, None)) for _ in range(9)]
    pixels = [
        [
            _COLOURS[name] if (name := cells[y // 8 * 3 + x // 8]) and x % 8 < 6 and y % 8 < 6 else _WHITE
            for x in range(_SIDE)
        ]
        for y in range(_SIDE)
    ]
    count = cells.count(wanted)
    what = rng.choice(
        ("flags on the mast", "crates on deck", "windows of the customs house", "tiles of the floor", "sails")
    )
    place = rng.choice(ISLANDS).port
    prompt = rng.choice(
        (
            f"How many of the {what} at {place} are {wanted} in this picture?",
            f"Count the {wanted} squares; they stand for {what} in {place}.",
            f"The sketch from {place} shows {what}. Say how many are {wanted}.",
        )
    )
    trace = assemble(
        rng,
        kind="squares",
        prompt=prompt,
        steps=[],
        reply=rng.choice(
            (f"I see the {wanted} ones clearly.", f"Counting the {wanted} squares row by row.", "A short count.")
        ),
        answer=str(count),
        tools=["python"],
        necessary=False,
    )
    trace.images = [png(pixels)]
    return trace


IMAGE_KINDS = (bars, bars, squares)
