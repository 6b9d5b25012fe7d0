"""Traces in the formats whose calls are structured: OpenAI, ShareGPT, Claude Code, ATIF, OTLP; and prompts alone."""

import json
from typing import Any

from examples.tools import SCHEMAS
from examples.trace import Call, Trace, Turn

SYSTEM = "You help the people of the Sevrin islands. Use a tool only where you cannot answer without it."


def tool_schemas(trace: Trace) -> list[dict[str, Any]]:
    """The declared tools, OpenAI-style."""
    return [SCHEMAS[name] for name in trace.tools]


def _known(trace: Trace) -> dict[str, Any]:
    """What the source recorded of the outcome."""
    recorded = {"ground_truth": trace.truth, "success": trace.success, "finish_reason": trace.finish_reason}
    return {key: value for key, value in recorded.items() if value is not None}


def openai_messages(trace: Trace) -> list[dict[str, Any]]:
    """The messages as the chat completions API takes and gives them."""
    return [{"role": "system", "content": SYSTEM}, *map(_openai_message, trace.turns)]


def _openai_message(turn: Turn) -> dict[str, Any]:
    if turn.role == "tool":
        return {"role": "tool", "tool_call_id": turn.call_id, "name": turn.name, "content": turn.text}
    said: dict[str, Any] = {"role": turn.role, "content": turn.text}
    if turn.calls:
        said["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": as_text(call.arguments)}}
            for call in turn.calls
        ]
    return said


def as_text(arguments: dict[str, Any] | str) -> str:
    """Arguments as JSON text; what is text already stays."""
    return arguments if isinstance(arguments, str) else json.dumps(arguments)


def openai_chat(trace: Trace, key: str) -> dict[str, Any]:
    """A record of messages with tool_calls, its tools beside it."""
    return {"id": key, "messages": openai_messages(trace), "tools": tool_schemas(trace), **_known(trace)}


def rewarded_chat(trace: Trace, key: str) -> dict[str, Any]:
    """The same under `traj`, with the reward of an evaluation harness and no tool declarations."""
    reward = 0.0 if trace.success is False else 1.0
    return {"task_id": key, "trial": 0, "reward": reward, "info": {"kind": trace.kind}, "traj": openai_messages(trace)}


def sharegpt(trace: Trace, key: str) -> dict[str, Any]:
    """A record of from/value pairs; calls and observations carry no ids."""
    said: list[dict[str, str]] = []
    for turn in trace.turns:
        if turn.role == "user":
            said.append({"from": "human", "value": turn.text})
        elif turn.role == "tool":
            said.append({"from": "observation", "value": turn.text})
        elif not turn.calls:
            said.append({"from": "gpt", "value": turn.text})
        for call in turn.calls:
            value = {"name": call.name, "arguments": call.arguments}
            said.append({"from": "function_call", "value": json.dumps(value)})
    functions = [schema["function"] for schema in tool_schemas(trace)]
    return {"id": key, "conversations": said, "tools": json.dumps(functions), **_known(trace)}


def claude_session(trace: Trace, key: str) -> list[dict[str, Any]]:
    """The events of one coding-agent session; observations are user events with tool_result blocks."""
    events: list[dict[str, Any]] = []
    for k, turn in enumerate(trace.turns):
        content: Any = turn.text
        if turn.role == "tool":
            content = [{"type": "tool_result", "tool_use_id": turn.call_id, "content": turn.text}]
        elif turn.role == "assistant":
            content = [{"type": "text", "text": turn.text}] if turn.text else []
            content += [
                {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments} for call in turn.calls
            ]
        role = "assistant" if turn.role == "assistant" else "user"
        events.append(
            {
                "type": role,
                "uuid": f"{key}-{k}",
                "parentUuid": f"{key}-{k - 1}" if k else None,
                "sessionId": key,
                "timestamp": f"2025-01-01T08:{k // 60:02d}:{k % 60:02d}.000Z",
                "cwd": "/harbour",
                "message": {"role": role, "content": content},
            }
        )
    return events


