"""OpenInference traces (Phoenix, smolagents, openai-agents): messages flattened into indexed attribute names."""

import ast
import re
from typing import Any

from pipeline.errors import FormatError
from pipeline.formats.base import Parsed, message, tool_call
from pipeline.formats.fields import dict_of, json_or, list_at, object_at, some, text_of
from pipeline.formats.llm_threads import ModelCall, ToolRun, declared_tools, main_thread, thread_note
from pipeline.formats.otlp_spans import Nesting, Span, SpanFormat, in_order, nestings, read_tree
from pipeline.formats.tool_schemas import openai_tools
from pipeline.schema import Message, ToolCall

_KIND = "openinference.span.kind"
_CALL_ID = re.compile(r"\ACall id: (\S+)\nObservation:\n?")
_MAX_LITERAL = 200_000


class OpenInference(SpanFormat):
    """One trajectory a trace: the outermost agent's conversation, across handoffs; nested agents are in metadata.

    Also rows and files of TRAIL, `{"trace": JSON text, "labels"}` or the trace itself, a tree of smolagents' spans.
    """

    name = "openinference"
    marks = ("openinference.", "llm.input_messages", "llm.output_messages")

    def detects(self, record: Any) -> bool:
        """Whether the record is an export with OpenInference attributes, or TRAIL's tree or row."""
        if isinstance(record, dict):
            if record.keys() == {"trace", "labels"}:
                return isinstance(record["trace"], str)
            spans = record.get("spans")
            if isinstance(spans, list) and "trace_id" in record:
                return bool(spans) and isinstance(spans[0], dict) and "span_attributes" in spans[0]
        return super().detects(record)

    def parse(self, record: Any) -> Parsed:
        """The conversation. Raises FormatError where no span is a model call with messages."""
        spans, labels = self._read(record)
        nested = nestings(spans, _is_agent, _is_tool)
        calls = [_model_call(span, nested[span.span_id]) for span in spans if span.attributes.get(_KIND) == "LLM"]
        calls = [call for call in calls if call.inputs or call.outputs]
        if not calls:
            raise FormatError(
                f"trace {spans[0].trace_id if spans else '?'}: want a span of kind LLM with messages, found none in "
                f"{len(spans)} spans; the instrumentation may hide inputs and outputs"
            )
        runs = [_tool_run(span, nested[span.span_id].level) for span in spans if _is_tool(span)]
        main, others = main_thread(calls, runs)
        example = _example(spans)
        return Parsed(
            messages=main.messages,
            prompt=text_of(example.get("question")),
            tools=declared_tools(main),
            ground_truth=text_of(example.get("true_answer")),
            metadata=some(
                trace_id=spans[0].trace_id,
                agents=list(dict.fromkeys(call.agent for call in main.calls if call.agent)),
                model=main.calls[-1].model,
                task_id=example.get("task_id") or example.get("instance_id"),
                other_threads=[thread_note(thread) for thread in others],
                failed_spans=[span.name for span in spans if span.failed],
                spans=len(spans),
                labels=labels,
            ),
        )

    def _read(self, record: Any) -> tuple[list[Span], Any]:
        """The spans in order of start, and the labels beside them."""
        labels = None
        if isinstance(record, dict) and isinstance(record.get("trace"), str):
            labels = json_or(record.get("labels"), record.get("labels"))
            record = dict_of(json_or(record["trace"], None), "trace (a JSON text)")
        if isinstance(record, dict) and "spans" in record:
            return in_order(read_tree(list_at(record, "spans", "trace"), "spans")), labels
        return self.spans_of(record), labels


def _is_agent(span: Span) -> bool:
    return span.attributes.get(_KIND) == "AGENT"


def _is_tool(span: Span) -> bool:
    return span.attributes.get(_KIND) == "TOOL"


def _model_call(span: Span, nesting: Nesting) -> ModelCall:
    attributes = span.attributes
    tools = [held.get("tool", {}).get("json_schema") for held in indexed(attributes, "llm.tools.")]
    return ModelCall(
        nesting.level,
        _messages(indexed(attributes, "llm.input_messages.")),
        _messages(indexed(attributes, "llm.output_messages.")),
        nesting.agent,
        text_of(attributes.get("llm.model_name")),
        openai_tools([tool for tool in tools if tool]) if any(tools) else None,
    )


def _tool_run(span: Span, level: int) -> ToolRun:
    """A tool span; smolagents wraps the arguments in `kwargs`."""
    arguments = json_or(span.attributes.get("input.value"), span.attributes.get("input.value"))
    if isinstance(arguments, dict) and "sanitize_inputs_outputs" in arguments:
        arguments = arguments.get("kwargs")
    return ToolRun(
        level,
        text_of(span.attributes.get("tool.name")) or span.name,
        text_of(span.attributes.get("tool_call.id")),
        arguments,
        text_of(span.attributes.get("output.value")),
    )


