"""Records of event formats made by hand, and how tests read them."""

from typing import Any

import orjson

from pipeline.formats import registry
from pipeline.formats.base import Parsed

Short = tuple[Any, ...]


def read(*values: Any) -> list[tuple[str, Parsed]]:
    """The format and the trajectory of each record in a file of these values."""
    found = []
    for group in registry.group_values(enumerate(values)):
        known = registry.detect(group.record)
        assert known is not None, group.record
        found.append((known.name, known.parse(group.record)))
    return found


def one(name: str, *values: Any) -> Parsed:
    """The one trajectory of a file of these values, which must be of this format."""
    ((known, parsed),) = read(*values)
    assert known == name
    return parsed


def short(parsed: Parsed) -> list[Short]:
    """The messages as (role, content) plus calls as (id, name, arguments) or the call id answered."""
    brief: list[Short] = []
    for item in parsed.messages:
        if item["role"] == "tool":
            brief.append(("tool", item["content"], item["tool_call_id"]))
        elif item["tool_calls"]:
            calls = [(call["id"], call["name"], call["arguments"]) for call in item["tool_calls"]]
            brief.append((item["role"], item["content"], *calls))
        else:
            brief.append((item["role"], item["content"]))
    return brief


def event(kind: str, uuid: str, parent: str | None, content: Any, *, message_id: str | None = None, **more: Any) -> Any:
    """One line of a session."""
    held = {"role": kind, "content": content} | ({"id": message_id, "model": "m"} if message_id else {})
    line = {"type": kind, "uuid": uuid, "parentUuid": parent, "sessionId": "s", "isSidechain": False, "message": held}
    return line | more


def text(value: str) -> dict[str, Any]:
    """A text block."""
    return {"type": "text", "text": value}


def use(call_id: str, command: str) -> dict[str, Any]:
    """A call of Bash."""
    return {"type": "tool_use", "id": call_id, "name": "Bash", "input": {"command": command}}


def result(call_id: str, content: Any, **more: Any) -> dict[str, Any]:
    """The observation for a call."""
    return {"type": "tool_result", "tool_use_id": call_id, "content": content, **more}


def atif_record(**more: Any) -> dict[str, Any]:
    """A trajectory with parallel calls whose results came in the other order."""
    return {
        "schema_version": "ATIF-v1.7",
        "trajectory_id": "t1",
        "agent": {"name": "planner", "version": "1", "tool_definitions": []},
        "steps": [
            {"step_id": 1, "source": "user", "message": "Old", "is_copied_context": True},
            {"step_id": 2, "source": "user", "message": "Go"},
            {
                "step_id": 3,
                "source": "agent",
                "message": "Both.",
                "reasoning_content": "Hm.",
                "tool_calls": [
                    {"tool_call_id": "c1", "function_name": "a", "arguments": {"x": 1}},
                    {"tool_call_id": "c2", "function_name": "b", "arguments": {}},
                ],
                "observation": {
                    "results": [{"source_call_id": "c2", "content": "B"}, {"source_call_id": "c1", "content": "A"}]
                },
            },
            {
                "step_id": 4,
                "source": "agent",
                "message": "Wait.",
                "observation": {"results": [{"source_call_id": None, "content": "The build broke."}]},
            },
        ],
        **more,
    }


def openhands_call(event_id: int, call_id: str, *, response: str, calls: list[str]) -> dict[str, Any]:
    """An action with the model response it came from."""
    made = [{"id": name, "type": "function", "function": {"name": "bash", "arguments": '{"c": 1}'}} for name in calls]
    held = {"content": "Thinking.", "role": "assistant", "tool_calls": made}
    told = {
        "function_name": "bash",
        "tool_call_id": call_id,
        "model_response": {"id": response, "choices": [{"message": held}]},
    }
    return {"id": event_id, "source": "agent", "action": "run", "args": {"command": "ls"}, "tool_call_metadata": told}


def span(
    name: str, span_id: str, parent: str | None, start: int, trace: str = "t", **attributes: Any
) -> dict[str, Any]:
    """An OTLP span; attribute names are written with __ for the dot."""
    listed = [
        {
            "key": key.replace("__", "."),
            "value": {"stringValue": held if isinstance(held, str) else orjson.dumps(held).decode()},
        }
        for key, held in attributes.items()
    ]
    return {
        "traceId": trace,
        "spanId": span_id,
        "parentSpanId": parent,
        "name": name,
        "startTimeUnixNano": str(start),
        "attributes": listed,
    }


