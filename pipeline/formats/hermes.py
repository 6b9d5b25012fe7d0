"""Hermes and Qwen XML: `<tool_call>` in assistant turns, `<tool_response>` in tool turns, in chat or in ChatML text."""

import ast
import re
from itertools import zip_longest
from typing import Any

import orjson

from pipeline.errors import FormatError
from pipeline.formats.base import Parsed, content_text, message, pair_by_position, tool_call
from pipeline.formats.chat_messages import ROLES
from pipeline.formats.chat_turns import read_beside
from pipeline.formats.inline import enclosed, known_role, split_think
from pipeline.formats.tool_schemas import openai_tools
from pipeline.schema import Message, ToolCall

_CALL = {"<tool_call>": "</tool_call>"}
_RESPONSE = {"<tool_response>": "</tool_response>"}
_TOOLS = {"<tools>": "</tools>"}
_RESPONSE_NAME = re.compile(r"""\A\{\s*["']name["']\s*:\s*["']([^"']+)["']""")
_CALL_NAME = re.compile(r"""["']name["']\s*:\s*["']([^"']+)["']""")
_BLOCK = re.compile(
    r"<\|im_start\|>[ \t]*(\w+)[ \t]*\n?(.*?)(?:<\|im_end\|>|(?=<\|im_start\|>)|(?=^```)|\Z)", re.DOTALL | re.MULTILINE
)
_ROLES = ROLES | {"observation": "tool"}
_MAX_LITERAL = 1_000_000
"""Characters of a payload that `ast.literal_eval` is asked to read."""


class HermesFormat:
    """Payloads are JSON or, from Hermes itself, Python literals; arguments come out as JSON text either way."""

    name = "hermes"

    def detects(self, record: Any) -> bool:
        """Whether the record is a ChatML text with a user and an assistant turn, or a chat that uses the tags.

        A chat whose system turn declares `<tools>` speaks the protocol also where it calls none of them.
        """
        text = _chatml_text(record)
        if text is not None:
            found = _runs(text)
            return bool(found) and not text[: found[0][0]].strip()
        turns = _turns(record)
        if turns is None:
            return False
        return any(_is_tagged(turn) for turn in turns) or (
            _declares_tools(turns[0]) and not any(turn.get("tool_calls") for turn in turns)
        )

    def split(self, text: str) -> list[str] | None:
        """Each ChatML conversation with a user and an assistant turn, and the text between; every character once."""
        if "<|im_start|>" not in text:
            return None
        parts: list[str] = []
        position = 0
        for start, end in _runs(text):
            if start > position:
                parts.append(text[position:start])
            parts.append(text[start:end])
            position = end
        if not parts:
            return None
        if position < len(text):
            parts.append(text[position:])
        return parts

    def parse(self, record: Any) -> Parsed:
        """The conversation; what `<tools>` in the system turn lists is declared."""
        text = _chatml_text(record)
        if text is not None:
            turns = [(_role(found[1]), found[2].strip(), []) for found in _BLOCK.finditer(text)]
        else:
            turns = [(_role(str(turn.get("role", turn.get("from")))), *_said(turn)) for turn in _turns(record) or ()]
        if not turns:
            raise FormatError("hermes: want role/content messages or ChatML text, found neither; check the record")
        messages: list[Message] = []
        tools: list[dict[str, Any]] | None = None
        for (role, content, images), after in zip_longest(turns, turns[1:], fillvalue=("", "", [])):
            if role == "assistant":
                messages.append(_assistant(content, is_answered=_is_response(after[0], after[1])))
            elif _is_response(role, content):
                messages.extend(_observations(content))
            else:
                role = known_role(role, "hermes")
                if role == "system" and tools is None:
                    tools = _declared(content)
                messages.append(message(role, content))
            messages[-1]["images"] = images or None
        if tools is None and isinstance(record, dict) and record.get("tools"):
            tools = openai_tools(record["tools"]) or _declared(f"<tools>{record['tools']}</tools>")
        parsed = Parsed(messages=pair_by_position(messages), tools=tools)
        return read_beside(parsed, record, ("messages", "conversations", "text", "tools"))