def atif(trace: Trace, key: str) -> dict[str, Any]:
    """An ATIF trajectory: an agent's step holds its calls and their results."""
    steps: list[dict[str, Any]] = [{"step_id": 1, "source": "system", "message": SYSTEM}]
    for turn in trace.turns:
        if turn.role == "tool":
            result = {"source_call_id": turn.call_id, "content": turn.text}
            steps[-1].setdefault("observation", {"results": []})["results"].append(result)
            continue
        step: dict[str, Any] = {"step_id": len(steps) + 1, "source": "agent" if turn.role == "assistant" else "user"}
        step["message"] = turn.text
        if turn.calls:
            step["tool_calls"] = [
                {"tool_call_id": call.id, "function_name": call.name, "arguments": call.arguments}
                for call in turn.calls
            ]
        steps.append(step)
    agent = {"name": "sevrin-desk", "version": "1", "model_name": "invented", "tool_definitions": tool_schemas(trace)}
    record = {"schema_version": "ATIF-v1.7", "session_id": key, "agent": agent, "steps": steps}
    return record | ({"extra": known} if (known := _known(trace)) else {})


def otlp(traces: list[tuple[Trace, str]]) -> dict[str, Any]:
    """An OpenTelemetry export of several traces: a chat span per generation, an execute_tool span per call."""
    spans = [span for trace, key in traces for span in _spans(trace, key)]
    resource = {"attributes": [_attribute("service.name", "sevrin-desk")]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "sevrin"}, "spans": spans}]}]}


def _spans(trace: Trace, key: str) -> list[dict[str, Any]]:
    trace_id = key.encode().hex().rjust(32, "0")[-32:]
    spans: list[dict[str, Any]] = []

    def add(name: str, **attributes: str) -> None:
        number = len(spans)
        spans.append(
            {
                "traceId": trace_id,
                "spanId": f"{trace_id[-8:]}{number:08x}",
                "parentSpanId": f"{trace_id[-8:]}ffffffff",
                "name": name,
                "kind": 1,
                "startTimeUnixNano": str(1_735_718_400_000_000_000 + number * 2_000_000),
                "endTimeUnixNano": str(1_735_718_400_000_000_000 + number * 2_000_000 + 1_000_000),
                "attributes": [_attribute(name.replace("__", "."), value) for name, value in attributes.items()],
            }
        )

    past: list[dict[str, Any]] = []
    calls: dict[str | None, Call] = {}
    for turn in trace.turns:
        if turn.role == "tool":
            call = calls.get(turn.call_id)
            add(
                f"execute_tool {turn.name}",
                gen_ai__operation__name="execute_tool",
                gen_ai__tool__name=str(turn.name),
                gen_ai__tool__call__id=str(turn.call_id),
                gen_ai__tool__call__arguments=as_text(call.arguments) if call else "{}",
                gen_ai__tool__call__result=turn.text,
            )
        elif turn.role == "assistant":
            calls |= {call.id: call for call in turn.calls}
            add(
                "chat invented",
                gen_ai__operation__name="chat",
                gen_ai__request__model="invented",
                gen_ai__conversation__id=key,
                gen_ai__tool__definitions=json.dumps(
                    [{"type": "function", **schema["function"]} for schema in tool_schemas(trace)]
                ),
                gen_ai__input__messages=json.dumps(past),
                gen_ai__output__messages=json.dumps([_parts(turn)]),
            )
        past = [*past, _parts(turn)]
    return spans


def _parts(turn: Turn) -> dict[str, Any]:
    if turn.role == "tool":
        answer = {"type": "tool_call_response", "id": turn.call_id, "name": turn.name, "result": turn.text}
        return {"role": "user", "parts": [answer]}
    parts: list[dict[str, Any]] = [{"type": "text", "content": turn.text}] if turn.text else []
    parts += [{"type": "tool_call", "id": c.id, "name": c.name, "arguments": c.arguments} for c in turn.calls]
    return {"role": turn.role, "parts": parts}


def _attribute(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "value": {"stringValue": value}}


def question(trace: Trace, key: str) -> dict[str, Any]:
    """A question with its answer and no attempt."""
    return {"id": key, "question": trace.prompt, "answer": trace.correct}


def verl_prompt(trace: Trace, key: str) -> dict[str, Any]:
    """A prompt row as verl's trainers read it."""
    return {
        "data_source": "sevrin",
        "prompt": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": trace.prompt}],
        "ability": "search" if "search" in trace.tools else "math",
        "reward_model": {"style": "rule", "ground_truth": trace.correct},
        "extra_info": {"index": key, "kind": trace.kind},
    }
