"""From the model and tool calls a tracer recorded one by one, back to the conversation they were part of."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.formats.base import message, pair_by_position
from pipeline.formats.fields import json_or
from pipeline.schema import Message, ToolCall


@dataclass(slots=True)
class ModelCall:
    """One model call: what went in, what came out, and how many agents and tools it was nested in."""

    level: int
    inputs: list[Message]
    outputs: list[Message]
    agent: str | None = None
    model: str | None = None
    tools: list[dict[str, Any]] | None = None


@dataclass(slots=True)
class ToolRun:
    """One run of a tool as its own span recorded it."""

    level: int
    name: str | None
    call_id: str | None
    arguments: Any
    result: str | None


@dataclass(slots=True)
class Thread:
    """One conversation, and the model calls it was put together from."""

    messages: list[Message]
    calls: list[ModelCall] = field(default_factory=list)


def main_thread(calls: Sequence[ModelCall], runs: Sequence[ToolRun]) -> tuple[Thread, list[Thread]]:
    """The main conversation, its missing observations filled from `runs`, and the other conversations of the trace.

    Calls come in order of their start. A call whose input repeats a conversation (system text aside: a handoff changes
    it) continues it; so does one that sends only what is new. The main conversation is the longest on the outermost
    level on which an agent works, that is, calls a tool or speaks twice; else the longest on the outermost level.
    """
    threads: list[Thread] = []
    for call in calls:
        thread = next((known for known in reversed(threads) if _continues(known, call)), None)
        if thread is None:
            thread = Thread([])
            threads.append(thread)
        _extend(thread, call)
    working = [thread for thread in threads if _works(thread)] or threads
    outermost = min(_level(thread) for thread in working)
    candidates = [thread for thread in working if _level(thread) == outermost]
    main = max(reversed(candidates), key=lambda thread: len(thread.messages))
    for thread in threads:
        fill_observations(thread.messages, [run for run in runs if run.level == _level(thread)])
    return main, [thread for thread in threads if thread is not main]


def fill_observations(messages: list[Message], runs: list[ToolRun]) -> None:
    """Insert, behind each call without an observation, the result of the run that was it, in place.

    A run is a call's by id; a run without id by name, one with equal arguments first.
    """
    pair_by_position(messages)
    answered = {item["tool_call_id"] for item in messages if item["role"] == "tool"}
    free = [run for run in runs if run.result is not None and (run.call_id is None or run.call_id not in answered)]
    for index in range(len(messages) - 1, -1, -1):
        missing = [call for call in messages[index]["tool_calls"] or () if call["id"] not in answered]
        if not missing:
            continue
        at = index + 1
        while at < len(messages) and messages[at]["role"] == "tool":
            at += 1
        found: list[Message] = []
        # Walking back from the end, so the last fitting run is this call's and earlier ones stay for earlier calls.
        for call in reversed(missing):
            run = _run_of(call, free)
            if run is not None:
                free.remove(run)
                found.insert(0, message("tool", run.result, tool_call_id=call["id"], name=call["name"]))
        messages[at:at] = found


def thread_note(thread: Thread) -> dict[str, Any]:
    """A line of metadata on a conversation that is not the main one: who, how long, asked what, answered what."""
    first = next((item["content"] for item in thread.messages if item["role"] == "user"), None)
    last = next((item["content"] for item in reversed(thread.messages) if item["role"] == "assistant"), None)
    return {
        "agent": next((call.agent for call in thread.calls if call.agent), None),
        "messages": len(thread.messages),
        "asked": first[:200] if first else None,
        "answered": last[:200] if last else None,
    }


def _run_of(call: ToolCall, free: list[ToolRun]) -> ToolRun | None:
    """The run of this call among those not yet taken."""
    for run in free:
        if run.call_id is not None and run.call_id == call["id"]:
            return run
    named = [run for run in free if run.call_id is None and run.name == call["name"]]
    wanted = json_or(call["arguments"], call["arguments"])
    same = [run for run in named if json_or(run.arguments, run.arguments) == wanted]
    return (same or named or [None])[-1]


def _continues(thread: Thread, call: ModelCall) -> bool:
    """Whether this call goes on with the conversation: its input repeats it, or holds only what came since."""
    if _level(thread) != call.level:
        return False
    inputs = [item for item in call.inputs if item["role"] != "system"]
    said = [item for item in thread.messages if item["role"] != "system"]
    if len(inputs) >= len(said):
        return all(map(_same, said, inputs))
    open_ids = {c["id"] for item in said for c in item["tool_calls"] or () if c["id"]}
    return bool(inputs) and all(item["role"] == "tool" and item["tool_call_id"] in open_ids for item in inputs)


def _extend(thread: Thread, call: ModelCall) -> None:
    """Add what this call brings to the conversation. A system text that changes on the way (handoff) is told there."""
    inputs = [item for item in call.inputs if item["role"] != "system"]
    systems = [item for item in call.inputs if item["role"] == "system"]
    if not thread.messages:
        thread.messages = [*call.inputs, *call.outputs]
    else:
        said = sum(item["role"] != "system" for item in thread.messages)
        thread.messages += inputs[said:] if len(inputs) >= said else inputs
        known = [item["content"] for item in thread.messages if item["role"] == "system"]
        thread.messages += [item for item in systems if item["content"] not in known]
        thread.messages += call.outputs
    thread.calls.append(call)


def _same(a: Message, b: Message) -> bool:
    """Whether two messages are one, as far as tracers repeat them: role, text and called names."""
    if a["role"] != b["role"] or (a["content"] or "").strip() != (b["content"] or "").strip():
        return False
    return [call["name"] for call in a["tool_calls"] or ()] == [call["name"] for call in b["tool_calls"] or ()]


def _works(thread: Thread) -> bool:
    """Whether an agent works here: it calls a tool or speaks twice."""
    spoken = [item for item in thread.messages if item["role"] == "assistant"]
    return len(spoken) > 1 or any(item["tool_calls"] for item in spoken)


def _level(thread: Thread) -> int:
    return thread.calls[0].level