def read_payload(text: str) -> Any:
    """The value of a payload that is JSON or a Python literal; None where it is neither."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    if len(text) > _MAX_LITERAL:
        return None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None


def calls_of(block: str) -> list[ToolCall]:
    """The calls of one tag: one payload, or several, one a line; what cannot be read stays as text under its name."""
    payload = read_payload(block)
    if payload is None and "\n" in block:
        lines = [line for line in block.splitlines() if line.strip()]
        payloads = [read_payload(line) for line in lines]
        if all(isinstance(item, dict) for item in payloads):
            payload = payloads
    listed = [item for item in (payload if isinstance(payload, list) else [payload]) if isinstance(item, dict)]
    if not listed or (isinstance(payload, list) and len(listed) < len(payload)):
        name = _CALL_NAME.search(block)
        return [tool_call(name[1] if name else None, block)]
    return [_call_of(item) for item in listed]


def _call_of(payload: dict[str, Any]) -> ToolCall:
    """The call a payload describes."""
    name = payload.get("name")
    return tool_call(name if isinstance(name, str) else None, payload.get("arguments", payload.get("parameters")))


def _is_response(role: str, content: str) -> bool:
    """Whether a turn brings observations: a tool's, or the user's in the tag."""
    return role == "tool" or (
        role == "user" and content.startswith("<tool_response>") and "</tool_response>" in content
    )


def _assistant(content: str, *, is_answered: bool) -> Message:
    """The message of one assistant turn; a tool response of its own, or words between calls, keep it verbatim.

    A last call that is not closed was made if it got an answer: the closing tag was the word to stop at. Without one
    the text broke off.
    """
    # a call inside the think block is only talked about
    found = [block for block in enclosed(content, _CALL) if block[0] > content.rfind("</think>")]
    cut = content.rfind("<tool_call>") if is_answered else -1
    if cut > max((end for _, end, _, _ in found), default=content.rfind("</think>")):
        found.append((cut, len(content), "<tool_call>", content[cut + len("<tool_call>") :]))
    if not found:
        reasoning, words = split_think(content)
        return message("assistant", words, reasoning=reasoning)
    calls = [call for _, _, _, body in found for call in calls_of(body.strip())]
    starts = [start for start, _, _, _ in found[1:]] + [len(content)]
    if any(content[end:start].strip() for (_, end, _, _), start in zip(found, starts, strict=True)):
        return message("assistant", content, tool_calls=calls)
    reasoning, words = split_think(content[: found[0][0]])
    return message("assistant", words, reasoning=reasoning, tool_calls=calls)


def _observations(content: str) -> list[Message]:
    """One tool message per response; a tool turn without the tag is one observation as it stands."""
    found = [body.strip() for _, _, _, body in enclosed(content, _RESPONSE)]
    if not found:
        return [message("tool", content)]
    named = [(body, _RESPONSE_NAME.match(body)) for body in found]
    return [message("tool", body, name=name[1] if name else None) for body, name in named]


def _declared(system: str) -> list[dict[str, Any]] | None:
    """The function schemas in the system turn's last `<tools>`: a list, or one schema a line."""
    for _, _, _, block in reversed(list(enclosed(system, _TOOLS))):
        if not block.strip():
            continue
        payload = read_payload(block.strip())
        if payload is None:
            payload = [read_payload(line) for line in block.splitlines() if line.strip()]
        listed = payload if isinstance(payload, list) else [payload]
        if listed and all(isinstance(item, dict) for item in listed):
            return [item if "function" in item else {"type": "function", "function": item} for item in listed]
    return None


def _runs(text: str) -> list[tuple[int, int]]:
    """Where conversations stand: ChatML blocks with only space between, a user and an assistant turn among them."""
    runs: list[tuple[int, int, set[str]]] = []
    for block in _BLOCK.finditer(text):
        role = _role(block[1])
        joins = bool(runs) and not text[runs[-1][1] : block.start()].strip()
        if joins and not (role == "system" and "assistant" in runs[-1][2]):
            start, _, roles = runs[-1]
            runs[-1] = (start, block.end(), roles | {role})
        else:
            runs.append((block.start(), block.end(), {role}))
    return [(start, end) for start, end, roles in runs if {"user", "assistant"} <= roles]


def _role(word: str) -> str:
    """The trajectory's name of a role."""
    return _ROLES.get(word, word)


def _chatml_text(record: Any) -> str | None:
    """The ChatML text of a record that is one, or holds one under `text`."""
    if isinstance(record, dict):
        record = record.get("text")
    return record if isinstance(record, str) and "<|im_start|>" in record else None


def _turns(record: Any) -> list[dict[str, Any]] | None:
    """The messages of a chat record: itself, `messages` or `conversations`."""
    if isinstance(record, dict):
        record = record.get("messages", record.get("conversations"))
    if isinstance(record, list) and record and all(isinstance(turn, dict) for turn in record):
        return record
    return None


def _said(turn: dict[str, Any]) -> tuple[str, list[str]]:
    """The words and images of a turn in either spelling."""
    text, images = content_text(turn.get("content", turn.get("value")))
    return text or "", images


def _declares_tools(turn: dict[str, Any]) -> bool:
    """Whether a turn is a system message that lists tools in the tag."""
    text = turn.get("content")
    return turn.get("role") == "system" and isinstance(text, str) and "<tools>\n" in text and "</tools>" in text


def _is_tagged(turn: dict[str, Any]) -> bool:
    """Whether an assistant turn calls with the tag and not natively."""
    text = turn.get("content", turn.get("value"))
    return (
        isinstance(text, str)
        and "<tool_call>" in text
        and not turn.get("tool_calls")
        and _role(str(turn.get("role", turn.get("from")))) == "assistant"
    )


HERMES = HermesFormat()
