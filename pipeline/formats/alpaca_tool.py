"""ToolRL's Alpaca records: tools in `instruction`, the dialogue so far in `input`, the reply in `output`."""

import re
from collections.abc import Iterable
from typing import Any

from pipeline.errors import FormatError
from pipeline.formats.base import Parsed, json_text, message, pair_by_position
from pipeline.formats.hermes import calls_of, read_payload
from pipeline.formats.inline import enclosed
from pipeline.schema import Message, ToolCall

_TAGS = {f"<{tag}>": f"</{tag}>" for tag in ("user", "think", "tool_call", "obs", "response")}
_TOOL = re.compile(
    r"^\d+\. Name: (?P<name>.*)\nDescription: (?P<description>.*)\nParameters: (?P<parameters>\{.*\})[ \t]*$",
    re.MULTILINE,
)
_HISTORY = "**Dialogue Records History**"
_JSON_TYPES = {
    "str": "string",
    "string": "string",
    "int": "integer",
    "integer": "integer",
    "float": "number",
    "number": "number",
    "bool": "boolean",
    "boolean": "boolean",
    "list": "array",
    "array": "array",
    "dict": "object",
    "object": "object",
}


class AlpacaToolFormat:
    """The last turn is the record's own; the turns before it come out of the flattened history."""

    name = "alpaca_tool"

    def detects(self, record: Any) -> bool:
        """Whether instruction, input and output are texts, and history or reply use ToolRL's tags."""
        if not isinstance(record, dict):
            return False
        history, output = record.get("input"), record.get("output")
        if (
            not isinstance(history, str)
            or not isinstance(output, str)
            or not isinstance(record.get("instruction"), str)
        ):
            return False
        return "<user>" in history and ("<tool_call>" in output or "<response>" in output or "<think>" in output)

    def parse(self, record: Any) -> Parsed:
        """The dialogue with its reply; the instruction is the system message, and the tools it lists are declared."""
        history = _tags(record["input"].replace(_HISTORY, "", 1))
        if all(kind != "user" for kind, _ in history):
            raise FormatError("alpaca_tool: want a `<user>` turn in `input`, found none; check the record")
        messages = [message("system", record["instruction"])]
        _append_turns(messages, history)
        messages.append(_reply(record["output"]))
        question = next(m["content"] for m in messages if m["role"] == "user")
        skipped = {"instruction", "input", "output"}
        return Parsed(
            messages=pair_by_position(messages),
            prompt=question,
            tools=_declared(record["instruction"]),
            metadata={key: value for key, value in record.items() if key not in skipped},
        )


def _append_turns(messages: list[Message], tags: Iterable[tuple[str, str]]) -> None:
    """Add the turns that the tags of a history describe."""
    thought: str | None = None
    calls: list[ToolCall] = []
    for kind, body in tags:
        if kind == "think":
            thought = body
        elif kind == "tool_call":
            calls = calls_of(body)
            messages.append(message("assistant", reasoning=thought, tool_calls=calls))
            thought = None
        elif kind == "response":
            messages.append(message("assistant", body, reasoning=thought))
            thought = None
        elif kind == "obs":
            messages.extend(_observations(body, calls))
        else:
            messages.append(message("user", body))


def _observations(body: str, calls: list[ToolCall]) -> list[Message]:
    """One tool message for each call where the observation lists one result a call, else the text as it stands."""
    payload = read_payload(body) if len(calls) > 1 else None
    if isinstance(payload, list) and len(payload) == len(calls):
        return [
            message("tool", json_text(item), name=item.get("name") if isinstance(item, dict) else None)
            for item in payload
        ]
    return [message("tool", body)]


def _reply(output: str) -> Message:
    """The record's own turn. An `<obs>` in it was written by the model: such a turn keeps its content verbatim."""
    tags = _tags(output)
    calls = [call for kind, body in tags if kind == "tool_call" for call in calls_of(body)]
    position, outside = 0, ""
    for start, end, _, _ in enclosed(output, _TAGS):
        outside += output[position:start].strip()
        position = end
    if outside or output[position:].strip() or any(kind in ("obs", "user") for kind, _ in tags):
        return message("assistant", output, tool_calls=calls)
    thought = "\n\n".join(body for kind, body in tags if kind == "think") or None
    words = "\n\n".join(body for kind, body in tags if kind == "response") or None
    return message("assistant", words, reasoning=thought, tool_calls=calls)


def _tags(text: str) -> list[tuple[str, str]]:
    """Kind and body of every tag, in order."""
    return [(opening[1:-1], body.strip()) for _, _, opening, body in enclosed(text, _TAGS)]


def _declared(instruction: str) -> list[dict[str, Any]] | None:
    """The listed tools as function schemas; type words outside JSON Schema's are left out rather than guessed."""
    tools = []
    for found in _TOOL.finditer(instruction):
        listed = read_payload(found["parameters"])
        if not isinstance(listed, dict):
            continue
        properties = {name: _property(declared) for name, declared in listed.items()}
        function = {
            "name": found["name"].strip(),
            "description": found["description"].strip(),
            "parameters": {"type": "object", "properties": properties},
        }
        tools.append({"type": "function", "function": function})
    return tools or None


def _property(declared: Any) -> dict[str, Any]:
    """A parameter's schema with its type word translated."""
    if not isinstance(declared, dict):
        return {}
    schema = {key: value for key, value in declared.items() if key in ("description", "default", "enum")}
    word = str(declared.get("type", "")).split(",")[0].strip().lower()
    if word in _JSON_TYPES:
        schema["type"] = _JSON_TYPES[word]
    return schema


ALPACA_TOOL = AlpacaToolFormat()
