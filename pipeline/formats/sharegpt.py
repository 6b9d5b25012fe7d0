"""ShareGPT conversations (`from` and `value`) with calls as their own turns, as LLaMA-Factory writes them."""

import ast
from typing import Any

import orjson

from pipeline.errors import FormatError
from pipeline.formats.base import Parsed, message, pair_by_position
from pipeline.formats.chat_messages import read_calls, split_reasoning
from pipeline.formats.images import place_images
from pipeline.formats.outcomes import read_outcome
from pipeline.formats.tool_schemas import openai_tools
from pipeline.schema import Message, ToolCall

_ROLES = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "function_call": "call",
    "tool_call": "call",
    "observation": "tool",
    "tool": "tool",
    "function": "tool",
    "function_response": "tool",
    "tool_response": "tool",
}
_HOLDERS = ("conversations", "conversation")


class ShareGPTFormat:
    """`{conversations: [{from, value}], tools, system}`; calls are JSON `{name, arguments}`, pairing is by position."""

    name = "sharegpt"

    def detects(self, record: Any) -> bool:
        """A conversation whose first turn has `from`, one we know, and `value`."""
        turns = _turns(record)
        if not turns or type(turns[0]) is not dict:
            return False
        speaker = turns[0].get("from")
        return type(speaker) is str and speaker in _ROLES and "value" in turns[0]

    def parse(self, record: Any) -> Parsed:
        """The trajectory; a conversation in which the model never speaks is a question."""
        beside: dict[str, Any] = record if type(record) is dict else {}
        messages: list[Message] = []
        if isinstance(beside.get("system"), str) and beside["system"]:
            messages.append(message("system", beside["system"]))
        for index, turn in enumerate(_turns(record) or ()):
            messages.append(_message(turn, f"conversations[{index}]"))
        pair_by_position(messages)
        place_images(messages, beside.get("images"))
        outcome = read_outcome(beside)
        tools = openai_tools(beside.get("tools"))
        consumed = {"conversations", "conversation", "system", "images", *outcome.used}
        if tools is not None:
            consumed.add("tools")
        return Parsed(
            messages,
            tools=tools,
            ground_truth=outcome.ground_truth,
            reward=outcome.reward,
            success=outcome.success,
            metadata={key: value for key, value in beside.items() if key not in consumed},
            is_trace=any(item["role"] == "assistant" for item in messages),
        )


def _turns(record: Any) -> list[Any] | None:
    if type(record) is list:
        return record
    if type(record) is not dict:
        return None
    turns = next((record[key] for key in _HOLDERS if record.get(key)), None)
    return turns if type(turns) is list else None


def _message(turn: Any, where: str) -> Message:
    if type(turn) is not dict:
        raise FormatError(f"{where}: want an object with from and value, found {type(turn).__name__}")
    speaker, value = turn.get("from"), turn.get("value")
    role = _ROLES.get(speaker) if isinstance(speaker, str) else None
    if role is None:
        raise FormatError(f"{where}.from: want one of {', '.join(_ROLES)}, found {speaker!r}")
    if role == "call":
        return message("assistant", tool_calls=_calls(value, f"{where}.value"))
    if value is not None and not isinstance(value, str):
        raise FormatError(f"{where}.value: want text, found {type(value).__name__}")
    if role == "assistant":
        reasoning, text = split_reasoning(value)
        return message("assistant", text, reasoning=reasoning)
    return message(role, value)


def _calls(value: Any, where: str) -> list[ToolCall]:
    """The calls of a function_call turn: JSON, or the Python literal some sources write in its place."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            try:
                value = ast.literal_eval(value)
            except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
                raise FormatError(f"{where}: want a call as JSON, found {str(value)[:80]!r}") from error
    return read_calls(value, where)


SHAREGPT = ShareGPTFormat()
