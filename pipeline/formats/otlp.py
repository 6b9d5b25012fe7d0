"""OTLP exports that follow OpenTelemetry's GenAI conventions: messages as JSON texts on model, agent and tool spans."""

from typing import Any

from pipeline.errors import FormatError
from pipeline.formats.base import Parsed, message, tool_call
from pipeline.formats.fields import json_or, some, text_of
from pipeline.formats.llm_threads import ModelCall, ToolRun, declared_tools, main_thread, thread_note
from pipeline.formats.otlp_spans import Span, SpanFormat, nestings
from pipeline.formats.tool_schemas import openai_tools
from pipeline.schema import Message, ToolCall

_AGENTS = ("invoke_agent", "create_agent", "invoke_workflow")


class OtlpGenAi(SpanFormat):
    """One trajectory a trace: the outermost agent's conversation; agents nested in it are named in metadata.

    The input and output messages are those of the semantic conventions from 1.37 on (`parts`).
    """

    name = "otlp_genai"
    marks = ("gen_ai.",)

    def parse(self, record: Any) -> Parsed:
        """The conversation. Raises FormatError where no span carries messages."""
        spans = self.spans_of(record)
        nested = nestings(spans, _is_agent, _is_tool)
        calls = [
            ModelCall(
                nested[span.span_id].level,
                _inputs(span),
                _messages(span.attributes.get("gen_ai.output.messages"), "assistant"),
                nested[span.span_id].agent,
                text_of(span.attributes.get("gen_ai.response.model") or span.attributes.get("gen_ai.request.model")),
                _tools(span),
            )
            for span in spans
            if not _is_agent(span) and "gen_ai.output.messages" in span.attributes
        ]
        if not calls:
            whole = [span for span in spans if "pydantic_ai.all_messages" in span.attributes]
            calls = [_whole(span, nested[span.span_id].level) for span in whole]
        if not calls:
            raise FormatError(
                f"trace {spans[0].trace_id if spans else '?'}: want a span with gen_ai.output.messages, found none in "
                f"{len(spans)} spans; switch on the capture of message content in the instrumentation"
            )
        runs = [_tool_run(span, nested[span.span_id].level) for span in spans if _is_tool(span)]
        main, others = main_thread(calls, runs)
        return Parsed(
            messages=main.messages,
            tools=declared_tools(main),
            metadata=some(
                trace_id=spans[0].trace_id,
                agents=list(dict.fromkeys(call.agent for call in main.calls if call.agent)),
                model=main.calls[-1].model,
                conversation_id=next(
                    filter(None, (span.attributes.get("gen_ai.conversation.id") for span in spans)), None
                ),
                other_threads=[thread_note(thread) for thread in others],
                failed_spans=[span.name for span in spans if span.failed],
                spans=len(spans),
            ),
        )


def _is_agent(span: Span) -> bool:
    return span.attributes.get("gen_ai.operation.name") in _AGENTS


def _is_tool(span: Span) -> bool:
    return span.attributes.get("gen_ai.operation.name") == "execute_tool"


def _inputs(span: Span) -> list[Message]:
    """A model span's input: its system instructions, then its messages."""
    parts = json_or(span.attributes.get("gen_ai.system_instructions"), None)
    system = _texts(parts) if isinstance(parts, list) else None
    said = _messages(span.attributes.get("gen_ai.input.messages"), "user")
    if system and not any(item["role"] == "system" for item in said):
        return [message("system", system), *said]
    return said


def _whole(span: Span, level: int) -> ModelCall:
    """An agent span that carries the whole conversation, as pydantic-ai writes it when model spans are off."""
    said = _messages(span.attributes["pydantic_ai.all_messages"], "user")
    parts = json_or(span.attributes.get("gen_ai.system_instructions"), None)
    system = [message("system", _texts(parts))] if isinstance(parts, list) and _texts(parts) else []
    return ModelCall(level, [*system, *said], [], text_of(span.attributes.get("gen_ai.agent.name")))


def _tool_run(span: Span, level: int) -> ToolRun:
    attributes = span.attributes
    return ToolRun(
        level,
        text_of(attributes.get("gen_ai.tool.name")),
        text_of(attributes.get("gen_ai.tool.call.id")),
        attributes.get("gen_ai.tool.call.arguments"),
        text_of(attributes.get("gen_ai.tool.call.result")),
    )


def _tools(span: Span) -> list[dict[str, Any]] | None:
    """The tools declared on a model span."""
    declared = span.attributes.get("gen_ai.tool.definitions")
    return openai_tools(declared) if declared is not None else None


def _messages(held: Any, default_role: str) -> list[Message]:
    """Messages out of a convention's JSON text. Raises FormatError where it is not a list of messages."""
    if held is None:
        return []
    items = json_or(held, None)
    if not isinstance(items, list):
        raise FormatError(f"gen_ai messages: want a JSON list, found {str(held)[:60]!r}; the attribute may be cut")
    messages: list[Message] = []
    for item in items:
        if isinstance(item, dict):
            role = item.get("role")
            _append(messages, role if isinstance(role, str) else default_role, item)
    return messages


def _append(messages: list[Message], role: str, item: dict[str, Any]) -> None:
    """Append one message by its parts; a tool's responses become messages of their own, wherever they stand."""
    parts = item.get("parts")
    if not isinstance(parts, list):
        parts = [{"type": "text", "content": item.get("content")}]
    texts: list[str] = []
    thoughts: list[str] = []
    images: list[str] = []
    calls: list[ToolCall] = []
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "tool_call":
            calls.append(tool_call(text_of(part.get("name")), part.get("arguments"), text_of(part.get("id"))))
        elif kind == "tool_call_response":
            result = next((part[key] for key in ("response", "result", "content") if key in part), None)
            messages.append(
                message("tool", text_of(result), tool_call_id=text_of(part.get("id")), name=text_of(part.get("name")))
            )
        elif kind in ("reasoning", "thinking"):
            thoughts.append(text_of(part.get("content")) or "")
        elif kind in ("uri", "blob", "file", "image-url", "binary"):
            images.append(_media(part))
        elif isinstance(part, dict) and part.get("content") is not None:
            texts.append(text_of(part["content"]) or "")
    if texts or calls or thoughts or images or not parts:
        role = role if role in ("system", "assistant") else "user"
        text = "\n".join(texts) if texts else None
        messages.append(message(role, text, reasoning="\n".join(thoughts) or None, tool_calls=calls, images=images))


def _media(part: dict[str, Any]) -> str:
    """The reference of a media part: its address, its file, or its data as a data URI."""
    for key in ("uri", "url", "file_id"):
        if isinstance(part.get(key), str):
            return part[key]
    kind = part.get("mime_type") or part.get("media_type") or "application/octet-stream"
    return f"data:{kind};base64,{text_of(part.get('content') or part.get('data')) or ''}"


def _texts(parts: list[Any]) -> str | None:
    """The texts of system instructions, one under the other."""
    texts = [text_of(part.get("content")) for part in parts if isinstance(part, dict)]
    return "\n".join(text for text in texts if text) or None


OTLP_GENAI = OtlpGenAi()
