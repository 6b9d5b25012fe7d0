"""Messages inside LangSmith runs: OpenAI chat and Responses, Anthropic, and LangChain's own, plain or serialised."""

from typing import Any

from pipeline.formats.anthropic_blocks import BlockReader
from pipeline.formats.base import content_text, message, tool_call
from pipeline.formats.chat_messages import read_messages
from pipeline.formats.fields import text_of, wanted
from pipeline.schema import Message

_ROLES = {
    "human": "user",
    "HumanMessage": "user",
    "user": "user",
    "ai": "assistant",
    "AIMessage": "assistant",
    "AIMessageChunk": "assistant",
    "assistant": "assistant",
    "system": "system",
    "SystemMessage": "system",
    "developer": "system",
    "tool": "tool",
    "ToolMessage": "tool",
    "function": "tool",
    "FunctionMessage": "tool",
}


def input_messages(inputs: dict[str, Any]) -> list[Message]:
    """The messages a model run was given; none where its inputs hold none."""
    held = inputs.get("messages")
    if isinstance(held, list) and held and isinstance(held[0], list):
        held = held[0]  # LangChain batches: a model run has one list of messages in a list
    messages: list[Message] = []
    for key in ("system", "instructions"):
        text, _ = content_text(inputs.get(key))
        if text:
            messages.append(message("system", text))
    if isinstance(held, list):
        return messages + read_any(held)
    asked = inputs.get("input")
    if isinstance(asked, list):
        return messages + read_any(asked)
    prompts = inputs.get("prompts")
    asked = prompts[0] if isinstance(prompts, list) and prompts else asked
    texts = (asked, inputs.get("prompt"), inputs.get("question"))
    asked = next((value for value in texts if isinstance(value, str)), None)
    return [*messages, message("user", asked)] if asked is not None else messages


def output_messages(outputs: dict[str, Any]) -> list[Message]:
    """The messages a model run gave; none where its outputs hold none."""
    choices = outputs.get("choices")
    if isinstance(choices, list) and choices:
        held = choices[0].get("message") if isinstance(choices[0], dict) else None
        return read_any([held]) if isinstance(held, dict) else []
    generations = outputs.get("generations")
    if isinstance(generations, list) and generations:
        first = generations[0][0] if isinstance(generations[0], list) and generations[0] else generations[0]
        if isinstance(first, dict):
            held = first.get("message")
            return read_any([held]) if isinstance(held, dict) else [message("assistant", text_of(first.get("text")))]
    if isinstance(outputs.get("message"), dict):
        return read_any([outputs["message"]])
    if isinstance(outputs.get("messages"), list):
        return read_any(outputs["messages"])
    if outputs.get("role") == "assistant" or isinstance(outputs.get("content"), list):
        return read_any([{"role": "assistant", **outputs}])
    held = outputs.get("output")
    if isinstance(held, list):
        return read_any(held)
    if isinstance(held, dict) and ("content" in held or "kwargs" in held):
        return read_any([held])
    return []


def read_any(items: list[Any]) -> list[Message]:
    """Messages of any provider's or LangChain's form, in order. Raises FormatError for what is none."""
    messages: list[Message] = []
    blocks = BlockReader()
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise wanted(f"messages[{index}]", "a message", item)
        if item.get("type") in ("function_call", "function_call_output", "reasoning", "message"):
            _append_item(messages, item)
            continue
        held, role = _unwrapped(item)
        if role is None:
            raise wanted(f"messages[{index}]", "a message with a role or a LangChain type", sorted(item))
        calls = held.get("tool_calls") or (held.get("additional_kwargs") or {}).get("tool_calls")
        content = held.get("content")
        if isinstance(content, list) and not calls and role in ("user", "assistant"):
            messages += [blocks.assistant(content)] if role == "assistant" else blocks.user(content)
        else:
            plain = {"role": role, "content": _without_calls(content), "name": held.get("name")}
            if calls:
                plain["tool_calls"] = calls
            for key in ("tool_call_id", "function_call", "reasoning_content", "refusal"):
                if held.get(key) is not None:
                    plain[key] = held[key]
            messages += read_messages([plain], f"messages[{index}]")
    return messages


def _unwrapped(item: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """The message out of LangChain's wrapping, and its role in our words."""
    kind = item.get("role") or item.get("type")
    held = item
    if isinstance(item.get("kwargs"), dict):
        path = item.get("id")
        held, kind = item["kwargs"], path[-1] if isinstance(path, list) and path else item["kwargs"].get("type")
    elif isinstance(item.get("data"), dict):
        held = item["data"]
    return held, _ROLES.get(kind) if isinstance(kind, str) else None


def _without_calls(content: Any) -> Any:
    """A content without the tool_use blocks that LangChain repeats as `tool_calls`."""
    if not isinstance(content, list):
        return content
    return [part for part in content if not (isinstance(part, dict) and part.get("type") == "tool_use")] or None


def _append_item(messages: list[Message], item: dict[str, Any]) -> None:
    """Append one item of OpenAI's Responses API; calls and thoughts join the turn they stand in."""
    kind = item["type"]
    if kind == "function_call_output":
        messages.append(message("tool", text_of(item.get("output")), tool_call_id=text_of(item.get("call_id"))))
        return
    if kind == "message":
        role = _ROLES.get(str(item.get("role")), "assistant")
        text, images = content_text(item.get("content"))
        if role != "assistant":
            messages.append(message(role, text, images=images))
            return
        turn = _turn(messages)
        turn["content"] = text if turn["content"] is None else f"{turn['content']}\n{text or ''}"
        return
    turn = _turn(messages)
    if kind == "reasoning":
        text, _ = content_text(item.get("summary"))
        turn["reasoning"] = text or turn["reasoning"]
    else:
        call = tool_call(text_of(item.get("name")), item.get("arguments"), text_of(item.get("call_id")))
        turn["tool_calls"] = [*(turn["tool_calls"] or ()), call]


def _turn(messages: list[Message]) -> Message:
    """The assistant's turn that is still open, else a new one."""
    if not messages or messages[-1]["role"] != "assistant":
        messages.append(message("assistant"))
    return messages[-1]