def export(*spans: dict[str, Any]) -> dict[str, Any]:
    """One OTLP export line."""
    return {"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}


def genai(role: str, *parts: dict[str, Any]) -> dict[str, Any]:
    """A message of the GenAI conventions."""
    return {"role": role, "parts": list(parts)}


def genai_trace() -> list[dict[str, Any]]:
    """A boss that calls two tools, one of them an agent; the last model call never came back."""
    ask = genai("user", {"type": "text", "content": "Weather?"})
    calls = genai(
        "assistant",
        {"type": "reasoning", "content": "Two tools."},
        {"type": "tool_call", "id": "w", "name": "weather", "arguments": {"city": "Paris"}},
        {"type": "tool_call", "id": "h", "name": "ask_helper", "arguments": {"q": "x"}},
    )
    system = [{"type": "text", "content": "Be the boss."}]
    return [
        span("agent boss", "1", None, 1, gen_ai__operation__name="invoke_agent", gen_ai__agent__name="boss"),
        span(
            "chat",
            "2",
            "1",
            2,
            gen_ai__operation__name="chat",
            gen_ai__input__messages=[ask],
            gen_ai__output__messages=[calls],
            gen_ai__system_instructions=system,
            gen_ai__tool__definitions=[{"type": "function", "name": "weather", "parameters": {"type": "object"}}],
        ),
        span(
            "tool",
            "3",
            "1",
            3,
            gen_ai__operation__name="execute_tool",
            gen_ai__tool__name="weather",
            gen_ai__tool__call__id="w",
            gen_ai__tool__call__result="sunny",
        ),
        span(
            "tool",
            "4",
            "1",
            4,
            gen_ai__operation__name="execute_tool",
            gen_ai__tool__name="ask_helper",
            gen_ai__tool__call__id="h",
            gen_ai__tool__call__result="42",
        ),
        span("agent helper", "5", "4", 5, gen_ai__operation__name="invoke_agent", gen_ai__agent__name="helper"),
        span(
            "chat",
            "6",
            "5",
            6,
            gen_ai__operation__name="chat",
            gen_ai__input__messages=[genai("user", {"type": "text", "content": "x"})],
            gen_ai__output__messages=[genai("assistant", {"type": "text", "content": "42"})],
        ),
    ]


def flat(side: str, *messages: dict[str, Any]) -> dict[str, Any]:
    """Messages as OpenInference flattens them."""
    found: dict[str, Any] = {}
    for k, held in enumerate(messages):
        for key, value in held.items():
            if key == "calls":
                for c, (call_id, name, arguments) in enumerate(value):
                    at = f"llm.{side}_messages.{k}.message.tool_calls.{c}.tool_call"
                    found |= {f"{at}.id": call_id, f"{at}.function.name": name, f"{at}.function.arguments": arguments}
            else:
                found[f"llm.{side}_messages.{k}.message.{key}"] = value
    return found


def trail_span(span_id: str, kind: str | None, at: int, *children: Any, **attributes: Any) -> dict[str, Any]:
    """One span of TRAIL's tree."""
    named = {key.replace("__", "."): held for key, held in attributes.items()}
    if kind:
        named["openinference.span.kind"] = kind
    return {
        "trace_id": "t",
        "span_id": span_id,
        "span_name": span_id,
        "timestamp": f"2025-01-01T12:00:{at:02d}Z",
        "span_attributes": named,
        "logs": [],
        "child_spans": list(children),
    }


def run(kind: str, run_id: str, order: str, parent: str | None = None, **more: Any) -> dict[str, Any]:
    """A LangSmith run of trace t."""
    base = {
        "id": run_id,
        "trace_id": "t",
        "run_type": kind,
        "name": kind,
        "dotted_order": order,
        "parent_run_id": parent,
    }
    return {**base, "inputs": {}, "outputs": {}, **more}


def managed_lines() -> list[Any]:
    """A recorded session with one request that speaks and calls two tools, one of them denied."""

    def streamed(kind: str, **more: Any) -> list[Any]:
        return ["client.beta.sessions.events.stream", {"type": kind, **more}]

    asked = {"type": "user.message", "content": [text("Date?")]}
    return [
        [
            "client.beta.sessions.create",
            {"id": "s", "agent": {"name": "Coder", "system": "Be brief.", "model": {"id": "m"}}},
        ],
        ["client.beta.sessions.events.send", ["s", {"events": [asked]}]],
        streamed(**{"kind": "user.message", "content": [text("Date?")]}),
        streamed("span.model_request_start"),
        streamed("agent.message", content=[text("Looking.")]),
        streamed("agent.tool_use", id="e1", name="bash", input={"command": "date"}),
        streamed("agent.mcp_tool_use", id="e2", name="clock", input={}),
        streamed("user.tool_confirmation", tool_use_id="e2", result="deny"),
        streamed("agent.tool_result", tool_use_id="e1", content=[text("Monday")], is_error=False),
        streamed("agent.mcp_tool_result", mcp_tool_use_id="e2", content=[text("Rejected")], is_error=True),
        streamed("span.model_request_start"),
        streamed("agent.message", content=[text("Monday.")]),
    ]
