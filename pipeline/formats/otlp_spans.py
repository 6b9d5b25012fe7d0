"""OpenTelemetry spans out of OTLP JSON exports, the SDK's own JSON and TRAIL's trees, in one shape."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.formats.fields import dict_of, list_at, object_at, text_of

MAX_DEPTH = 10_000
_MAX_NESTED_VALUES = 100


@dataclass(slots=True)
class Span:
    """One span; attributes are plain values by their dotted names."""

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    start: Any
    attributes: dict[str, Any]
    failed: bool
    logs: list[Any]


@dataclass(slots=True)
class Nesting:
    """Where a span stands: how many agents and tools enclose it, and the nearest agent's name."""

    level: int
    agent: str | None


def raw_spans(value: Any) -> Iterator[dict[str, Any]]:
    """The spans of one export line as they stand there; nothing for any other value."""
    if not isinstance(value, dict):
        return
    resources = value.get("resourceSpans")
    if isinstance(resources, list):
        for resource in resources:
            scopes = resource.get("scopeSpans") if isinstance(resource, dict) else None
            for scope in scopes if isinstance(scopes, list) else ():
                spans = scope.get("spans") if isinstance(scope, dict) else None
                yield from (span for span in spans if isinstance(span, dict)) if isinstance(spans, list) else ()
    elif isinstance(value.get("context"), dict) and isinstance(value.get("attributes"), dict):
        yield value


def trace_id_of(span: dict[str, Any]) -> str | None:
    """The trace a raw span belongs to."""
    context = span.get("context")
    found = span.get("traceId") or (context.get("trace_id") if isinstance(context, dict) else None)
    return found if isinstance(found, str) else None


def attribute_names(span: dict[str, Any]) -> Iterator[str]:
    """The names of a raw span's attributes, undecoded."""
    attributes = span.get("attributes")
    if isinstance(attributes, dict):
        yield from (key for key in attributes if isinstance(key, str))
    elif isinstance(attributes, list):
        for entry in attributes:
            key = entry.get("key") if isinstance(entry, dict) else None
            if isinstance(key, str):
                yield key


def read_span(raw: dict[str, Any]) -> Span:
    """One raw span of an OTLP export or of the SDK's JSON."""
    context = object_at(raw, "context")
    attributes = raw.get("attributes")
    if isinstance(attributes, list):
        attributes = {
            entry["key"]: _plain(entry.get("value"))
            for entry in attributes
            if isinstance(entry, dict) and isinstance(entry.get("key"), str)
        }
    status = object_at(raw, "status")
    code = status.get("code", status.get("status_code"))
    return Span(
        trace_id=trace_id_of(raw) or "",
        span_id=text_of(raw.get("spanId") or context.get("span_id")) or "",
        parent_id=text_of(raw.get("parentSpanId") or raw.get("parent_id")) or None,
        name=text_of(raw.get("name")) or "",
        start=raw.get("startTimeUnixNano") or raw.get("start_time"),
        attributes=attributes if isinstance(attributes, dict) else {},
        failed=code in (2, "2", "ERROR", "STATUS_CODE_ERROR"),
        logs=[],
    )


def read_tree(spans: list[Any], where: str) -> list[Span]:
    """The spans of a tree whose children stand in `child_spans` (TRAIL), parents first; repeats stay."""
    found: list[Span] = []
    waiting = [(span, None, f"{where}[{k}]") for k, span in reversed(list(enumerate(spans)))]
    while waiting:
        raw, parent, at = waiting.pop()
        raw = dict_of(raw, at)
        span_id = text_of(raw.get("span_id")) or ""
        attributes = raw.get("span_attributes")
        found.append(
            Span(
                trace_id=text_of(raw.get("trace_id")) or "",
                span_id=span_id,
                parent_id=parent or text_of(raw.get("parent_span_id")) or None,
                name=text_of(raw.get("span_name")) or "",
                start=raw.get("timestamp"),
                attributes=attributes if isinstance(attributes, dict) else {},
                failed=raw.get("status_code") == "Error",
                logs=raw["logs"] if isinstance(raw.get("logs"), list) else [],
            )
        )
        children = list_at(raw, "child_spans", at) if raw.get("child_spans") else []
        waiting += [(child, span_id, f"{at}.child_spans[{k}]") for k, child in reversed(list(enumerate(children)))]
    return found


