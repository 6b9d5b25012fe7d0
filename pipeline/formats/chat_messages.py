"""Chat messages of every OpenAI-like dialect, as the schema's messages."""

import re
from typing import Any

import orjson

from pipeline.errors import FormatError
from pipeline.formats.anthropic_blocks import BlockReader, holds_blocks
from pipeline.formats.base import content_text, json_text, message, pair_by_position, tool_call
from pipeline.schema import Message, ToolCall

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "model": "assistant",
    "gpt": "assistant",
    "tool": "tool",
    "function": "tool",
    "ipython": "tool",
}
_THINK = re.compile(r"\s*<(think|thinking)>(.*?)</\1>\s*", re.DOTALL)


def looks_like_chat(items: Any) -> bool:
    """Whether a value is a list of messages: objects with a role we know and something said or called."""
    if type(items) is not list or not items:
        return False
    known = False
    for item in items[:3]:
        if not is_message(item):
            return False
        known = known or item["role"] in ROLES
    return known


def is_message(item: Any) -> bool:
    """Whether a value is an object with a role, whichever, and something said or called."""
    return (
        type(item) is dict
        and type(item.get("role")) is str
        and ("content" in item or "tool_calls" in item or "function_call" in item)
    )


def read_messages(items: list[Any], where: str = "messages") -> list[Message]:
    """The messages in order, calls and observations paired. Raises FormatError naming the first that is broken.

    Calls that the *user* made (tau2: a simulated user has tools of its own) and their results are left out: the agent
    saw neither. An observation keeps the call id it names, also where no such call exists.
    """
    messages: list[Message] = []
    emitted: set[str] = set()
    users_own: list[str | None] = []
    for index, item in enumerate(items):
        if type(item) is not dict:
            raise FormatError(f"{where}[{index}]: want an object with a role, found {type(item).__name__}")
        role = item.get("role")
        known = ROLES.get(role) if type(role) is str else None
        if known is None:
            raise FormatError(f"{where}[{index}].role: want system, user, assistant or tool, found {role!r}")
        content = item.get("content")
        if type(content) is list:
            _check_parts(content, f"{where}[{index}].content")
        if known == "tool":
            if users_own and _answers_user(item, users_own):
                continue
            messages.append(_observation(item, content, emitted))
            continue
        users_own = []
        if type(content) is list and holds_blocks(content):
            read = _from_blocks(known, content)
        elif known == "assistant":
            read = [_assistant(item, content, f"{where}[{index}]")]
        else:
            calls = item.get("tool_calls")
            if calls:
                users_own = [call["id"] for call in read_calls(calls, f"{where}[{index}].tool_calls")]
                if not content:
                    continue
            text, images = (content, None) if type(content) is str else content_text(content)
            read = [message(known, text, images=images, name=_text_or_none(item.get("name")))]
        for entry in read:
            emitted.update(call["id"] for call in entry["tool_calls"] or () if call["id"])
        messages += read
    return pair_by_position(messages)


def read_calls(value: Any, where: str) -> list[ToolCall]:
    """The calls of a `tool_calls` value: OpenAI's shape, `{name, arguments}`, `{name, args}` or `{function, args}`."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise FormatError(f"{where}: want a list of calls, found text that is not JSON: {value[:60]!r}") from error
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        raise FormatError(f"{where}: want a list of calls, found {type(value).__name__}")
    calls: list[ToolCall] = []
    for k, call in enumerate(value):
        if type(call) is not dict:
            raise FormatError(f"{where}[{k}]: want an object, found {type(call).__name__}")
        held = call.get("function") or call.get("custom") or call
        if isinstance(held, str):
            name, holder = held, call
        elif isinstance(held, dict):
            name, holder = held.get("name"), held
        else:
            raise FormatError(f"{where}[{k}].function: want an object or a name, found {type(held).__name__}")
        if name is not None and not isinstance(name, str):
            raise FormatError(f"{where}[{k}].name: want text, found {type(name).__name__}")
        arguments = next(
            (holder[key] for key in ("arguments", "args", "input", "parameters") if holder.get(key) is not None), None
        )
        call_id = call.get("id") or call.get("tool_call_id") or call.get("call_id")
        calls.append(tool_call(name or None, arguments, None if call_id is None else str(call_id)))
    return calls


def split_reasoning(content: str | None) -> tuple[str | None, str | None]:
    """A leading `<think>…</think>` apart from the rest of a content: (reasoning, rest)."""
    if content is None or "<think" not in content[:40]:
        return None, content
    found = _THINK.match(content)
    if found is None:
        return None, content
    return found.group(2).strip() or None, content[found.end() :] or None


def _assistant(item: dict[str, Any], content: Any, where: str) -> Message:
    """An assistant message with its native calls, new or legacy, and its reasoning, wherever the dialect keeps it."""
    text, images = (content, None) if content is None or type(content) is str else content_text(content)
    thought, text = split_reasoning(text)
    told = item.get("reasoning_content") or item.get("reasoning")
    if isinstance(told, dict | list):
        told = content_text(told)[0]
    if isinstance(told, str) and told:
        thought = told if thought is None or thought == told.strip() else f"{told}\n{thought}"
    calls = read_calls(item["tool_calls"], f"{where}.tool_calls") if item.get("tool_calls") else None
    legacy = item.get("function_call")
    if legacy and not calls:
        calls = read_calls(legacy, f"{where}.function_call")
    if text is None and isinstance(item.get("refusal"), str):
        text = item["refusal"]
    return message(
        "assistant", text, reasoning=thought, tool_calls=calls, name=_text_or_none(item.get("name")), images=images
    )


def _observation(item: dict[str, Any], content: Any, emitted: set[str]) -> Message:
    """What a tool gave back. The call it answers: `tool_call_id`, the first of `tool_call_ids`, or its own `id`."""
    text, images = (content, None) if content is None or type(content) is str else content_text(content)
    error = item.get("error")
    if not text and isinstance(error, str) and error:
        text = error  # AgentDojo shows the agent the error in place of an empty result
    call_id = item.get("tool_call_id")
    if call_id is None:
        several = item.get("tool_call_ids")
        if isinstance(several, list) and several:
            call_id = several[0]
        elif isinstance(item.get("id"), str) and item["id"] in emitted:
            call_id = item["id"]
    name = item.get("name")
    return message(
        "tool",
        text,
        tool_call_id=None if call_id in (None, "") else str(call_id),
        name=_text_or_none(name),
        images=images,
    )


def _answers_user(item: dict[str, Any], users_own: list[str | None]) -> bool:
    """Whether a tool message answers a call of the user's; that call is then struck off."""
    call_id = item.get("tool_call_id") or (item.get("id") if item.get("id") in users_own else None)
    if call_id is None and item.get("requestor") != "assistant":
        users_own.pop(0)
        return True
    if call_id in users_own:
        users_own.remove(call_id)
        return True
    return False


def _from_blocks(role: str, content: list[Any]) -> list[Message]:
    """Anthropic content blocks: an assistant message with its calls, or results and what the user said beside them."""
    reader = BlockReader()
    if role == "assistant":
        return [reader.assistant(content), *reader.results_within(content)]
    return reader.user(content)


def _check_parts(parts: list[Any], where: str) -> None:
    """Raise FormatError where a content part's type is not a text."""
    for k, part in enumerate(parts):
        kind = part.get("type") if type(part) is dict else None
        if kind is not None and type(kind) is not str:
            raise FormatError(f"{where}[{k}].type: want text, found {type(kind).__name__}")


def _text_or_none(value: Any) -> str | None:
    if value is None or value == "":
        return None
    return value if isinstance(value, str) else json_text(value)
