"""Blocks made to fit a prompt: what decides is kept whole if it can be, what lies between gives way."""

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

import orjson

from pipeline.judging.blocks import Block, Look, TraceBlocks
from pipeline.judging.shortening import width
from pipeline.privacy.redaction import redact_text

_SHARE = 5
"""Blocks that are always shown are cut to one part in so many where they would not fit whole; there are at most four,
and the tools take less than a part."""
_DESCRIPTION_CHARS = 120
_MARKED = "  <== THE MARKED CALL"


def fit_trace(blocks: TraceBlocks, tools: Block | None, look: Look, limit: int) -> str:
    """A whole trajectory: always its task, its last observation and its end; of the rest the middle gives way."""
    kept = () if blocks.last_observation is None else (blocks.last_observation,)
    return _fit(blocks, blocks.events, kept, blocks.closing, tools, look, limit)


def fit_steps(blocks: TraceBlocks, tools: Block | None, look: Look, limit: int) -> list[str]:
    """For each call the trajectory up to its observation: always the task, the call, marked, and the observation."""
    return [
        _fit(blocks, blocks.events[: end + 1], {at, end}, (), tools, look, limit, marked=at) for at, end in blocks.calls
    ]


def fit_blocks(blocks: Sequence[Block], look: Look, limit: int) -> str:
    """Blocks that are all shown, the first with what room the others leave."""
    first, *others = blocks
    share = limit // _SHARE
    rest = [block.shown(look, share) for block in others]
    room = limit - sum(width(told) for told in rest)
    return "\n".join([first.shown(look, max(room, share)), *rest])


def _fit(
    blocks: TraceBlocks,
    events: Sequence[Block],
    kept: Collection[int],
    closing: Sequence[Block],
    tools: Block | None,
    look: Look,
    limit: int,
    *,
    marked: int | None = None,
) -> str:
    """The blocks in order, with a note wherever some are left out."""
    opening = [blocks.task] if tools is None else [blocks.task, tools]
    always = [*opening, *closing, *(events[place] for place in kept)]
    cut = look.max_message
    room = limit - sum(block.width(look, cut) for block in always)
    if room < 0:
        cut = limit // _SHARE
        room = limit - sum(block.width(look, cut) for block in always)
    chosen = _chosen(events, kept, look, cut, room)
    parts = [block.shown(look, cut) for block in opening]
    position = 0
    for place in [*chosen, len(events)]:
        if place > position:
            parts.append(f"[{place - position:,} messages and calls left out here]")
        if place < len(events):
            told = events[place].shown(look, cut)
            parts.append(told.replace("\n", f"{_MARKED}\n", 1) if place == marked else told)
        position = place + 1
    return "\n".join([*parts, *(block.shown(look, cut) for block in closing)])


def _chosen(events: Sequence[Block], kept: Collection[int], look: Look, cut: int, room: int) -> list[int]:
    """Places of the events shown: those kept, then from both ends inward, the end first, as long as there is room."""
    chosen = set(kept)
    front, back = 0, len(events) - 1
    is_open = {"front": True, "back": True}
    side = "back"
    while front <= back and any(is_open.values()):
        if is_open[side]:
            place = back if side == "back" else front
            needed = 0 if place in kept else events[place].width(look, cut)
            if needed > room:
                is_open[side] = False
            else:
                room -= needed
                chosen.add(place)
                front, back = (front, back - 1) if side == "back" else (front + 1, back)
        side = "front" if side == "back" else "back"
    return sorted(chosen)


def tools_block(tools: str | None, called: Collection[str] = ()) -> Block | None:
    """The declared tools by name, parameters and first sentence; None where nothing readable is declared.

    Those that are called come first, where nothing is cut off.
    """
    described = _described_tools(tools) if tools else {}
    lines = sorted(described, key=lambda line: described[line] not in called)
    return Block("TOOLS AT HAND", "\n".join(lines)) if lines else None


@lru_cache(maxsize=1024)
def _described_tools(tools: str) -> dict[str, str]:
    """A line on each tool, redacted, with the tool's name."""
    try:
        listed: Any = orjson.loads(tools)
    except orjson.JSONDecodeError:
        return {}
    held = [_described(entry) for entry in listed] if isinstance(listed, list) else []
    return {redact_text(line): name for name, line in held if name}


def _described(entry: Any) -> tuple[str, str]:
    """One tool's name, and the tool in one line; both empty where it has no name."""
    held = entry.get("function", entry) if isinstance(entry, dict) else None
    if not isinstance(held, dict) or not isinstance(held.get("name"), str):
        return "", ""
    schema = held.get("parameters", held.get("input_schema"))
    properties = schema.get("properties") if isinstance(schema, dict) else None
    names = ", ".join(map(str, properties)) if isinstance(properties, dict) else ""
    described = held.get("description")
    first = " ".join(described.split()).partition(". ")[0][:_DESCRIPTION_CHARS] if isinstance(described, str) else ""
    return held["name"], f"{held['name']}({names})" + (f": {first}" if first else "")
