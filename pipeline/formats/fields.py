"""Fields of a raw record: the value of the wanted kind, or a FormatError saying where, wanted, found."""

from typing import Any

import orjson

from pipeline.errors import FormatError
from pipeline.formats.base import json_text
from pipeline.schema import Message


def wanted(where: str, want: str, found: Any) -> FormatError:
    """The error for a field that is missing or of another kind; a long value is cut."""
    shown = "nothing" if found is None else f"{type(found).__name__} {str(found)[:60]!r}"
    return FormatError(f"{where}: want {want}, found {shown}")


def list_at(record: Any, key: str, where: str) -> list[Any]:
    """The list under `key`. Raises FormatError if there is none."""
    value = record.get(key) if isinstance(record, dict) else None
    if not isinstance(value, list):
        raise wanted(f"{where}.{key}", "a list", value)
    return value


def object_at(record: dict[str, Any], key: str) -> dict[str, Any]:
    """The object under `key`; empty where there is none."""
    value = record.get(key)
    return value if isinstance(value, dict) else {}


def word_at(record: dict[str, Any], key: str) -> str:
    """The text under `key`, for a name or id to look up; empty where there is none."""
    value = record.get(key)
    return value if isinstance(value, str) else ""


def dict_of(value: Any, where: str) -> dict[str, Any]:
    """The value itself, a dict. Raises FormatError if it is none."""
    if not isinstance(value, dict):
        raise wanted(where, "an object", value)
    return value


def text_of(value: Any) -> str | None:
    """A text as it stands, null as null, anything else as JSON text."""
    if value is None or isinstance(value, str):
        return value
    return json_text(value)


def json_or(value: Any, default: Any) -> Any:
    """The value a JSON text holds; a value that is no text as it stands; `default` for a text that is not JSON."""
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return default


def answer_last_call(messages: list[Message], observation: Message) -> None:
    """Append an observation tied to the last call of the last message, for streams where nothing else ties them.

    An id made up here is the one that `pair_by_position` would make.
    """
    calls = messages[-1]["tool_calls"] if messages else None
    if calls and not observation["tool_call_id"]:
        calls[-1]["id"] = calls[-1]["id"] or f"call_{len(messages) - 1}_{len(calls) - 1}"
        observation["tool_call_id"] = calls[-1]["id"]
        observation["name"] = observation["name"] or calls[-1]["name"]
    messages.append(observation)


def some(**values: Any) -> dict[str, Any]:
    """The values that say something: neither null nor empty. For metadata."""
    return {key: value for key, value in values.items() if value not in (None, "", [], {}, 0) or value is False}
