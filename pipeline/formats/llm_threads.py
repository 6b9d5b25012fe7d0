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
    it) continues it; so does one that sends only the results of its calls. The main conversation is the longest on the
    outermost level on which an agent works, that is, calls a tool or speaks twice; else the longest on the outermost.
    """
    threads: list[Thread] = []
    for call in calls:
        for thread in reversed(threads):
            start = _overlap(thread, call)
            if start is not None:
                _extend(thread, call, start)
                break
        else:
            threads.append(Thread([*call.inputs, *call.outputs], [call]))
    working = [thread for thread in threads if _works(thread)] or threads
    outermost = min(_level(thread) for thread in working)
    candidates = [thread for thread in working if _level(thread) == outermost]
    # One that does not begin with its task is the cut-off end of another.
    main = max(reversed(candidates), key=lambda thread: (_has_task(thread), len(thread.messages)))
    pools: dict[int, list[ToolRun]] = {}
    for run in runs:
        pools.setdefault(run.level, []).append(run)
    for thread in threads:
        fill_observations(thread.messages, pools.get(_level(thread), []))
    return main, [thread for thread in threads if thread is not main]


def fill_observations(messages: list[Message], runs: list[ToolRun]) -> None:
    """Insert, behind each call without an observation, the result of the run that was it; takes used runs away.

    A run is a call's by id; a run without id by name, one with equal arguments first. Every call takes its run, also
    one that has its observation, so that no call gets another's result.
    """
    pair_by_position(messages)
    answered = {item["tool_call_id"] for item in messages if item["role"] == "tool"}
    filled: list[Message] = []
    waiting: list[Message] = []
    for item in messages:
        if item["role"] != "tool":
            filled += waiting
            waiting = []
        filled.append(item)
        for call in item["tool_calls"] or ():
            run = _run_of(call, runs)
            if run is None:
                continue
            runs.remove(run)
            if run.result is not None and call["id"] not in answered:
                waiting.append(message("tool", run.result, tool_call_id=call["id"], name=call["name"]))
    messages[:] = filled + waiting


def declared_tools(thread: Thread) -> list[dict[str, Any]] | None:
    """The tools declared on any call of a conversation, each name once; None where none were."""
    named = {tool["function"]["name"]: tool for call in thread.calls for tool in call.tools or ()}
    return list(named.values()) or None


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
    return (same or named or [None])[0]


def _overlap(thread: Thread, call: ModelCall) -> int | None:
    """From which of the conversation's messages on this call's input repeats it; None where it is another one.

    0 where the input repeats it whole. More where its beginning was cut to save context, which takes two repeated
    messages to believe. All of it where the input holds only results of calls still open.
    """
    if _level(thread) != call.level:
        return None
    inputs = [item for item in call.inputs if item["role"] != "system"]
    said = [item for item in thread.messages if item["role"] != "system"]
    for start in range(max(0, len(said) - len(inputs)), max(len(said) - 1, 1)):
        if all(map(_same, said[start:], inputs)):
            return start
    open_ids = {c["id"] for item in said for c in item["tool_calls"] or () if c["id"]}
    if inputs and all(item["role"] == "tool" and item["tool_call_id"] in open_ids for item in inputs):
        return len(said)
    return None


def _extend(thread: Thread, call: ModelCall, start: int) -> None:
    """Add what this call brings; a message it repeats may know calls that the output before left out.

    A system text that changes on the way (a handoff) stands where it changed.
    """
    inputs = [item for item in call.inputs if item["role"] != "system"]
    at = 0
    for index, known in enumerate(thread.messages):
        if known["role"] == "system":
            continue
        again = inputs[at - start] if 0 <= at - start < len(inputs) else known
        at += 1
        if again["tool_calls"] and not known["tool_calls"]:
            thread.messages[index] = {**known, "tool_calls": again["tool_calls"]}
    told = {item["content"] for item in thread.messages if item["role"] == "system"}
    thread.messages += inputs[at - start :]
    thread.messages += [item for item in call.inputs if item["role"] == "system" and item["content"] not in told]
    thread.messages += call.outputs
    thread.calls.append(call)


def _same(known: Message, again: Message) -> bool:
    """Whether two messages are one, as far as tracers repeat them: role, text (without a stop marker), called names."""
    if known["role"] != again["role"] or _text(known) != _text(again):
        return False
    names = [call["name"] for call in known["tool_calls"] or ()]
    return not names or names == [call["name"] for call in again["tool_calls"] or ()]


def _text(item: Message) -> str:
    """A message's text as it can be compared. smolagents repeats a turn with the stop sequence it was cut at."""
    return (item["content"] or "").removesuffix("<end_code>").strip()


def _works(thread: Thread) -> bool:
    """Whether an agent works here: it calls a tool or speaks twice."""
    spoken = [item for item in thread.messages if item["role"] == "assistant"]
    return len(spoken) > 1 or any(item["tool_calls"] for item in spoken)


def _has_task(thread: Thread) -> bool:
    return any(item["role"] == "user" for item in thread.messages)


def _level(thread: Thread) -> int:
    return thread.calls[0].level
