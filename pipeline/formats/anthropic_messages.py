"""Logs of Anthropic's Messages API: `{model, system, messages, tools}`, with or without the response beside it."""

from typing import Any

from pipeline.formats.anthropic_blocks import BlockReader, holds_blocks
from pipeline.formats.base import Parsed, content_text, message
from pipeline.formats.fields import dict_of, list_at, object_at, some, wanted
from pipeline.formats.tool_schemas import openai_tools
from pipeline.schema import Message


class AnthropicMessages:
    """One request as the conversation it carries; its response, where logged, is the last turn."""

    name = "anthropic_messages"

    def detects(self, record: Any) -> bool:
        """Whether messages hold blocks, or tools an `input_schema`, that only this API writes."""
        request = _request(record)
        if request is None:
            return isinstance(record, list) and _any_blocks(record)
        if _any_blocks(request["messages"]):
            return True
        tools = request.get("tools")
        return isinstance(tools, list) and bool(tools) and isinstance(tools[0], dict) and "input_schema" in tools[0]

    def parse(self, record: Any) -> Parsed:
        """The conversation; the top-level `system` comes first, observations become messages of role tool."""
        request = {"messages": record} if isinstance(record, list) else _request(record)
        if request is None:
            raise wanted("anthropic_messages.messages", "a list", record)
        reader = BlockReader()
        messages: list[Message] = []
        system, _ = content_text(request.get("system"))
        if system:
            messages.append(message("system", system))
        for index, item in enumerate(list_at(request, "messages", "anthropic_messages")):
            _append(reader, messages, dict_of(item, f"messages[{index}]"), f"messages[{index}]")
        holder = record if isinstance(record, dict) else {}
        response = object_at(holder, "response") or object_at(holder, "output")
        if response.get("role") == "assistant":
            _append(reader, messages, response, "response")
        return Parsed(
            messages=messages,
            tools=openai_tools(request.get("tools")),
            metadata=some(
                model=request.get("model"),
                id=holder.get("id"),
                stop_reason=response.get("stop_reason"),
                error_call_ids=reader.error_call_ids,
                unknown_blocks=dict(reader.unknown),
            ),
        )


def _append(reader: BlockReader, messages: list[Message], item: dict[str, Any], where: str) -> None:
    """Append what one API message says. Raises FormatError for a role the API does not have."""
    role, content = item.get("role"), item.get("content")
    if role == "assistant":
        messages.append(reader.assistant(content))
        messages += reader.results_within(content)
    elif role == "user":
        messages += reader.user(content)
    elif role == "system":
        messages.append(message("system", content_text(content)[0]))
    else:
        raise wanted(f"{where}.role", "user, assistant or system", role)


def _request(record: Any) -> dict[str, Any] | None:
    """The request body with its list of messages: the record itself, or what it holds under `request`."""
    if not isinstance(record, dict):
        return None
    body = record.get("request", record)
    return body if isinstance(body, dict) and isinstance(body.get("messages"), list) else None


def _any_blocks(messages: list[Any]) -> bool:
    """Whether any message's content holds blocks of this API alone."""
    return any(isinstance(item, dict) and "role" in item and holds_blocks(item.get("content")) for item in messages)


ANTHROPIC_MESSAGES = AnthropicMessages()