def in_order(spans: list[Span]) -> list[Span]:
    """The spans by start, each span id once; where a start is no time, in the order they stand."""
    once = list({span.span_id or str(k): span for k, span in reversed(list(enumerate(spans)))}.values())[::-1]
    starts = [_time(span.start) for span in once]
    if any(start is None for start in starts):
        return once
    return [span for _, span in sorted(zip(starts, once, strict=True), key=lambda pair: pair[0] or 0)]


def nestings(
    spans: list[Span], is_agent: Callable[[Span], bool], is_tool: Callable[[Span], bool]
) -> dict[str, Nesting]:
    """Each span's nesting, by span id. A tool counts as a level: an agent called as a tool is nested in it."""
    by_id = {span.span_id: span for span in spans}
    known: dict[str, Nesting] = {}
    for span in spans:
        path: list[Span] = []
        at: Span | None = span
        while at is not None and at.span_id not in known and len(path) < MAX_DEPTH:
            path.append(at)
            known[at.span_id] = Nesting(0, None)  # ends a cycle of parents
            at = by_id.get(at.parent_id or "")
        for step in reversed(path):
            parent = by_id.get(step.parent_id or "")
            if parent is None:
                known[step.span_id] = Nesting(0, None)
                continue
            above = known[parent.span_id]
            agent = is_agent(parent)
            known[step.span_id] = Nesting(
                above.level + (agent or is_tool(parent)), agent_name(parent) if agent else above.agent
            )
    return known


def agent_name(span: Span) -> str:
    """What an agent span calls its agent."""
    told = span.attributes.get("gen_ai.agent.name") or span.attributes.get("agent.name")
    return told if isinstance(told, str) else span.name


def _time(start: Any) -> tuple[int, str] | None:
    """A start as something to sort by: nanoseconds, or an ISO time; None for neither."""
    if isinstance(start, int) or (isinstance(start, str) and start.isdigit()):
        return (int(start), "")
    return (0, start) if isinstance(start, str) and start[:4].isdigit() else None


def _plain(value: Any, depth: int = 0) -> Any:
    """An OTLP AnyValue as a plain value; what is nested too deep stays as it stands."""
    if not isinstance(value, dict) or depth > _MAX_NESTED_VALUES:
        return value
    for kind, held in value.items():
        if kind == "intValue":
            return int(held) if isinstance(held, int | str) and str(held).lstrip("-").isdigit() else held
        if kind == "arrayValue" and isinstance(held, dict):
            return [_plain(item, depth + 1) for item in held.get("values") or ()]
        if kind == "kvlistValue" and isinstance(held, dict):
            return {item.get("key"): _plain(item.get("value"), depth + 1) for item in held.get("values") or ()}
        return held
    return None


class SpanFormat:
    """What both span formats share: their names, and how an export's lines become traces.

    A line whose spans are all of one trace is a piece of that trace (exporters write a trace in batches); a line with
    several traces is a container of them.
    """

    name: str
    marks: tuple[str, ...]

    def session_key(self, value: Any) -> str | None:
        """The trace of a line that holds spans of one trace and of this convention."""
        trace_ids = self._trace_ids(value)
        return trace_ids.pop() if len(trace_ids) == 1 else None

    def unpack(self, value: Any) -> list[Any] | None:
        """One export per trace, in order of first sight, for a line of several traces of this convention."""
        if len(self._trace_ids(value)) < 2:
            return None
        traces: dict[str, list[dict[str, Any]]] = {}
        for span in raw_spans(value):
            traces.setdefault(trace_id_of(span) or "", []).append(span)
        return [{"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]} for spans in traces.values()]

    def detects(self, record: Any) -> bool:
        """Whether the record is a trace's export lines, or one export, with attributes of this convention."""
        values = record if isinstance(record, list) else [record]
        return any(self._marked(span) for value in values[:50] for span in raw_spans(value))

    def _trace_ids(self, value: Any) -> set[str]:
        """The traces in a line; none where no span is of this convention."""
        if not isinstance(value, dict) or not ("resourceSpans" in value or "context" in value):
            return set()
        spans = list(raw_spans(value))
        if not any(self._marked(span) for span in spans):
            return set()
        return {trace_id for trace_id in map(trace_id_of, spans) if trace_id is not None}

    def _marked(self, span: dict[str, Any]) -> bool:
        return any(name.startswith(self.marks) for name in attribute_names(span))

    def spans_of(self, record: Any) -> list[Span]:
        """All spans of a record in order of start."""
        values = record if isinstance(record, list) else [record]
        return in_order([read_span(span) for value in values for span in raw_spans(value)])
