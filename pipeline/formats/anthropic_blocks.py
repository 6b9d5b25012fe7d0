"""Anthropic content blocks: text, thinking, tool_use, tool_result and images as messages."""

from collections import Counter
from typing import Any

from pipeline.formats.base import content_text, message, tool_call
from pipeline.formats.fields import text_of
from pipeline.schema import Message, ToolCall

_CALLS = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})


class BlockReader:
    """Turns the contents of one conversation into messages; remembers what it could not read and what failed."""

    def __init__(self) -> None:
        """An empty reader."""
        self.unknown: Counter[str] = Counter()
        self.error_call_ids: list[str] = []

    def assistant(self, content: Any) -> Message:
        """One assistant message from a text or a list of blocks. Results of server tools inside it are not here."""
        if not isinstance(content, list):
            return message("assistant", text_of(content))
        texts: list[str] = []
        thoughts: list[str] = []
        calls: list[ToolCall] = []
        for block in content:
            if not isinstance(block, dict):
                texts.append(text_of(block) or "")
                continue
            kind = _kind(block)
            if kind == "text":
                texts.append(text_of(block.get("text")) or "")
            elif kind == "thinking":
                thoughts.append(text_of(block.get("thinking")) or "")
            elif kind in _CALLS:
                calls.append(tool_call(text_of(block.get("name")), block.get("input"), text_of(block.get("id"))))
            elif not _is_result(kind):
                self.unknown[kind] += 1
        return message(
            "assistant",
            "\n".join(texts) if texts else None,
            reasoning="\n".join(thoughts) if thoughts else None,
            tool_calls=calls,
        )

    def user(self, content: Any) -> list[Message]:
        """The observations and user messages in a user content, in its order; neighbouring texts stay one message."""
        if not isinstance(content, list):
            return [message("user", text_of(content))]
        messages: list[Message] = []
        parts: list[Any] = []
        for block in content:
            if not isinstance(block, dict):
                parts.append(block)
                continue
            kind = _kind(block)
            if _is_result(kind):
                self._flush(parts, messages)
                messages.append(self.result(block))
            elif kind in ("text", "image"):
                parts.append(block)
            elif kind == "document":
                parts.append(_document_text(block))
            else:
                self.unknown[kind] += 1
        self._flush(parts, messages)
        return messages

    def results_within(self, content: Any) -> list[Message]:
        """The observations of server tools, which stand inside the assistant's own content."""
        if not isinstance(content, list):
            return []
        return [self.result(block) for block in content if isinstance(block, dict) and _is_result(_kind(block))]

    def result(self, block: dict[str, Any]) -> Message:
        """One observation from a tool_result block or its kin."""
        call_id = text_of(block.get("tool_use_id") or block.get("mcp_tool_use_id"))
        if block.get("is_error") is True and call_id:
            self.error_call_ids.append(call_id)
        content = block.get("content")
        if isinstance(content, list):
            content = [_document_text(part) if _is_document(part) else part for part in content]
        text, images = content_text(content)
        return message("tool", text, tool_call_id=call_id, images=images)

    def _flush(self, parts: list[Any], messages: list[Message]) -> None:
        """Append the gathered texts and images as one user message."""
        if parts:
            text, images = content_text(parts)
            messages.append(message("user", text, images=images))
            parts.clear()


def holds_blocks(content: Any) -> bool:
    """Whether a content is a list that only Anthropic's API writes: a call, a result or a thought among its blocks."""
    return isinstance(content, list) and any(
        isinstance(block, dict) and (_kind(block) in _CALLS or _kind(block) in ("tool_result", "thinking"))
        for block in content
    )


def _kind(block: dict[str, Any]) -> str:
    """A block's type by name; what is no name counts under its text."""
    kind = block.get("type")
    return kind if isinstance(kind, str) else f"{kind}"


def _is_result(kind: str) -> bool:
    """Whether a block type is tool_result, mcp_tool_result, web_search_tool_result and so on."""
    return kind.endswith("tool_result")


def _is_document(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "document"


def _document_text(block: dict[str, Any]) -> str:
    """The text of a document block: its source's data where that is text, else the source as JSON."""
    source = block.get("source")
    if isinstance(source, dict) and source.get("type") == "text":
        return text_of(source.get("data")) or ""
    return text_of(source) or ""