def indexed(attributes: dict[str, Any], prefix: str) -> list[dict[str, Any]]:
    """The objects behind names such as `llm.tools.0.tool.json_schema`, in order of their index."""
    found: dict[int, dict[str, Any]] = {}
    for name, value in attributes.items():
        if not name.startswith(prefix):
            continue
        index, _, rest = name[len(prefix) :].partition(".")
        if not index.isdigit() or not rest:
            continue
        at = found.setdefault(int(index), {})
        *path, last = rest.split(".")
        for step in path:
            held = at.get(step)
            if not isinstance(held, dict):
                held = at[step] = {}
            at = held
        at[last] = value
    return [found[index] for index in sorted(found)]


def _list_in(holder: dict[str, Any], key: str, inner: str) -> list[dict[str, Any]]:
    """The objects under `key.0.inner`, `key.1.inner` and so on."""
    held = holder.get(key)
    if not isinstance(held, dict):
        return []
    entries = [held[index] for index in sorted((k for k in held if k.isdigit()), key=int)]
    return [entry[inner] for entry in entries if isinstance(entry, dict) and isinstance(entry.get(inner), dict)]


def _messages(entries: list[dict[str, Any]]) -> list[Message]:
    """Messages of one side of a model span; an assistant's text and calls told apart are put together again."""
    messages: list[Message] = []
    for entry in entries:
        held = entry.get("message")
        if isinstance(held, dict):
            _append(messages, held)
    return messages


def _append(messages: list[Message], held: dict[str, Any]) -> None:
    # smolagents 1.x leaves the role out where it wrote an assistant's turn as an enum.
    role = text_of(held.get("role")) or "assistant"
    parts = _list_in(held, "contents", "message_content")
    texts = [part["text"] for part in parts if isinstance(part.get("text"), str)]
    text = text_of(held.get("content")) if held.get("content") is not None else ("\n".join(texts) if texts else None)
    images = [url for url in map(_image, parts) if url]
    if role == "tool-call":
        calls = _smolagents_calls(text or "")
        if calls is None:
            messages.append(message("assistant", text))
        else:
            _add_calls(messages, calls)
    elif role in ("tool-response", "tool", "function"):
        _append_result(messages, held, text, images, folded=role == "tool-response")
    else:
        calls = [_call(call) for call in _list_in(held, "tool_calls", "tool_call")]
        role = "user" if role in ("user", "human") else "system" if role in ("system", "developer") else "assistant"
        if calls and text is None:
            _add_calls(messages, calls)
        else:
            messages.append(message(role, text, tool_calls=calls, images=images))


def _append_result(
    messages: list[Message], held: dict[str, Any], text: str | None, images: list[str], *, folded: bool
) -> None:
    """Append an observation. smolagents folds the call id into the text, and tells an error in a second response."""
    call_id = text_of(held.get("tool_call_id")) or None
    marked = _CALL_ID.match(text or "") if folded else None
    if marked and text is not None:
        call_id, text = marked.group(1), text[marked.end() :]
    elif folded and messages and messages[-1]["role"] == "tool":
        messages[-1]["content"] = f"{messages[-1]['content'] or ''}\n{text or ''}"
        return
    messages.append(message("tool", text, tool_call_id=call_id, name=text_of(held.get("name")), images=images))


def _add_calls(messages: list[Message], calls: list[ToolCall]) -> None:
    """Add calls to the assistant's text right before them, else as a turn of their own."""
    if messages and messages[-1]["role"] == "assistant" and messages[-1]["tool_calls"] is None:
        messages[-1]["tool_calls"] = calls
    else:
        messages.append(message("assistant", tool_calls=calls))


def _call(held: dict[str, Any]) -> ToolCall:
    function = object_at(held, "function")
    return tool_call(text_of(function.get("name")), function.get("arguments"), text_of(held.get("id")))


def _smolagents_calls(text: str) -> list[ToolCall] | None:
    """The calls smolagents prints as `Calling tools:` and a Python list; None where it is not one."""
    _, _, literal = text.partition("\n")
    if len(literal) > _MAX_LITERAL:
        return None
    try:
        entries = ast.literal_eval(literal.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return None
    calls: list[ToolCall] = []
    for entry in entries:
        function = entry.get("function") if isinstance(entry.get("function"), dict) else entry
        arguments = function.get("arguments")
        if function.get("name") == "python_interpreter" and isinstance(arguments, str):
            arguments = {"code": arguments}
        calls.append(tool_call(text_of(function.get("name")), arguments, text_of(entry.get("id"))))
    return calls


def _image(part: dict[str, Any]) -> str | None:
    """The address of an image part."""
    held: Any = part.get("image")
    while isinstance(held, dict):
        if isinstance(held.get("url"), str):
            return held["url"]
        held = held.get("image")
    return None


def _example(spans: list[Span]) -> dict[str, Any]:
    """The benchmark's question and answer that TRAIL's outermost function was called with; empty elsewhere."""
    for span in spans:
        for log in span.logs:
            body = log.get("body") if isinstance(log, dict) else None
            arguments = body.get("function.arguments") if isinstance(body, dict) else None
            if isinstance(arguments, dict):
                held = arguments.get("example") or arguments.get("item")
                if isinstance(held, dict):
                    return held
    return {}


OPENINFERENCE = OpenInference()
