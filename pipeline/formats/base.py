"""What a trace format is: how it recognises a record, and the trajectory it reads out of it."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from pipeline.errors import FormatError
from pipeline.formats.images import PLACEHOLDER, image_reference
from pipeline.schema import Message, ToolCall

_IMAGE_PARTS = ("image", "image_url", "input_image")


@dataclass(slots=True)
class Parsed:
    r"""One record as its format read it: messages in order, and whatever the source had beside them.

    `prompt` is the task as asked, without system text and few-shot demonstrations; None: the first user message.
    `final_answer` only where the protocol marks one (`\boxed`, `<solution>`, `finish[…]`); else it is taken from
    the last assistant message later. `tools` is a list of OpenAI-style function schemas, None where undeclared.
    `is_trace` is False for a record that holds a question, perhaps with its answer, and no attempt at it.
    """

    messages: list[Message]
    prompt: str | None = None
    tools: list[dict[str, Any]] | None = None
    final_answer: str | None = None
    ground_truth: str | None = None
    reward: float | None = None
    success: bool | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    is_trace: bool = True


class Format(Protocol):
    """A family of trace records. Registered in `registry.FORMATS`, the particular before the general."""

    name: str

    def detects(self, record: Any) -> bool:
        """Whether this record (a decoded JSON value, a list of a session's values, or a text) is of this format."""
        ...

    def parse(self, record: Any) -> Parsed:
        """The trajectory in the record. Raises FormatError with what is missing; the row becomes `unparsable`."""
        ...


class SessionFormat(Format, Protocol):
    """A format whose trajectory is spread over several values (lines) of one file."""

    def session_key(self, value: Any) -> str | None:
        """The session a value belongs to, None if it is not of this format; `record` is then the list of its values."""
        ...


class ContainerFormat(Format, Protocol):
    """A format that packs several records into one JSON value."""

    def unpack(self, value: Any) -> list[Any] | None:
        """The records inside, None if the value is not such a container."""
        ...


class TextFormat(Format, Protocol):
    """A format whose records stand in a plain text."""

    def split(self, text: str) -> list[str] | None:
        """The texts of the records, covering every character of `text`; None if the text is not of this format."""
        ...


def message(
    role: str,
    content: str | None = None,
    *,
    reasoning: str | None = None,
    tool_calls: list[ToolCall] | None = None,
    tool_call_id: str | None = None,
    name: str | None = None,
    images: list[str] | None = None,
) -> Message:
    """A message with every key present, as the schema wants it."""
    return {
        "role": role,
        "content": content,
        "reasoning": reasoning,
        "tool_calls": tool_calls or None,
        "tool_call_id": tool_call_id,
        "name": name,
        "images": images or None,
    }


def tool_call(name: str | None, arguments: Any, call_id: str | None = None) -> ToolCall:
    """A tool call; arguments that are not text yet become JSON text, a text stays as emitted."""
    text = arguments if isinstance(arguments, str) else json_text({} if arguments is None else arguments)
    return {"id": call_id, "name": name, "arguments": text}


def json_text(value: Any) -> str:
    """The value as JSON text; integers beyond 64 bits stay whole, what JSON has no form for becomes its text."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        pass
    try:
        return json.dumps(value, default=str, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise FormatError(f"a value of type {type(value).__name__}: want JSON, found {error}") from error


def pair_by_position(messages: list[Message]) -> list[Message]:
    """Fill in missing call ids (`call_<message>_<k>`) and tie each id-less observation to the oldest open call.

    An observation that finds no open call keeps a null tool_call_id: it is an orphan, which a gate will say. A call
    that a user's turn and then another call followed is open no more: nothing came back for it.
    Among the open calls one of the observation's own tool name goes first. Works in place and returns `messages`.
    """
    open_calls: list[ToolCall] = []
    user_spoke = False
    for index, item in enumerate(messages):
        user_spoke = user_spoke or item["role"] == "user"
        if item["tool_calls"] and user_spoke:
            open_calls, user_spoke = [], False
        for k, call in enumerate(item["tool_calls"] or ()):
            if not call["id"]:
                call["id"] = f"call_{index}_{k}"
            open_calls.append(call)
        if item["role"] != "tool":
            continue
        if item["tool_call_id"]:
            open_calls = [call for call in open_calls if call["id"] != item["tool_call_id"]]
            continue
        match = next((call for call in open_calls if item["name"] and call["name"] == item["name"]), None)
        match = match or (open_calls[0] if open_calls else None)
        if match is not None:
            item["tool_call_id"] = match["id"]
            item["name"] = item["name"] or match["name"]
            open_calls.remove(match)
    return messages


def content_text(content: Any) -> tuple[str | None, list[str]]:
    """The text and the image references of a content that is a string, null, or a list of OpenAI-style parts.

    An image part that refers to no image stands for one kept beside the messages: it leaves `<image>` in the text.
    """
    if content is None or isinstance(content, str):
        return content, []
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, Iterable):
        return json_text(content), []
    texts: list[str] = []
    images: list[str] = []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
            continue
        if not isinstance(part, dict):
            texts.append(json_text(part))
            continue
        reference = _image_reference(part)
        if reference is not None:
            images.append(reference)
            continue
        text = part.get("text", part.get("content"))
        if isinstance(text, str):
            texts.append(text)
        elif part.get("type") in _IMAGE_PARTS:
            texts.append(PLACEHOLDER)
        else:
            texts.append(json_text(part))
    return "\n".join(texts) if texts else None, images


def _image_reference(part: dict[str, Any]) -> str | None:
    """The URL, data URI or path of an image part; None for any other part, and for a placeholder of an image."""
    if part.get("type") not in _IMAGE_PARTS:
        return None
    held = next((part[key] for key in ("image_url", "image", "source") if part.get(key) is not None), None)
    if isinstance(held, dict) and isinstance(held.get("data"), str):
        return f"data:{held.get('media_type', 'image/png')};base64,{held['data']}"
    return None if held is None else image_reference(held, "an image part")
