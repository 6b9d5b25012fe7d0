"""The chat a text protocol is spoken in: its turns, and what the record holds beside them."""

from collections.abc import Collection
from typing import Any

from pipeline.formats.base import Parsed
from pipeline.formats.images import place_images
from pipeline.formats.outcomes import read_outcome
from pipeline.formats.tool_schemas import openai_tools

_TOOL_KEYS = ("tools", "functions", "available_tools")


def turns_of(record: Any, *keys: str) -> list[dict[str, Any]] | None:
    """The role/content messages of a chat: the record itself, or the first of `keys` it has; None where it is none."""
    if isinstance(record, dict):
        record = next((record[key] for key in keys if key in record), None)
    if isinstance(record, list) and record and all(isinstance(turn, dict) and "role" in turn for turn in record):
        return record
    return None


def read_beside(parsed: Parsed, record: Any, used: Collection[str]) -> Parsed:
    """The trajectory with the tools, images, reward, success and ground truth that the record has beside its turns.

    Works in place. What the protocol itself said stays; keys that nothing was read from, `used` left out, join the
    metadata.
    """
    if not isinstance(record, dict):
        return parsed
    consumed = set(used)
    if record.get("images") is not None:
        place_images(parsed.messages, record["images"])
        consumed.add("images")
    for key in _TOOL_KEYS:
        if parsed.tools is None and key not in consumed and record.get(key) is not None:
            parsed.tools = openai_tools(record[key])
            if parsed.tools is not None:
                consumed.add(key)
    outcome = read_outcome(record)
    parsed.reward = outcome.reward if parsed.reward is None else parsed.reward
    parsed.success = outcome.success if parsed.success is None else parsed.success
    parsed.ground_truth = outcome.ground_truth if parsed.ground_truth is None else parsed.ground_truth
    consumed |= outcome.used
    parsed.metadata |= {key: value for key, value in record.items() if key not in consumed}
    return parsed
