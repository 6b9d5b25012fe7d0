"""Tool calls out of generated text: each dialect that a chat template may teach its model."""

import json
import re
from dataclasses import dataclass
from typing import Any, Protocol

from pipeline.formats.base import tool_call
from pipeline.formats.inline import enclosed
from pipeline.schema import ToolCall

_CALL = {"<tool_call>": "</tool_call>"}
_SPACE = re.compile(r"\s*")
_NAME = re.compile(r'"name"\s*:\s*("(?:[^"\\]|\\.)*+")')
_PYTHON_TAG = "<|python_tag|>"
_DECODER = json.JSONDecoder(strict=False, parse_int=len)  # its value is not needed, and may have too many digits
_ARGUMENTS = ("arguments", "parameters")


@dataclass(frozen=True, slots=True)
class Said:
    """One generation's text: the words, and the calls among them."""

    content: str | None
    """What stands outside the calls, in order, stripped."""
    tool_calls: tuple[ToolCall, ...] = ()


class Dialect(Protocol):
    """How calls are written."""

    name: str

    def read(self, text: str, *, is_cut: bool) -> Said:
        """Words and calls. Never raises: a call that cannot be read is one with its text as arguments.

        `is_cut`: the text broke off, so a call that is still open at its end was not made.
        """
        ...


class HermesTags:
    """`<tool_call>{"name": …, "arguments": …}</tool_call>`, as Hermes, Qwen and our own world write it."""

    name = "hermes"

    def read(self, text: str, *, is_cut: bool) -> Said:
        """Every tag is a call; one left open is one as well, unless the text broke off in it."""
        words: list[str] = []
        calls: list[ToolCall] = []
        position = 0
        for start, end, _, body in enclosed(text, _CALL):
            words.append(text[position:start])
            calls.append(read_call(body))
            position = end
        opened = text.find("<tool_call>", position)
        if opened >= 0 and not is_cut:
            words.append(text[position:opened])
            calls.append(read_call(text[opened + len("<tool_call>") :]))
        else:
            words.append(text[position:])
        return Said("\n".join(filter(None, map(str.strip, words))) or None, tuple(calls))


class LlamaJson:
    """A whole message that is `{"name": …, "parameters": …}`, as Llama 3.1 and 3.2 write it.

    Further calls follow behind a semicolon; the tag that announces code may stand in front.
    """

    name = "llama"

    def read(self, text: str, *, is_cut: bool) -> Said:
        """Calls if the text is a named JSON object, broken or whole; otherwise words."""
        body = text.strip().removeprefix(_PYTHON_TAG).strip()
        if not body.startswith("{"):
            return Said(text.strip() or None)
        calls: list[ToolCall] = []
        position = 0
        while position < len(body):
            members = object_members(body, position)
            if members is None or "name" not in members[0] or not members[0].keys() & set(_ARGUMENTS):
                return self._broken(text, body, calls, position, is_cut=is_cut)
            calls.append(_call_of(members[0]))
            position = _after_space(body, members[1])
            if position < len(body) and body[position] != ";":
                return Said(body[position:], tuple(calls))
            position = _after_space(body, position + 1)
        return Said(None, tuple(calls))

    @staticmethod
    def _broken(text: str, body: str, calls: list[ToolCall], position: int, *, is_cut: bool) -> Said:
        """What a text is from the point on where no call can be read."""
        rest = body[position:]
        named = _name_in(rest) if not is_cut and rest.startswith("{") else None
        if named is not None and any(f'"{key}"' in rest for key in _ARGUMENTS):
            return Said(None, (*calls, tool_call(named, rest)))
        return Said(rest if calls else text.strip(), tuple(calls))


HERMES = HermesTags()
DIALECTS: tuple[Dialect, ...] = (HERMES, LlamaJson())
"""In the order they are tried on a template's own rendering of a call."""


def read_call(body: str) -> ToolCall:
    """The call that one JSON object describes, its arguments as emitted; a broken one keeps its text as arguments."""
    body = body.strip()
    members = object_members(body, 0)
    if members is None or members[1] != len(body):
        return tool_call(_name_in(body), body)
    return _call_of(members[0])


def object_members(text: str, position: int) -> tuple[dict[str, tuple[Any, str]], int] | None:
    """Value and source text of each member of the JSON object that starts here, and where it ends; None: none does."""
    if text[position : position + 1] != "{":
        return None
    members: dict[str, tuple[Any, str]] = {}
    position = _after_space(text, position + 1)
    if text[position : position + 1] == "}":
        return members, position + 1
    try:
        while text[position : position + 1] == '"':
            key, position = _DECODER.raw_decode(text, position)
            position = _after_space(text, position)
            if text[position : position + 1] != ":":
                return None
            position = _after_space(text, position + 1)
            value, end = _DECODER.raw_decode(text, position)
            members[key] = (value, text[position:end])
            position = _after_space(text, end)
            if text[position : position + 1] == "}":
                return members, position + 1
            if text[position : position + 1] != ",":
                return None
            position = _after_space(text, position + 1)
    except (ValueError, RecursionError):
        return None
    return None


def _call_of(members: dict[str, tuple[Any, str]]) -> ToolCall:
    """The call of an object's members; a call without arguments has none, as the trace formats read it."""
    name, _ = members.get("name", (None, ""))
    value, source = next((members[key] for key in _ARGUMENTS if key in members), ({}, "{}"))
    return tool_call(name if isinstance(name, str) else None, value if isinstance(value, str) else source)


def _name_in(text: str) -> str | None:
    """The first name that a broken call's text gives."""
    found = _NAME.search(text)
    try:
        return _DECODER.decode(found[1]) if found else None
    except ValueError:
        return None


def _after_space(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position
