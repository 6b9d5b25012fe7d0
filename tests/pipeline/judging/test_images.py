"""Images that do not decode are found, and told by place; those that only have an address are left alone."""

import base64
import io
import struct
import zlib
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.formats.base import message
from pipeline.judging.images import BROKEN, broken_images, image_fault, sendable_images
from pipeline.schema import PROMPTS
from tests.factories import make_frame, make_trajectory, user


def picture(kind: str = "PNG", size: tuple[int, int] = (40, 30), **how: Any) -> bytes:
    """The bytes of an image whose pixels differ."""
    image = Image.effect_noise(size, 80)
    held = io.BytesIO()
    image.convert(how.pop("mode", "RGB")).save(held, kind, **how)
    return held.getvalue()


def uri(held: bytes, kind: str = "image/png") -> str:
    """A data URI."""
    return f"data:{kind};base64,{base64.b64encode(held).decode()}"


def bare_png(wide: int, high: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(name: bytes, held: bytes) -> bytes:
        return struct.pack(">I", len(held)) + name + held + struct.pack(">I", zlib.crc32(name + held))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", wide, high, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def animated() -> bytes:
    """A GIF of three frames."""
    frames = [Image.new("P", (20, 20), color) for color in range(3)]
    held = io.BytesIO()
    frames[0].save(held, "GIF", save_all=True, append_images=frames[1:])
    return held.getvalue()


PNG, JPEG = picture(), picture("JPEG")


@pytest.mark.parametrize(
    ("reference", "fault"),
    [
        (uri(PNG), None),
        (uri(JPEG, "image/jpeg"), None),
        (uri(picture("WEBP"), "image/webp"), None),
        (uri(picture("GIF", mode="P"), "image/gif"), None),
        (uri(picture("BMP"), "image/bmp"), None),
        (uri(picture("TIFF"), "image/tiff"), None),
        (uri(animated(), "image/gif"), None),
        (uri(JPEG), None),
        (uri(PNG).replace("base64,", "base64,\n "), None),
        ("data:image/svg+xml;utf8,%3Csvg xmlns='http://www.w3.org/2000/svg'/%3E", None),
        ("images/0001.png", None),
        ("https://pictures.example/0001.png", None),
        ("file:///etc/passwd", None),
        ("", "empty"),
        (" \n", "empty"),
        ("data:image/png;base64,", "empty"),
        ("data:image/png", "not a data URI"),
        ("data:image/png;base64,@@@@", "not base64"),
        (uri(PNG)[:-3], "not base64"),
        ("data:image/png,plain", "not an image"),
        (uri(b"<html>404 Not Found</html>"), "not an image"),
        (uri(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), "not an image"),
        (uri(b"%PDF-1.7", "application/pdf"), "not an image"),
        (uri(b"nothing", "image/svg+xml"), "not an image"),
        (uri(PNG[: len(PNG) // 2]), "cut off"),
        (uri(JPEG[: len(JPEG) // 2]), "cut off"),
        (uri(PNG[:20]), "cut off"),
        (uri(PNG[:60] + b"\xff" * 9 + PNG[69:]), "damaged"),
        (uri(bare_png(0, 5)), "not an image"),
        (uri(bare_png(9_000, 2)), "9,000 x 2 pixels"),
        (uri(bare_png(12_000, 12_000)), "12,000 x 12,000 pixels"),
        (uri(bare_png(60_000, 60_000)), "more than 178,956,970 pixels"),
    ],
)
def test_an_image_is_broken_only_if_it_does_not_decode(reference: str, fault: str | None) -> None:
    assert image_fault(reference) == fault


def test_broken_images_of_trajectories_are_told_by_message_and_place() -> None:
    rows = make_frame(
        make_trajectory([user("q"), message("user", "q", images=[uri(PNG), uri(PNG[:99])])]),
        make_trajectory(
            [message("user", "q", images=["a.png"]), message("tool", "r", images=["data:image/png;base64,"])]
        ),
        make_trajectory(),
    ).collect()
    found = broken_images(rows)
    assert dict(found.schema) == BROKEN
    assert found.rows() == [("t0", 1, 1, "cut off"), ("t1", 1, 0, "empty")]


def test_broken_images_of_prompts_have_no_message() -> None:
    rows = pl.DataFrame(
        [
            {"task_id": "p0", "images": [uri(JPEG), "b.png", uri(b"x"), None]},
            {"task_id": "p1", "images": None},
            {"task_id": "p2", "images": []},
        ],
        schema={name: PROMPTS[name] for name in ("task_id", "images")},
    )
    assert broken_images(rows).rows() == [("p0", None, 2, "not an image")]


def test_no_images_are_none_broken() -> None:
    assert broken_images(make_frame(make_trajectory()).collect()).height == 0
    assert dict(broken_images(pl.DataFrame(schema=PROMPTS)).schema) == BROKEN


@given(st.integers(0, len(PNG) - 1), st.binary(min_size=1, max_size=30))
def test_whatever_the_bytes_the_answer_is_a_fault_or_none(start: int, noise: bytes) -> None:
    told = image_fault(uri(PNG[:start] + noise + PNG[start + len(noise) :]))
    assert told in (None, "cut off", "damaged", "not an image") or "pixels" in told


def test_only_pixels_in_the_row_are_sent_and_not_too_many() -> None:
    given = [
        "a.png",
        uri(PNG),
        None,
        "https://x.example/a.png",
        uri(JPEG, "image/jpeg"),
        uri(b"<svg/>", "image/svg+xml"),
    ]
    assert sendable_images(given, 8) == {2: given[1], 5: given[4]}
    assert sendable_images(given, 1) == {2: given[1]}
    assert sendable_images([], 8) == {}
