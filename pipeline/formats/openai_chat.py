"""OpenAI-style chat with native tool calls, whatever wraps it: the general format, tried after the particular ones."""

from itertools import pairwise
from typing import Any

from pipeline.formats.base import Parsed
from pipeline.formats.chat_messages import read_messages
from pipeline.formats.chat_wrappers import decode_chat, find_chat
from pipeline.formats.function_tags import read_function_tags
from pipeline.formats.images import place_images
from pipeline.formats.outcomes import read_outcome
from pipeline.formats.tool_schemas import openai_tools

_TOOL_KEYS = ("tools", "functions", "available_tools", "function")


class OpenAIChatFormat:
    """A list of messages with roles; calls under `tool_calls` or `function_call`, results in role tool or function.

    Seen in tau-bench, tau2-bench, AgentDojo, SWE-Gym, SWE-rebench and SWE-smith, Metis-ColdStart, ToolBench's
    train_messages, TRL data sets, and logs of chat completion or Anthropic message requests.
    """

    name = "openai_chat"

    def detects(self, record: Any) -> bool:
        """A list of messages, or an object that holds one."""
        return find_chat(record) is not None

    def parse(self, record: Any) -> Parsed:
        """The trajectory; a chat in which the assistant never speaks is a question."""
        held = find_chat(record)
        if held is None:  # only a caller who skipped detects() gets here
            return Parsed([])
        source = decode_chat(held)
        beside: dict[str, Any] = record if type(record) is dict else {}
        if _observes_as_user(beside, source):
            source = source[:1] + [
                {**after, "role": "tool"} if item.get("tool_calls") else after for item, after in pairwise(source)
            ]
        messages = read_messages(source, held.where)
        has_calls = any(item["tool_calls"] for item in messages)
        if not has_calls and any("<function=" in (item["content"] or "") for item in messages):
            messages = read_function_tags(messages)
        consumed = set(held.keys)
        if beside.get("images") is not None:
            place_images(messages, beside["images"])
            consumed.add("images")
        tools_key, tools = _declared(beside)
        if tools_key is not None:
            consumed.add(tools_key)
        outcome = read_outcome(beside)
        consumed |= outcome.used
        return Parsed(
            messages,
            tools=tools,
            ground_truth=outcome.ground_truth,
            reward=outcome.reward,
            success=outcome.success,
            metadata={key: value for key, value in beside.items() if key not in consumed},
            is_trace=not messages or any(item["role"] == "assistant" for item in messages),
        )


def _declared(beside: dict[str, Any]) -> tuple[str | None, list[dict[str, Any]] | None]:
    """The declared tools and the top-level key they stand under, None where they stand deeper."""
    for key in _TOOL_KEYS:
        if beside.get(key) is not None:
            tools = openai_tools(beside[key])
            if tools is not None:
                return key, tools
    for key in ("request", "body", "info", "metadata"):
        inner = beside.get(key)
        if isinstance(inner, dict):
            body = inner.get("body")
            inner = body if isinstance(body, dict) else inner
            tools = openai_tools(inner.get("tools", inner.get("functions")))
            if tools is not None:
                return None, tools
    return None, None


def _observes_as_user(beside: dict[str, Any], source: list[Any]) -> bool:
    """Whether the source wrote observations as user messages: tau-bench runs of providers without a tool role.

    There no message has role tool, and each message with calls but the last is answered by one of role user.
    """
    if "tau" not in str(beside.get("benchmark_name", "")):
        return False
    if any(type(item) is not dict or item.get("role") == "tool" for item in source):
        return False
    follows = [after.get("role") for item, after in pairwise(source) if item.get("tool_calls")]
    return bool(follows) and all(role == "user" for role in follows)


OPENAI_CHAT = OpenAIChatFormat()
