"""LangSmith runs: one dict a run (llm, tool, chain), all runs of a trace together, or the batches the SDK posts."""

from typing import Any

from pipeline.errors import FormatError
from pipeline.formats.base import Parsed, message
from pipeline.formats.fields import dict_of, object_at, some, text_of, word_at
from pipeline.formats.langsmith_messages import input_messages, output_messages
from pipeline.formats.llm_threads import ModelCall, ToolRun, declared_tools, main_thread, thread_note
from pipeline.formats.tool_schemas import openai_tools

_RUN_TYPES = frozenset({"llm", "tool", "chain", "retriever", "embedding", "prompt", "parser"})
_MODELS = ("ls_model_name", "model", "model_name")


class LangSmith:
    """One trajectory a trace: the outermost conversation of its model runs, observations filled from tool runs."""

    name = "langsmith"

    def session_key(self, value: Any) -> str | None:
        """The trace of a run, or of a batch `{"post": runs, "patch": runs}` whose runs are all of one trace."""
        if not isinstance(value, dict):
            return None
        if _is_run(value):
            return _trace_of(value) or None
        traces = {_trace_of(run) for run in _batch(value)}
        return (traces.pop() or None) if len(traces) == 1 else None

    def unpack(self, value: Any) -> list[Any] | None:
        """One batch per trace, for a batch with runs of several traces."""
        runs = _batch(value)
        traces = dict.fromkeys(_trace_of(run) for run in runs)
        if len(traces) < 2:
            return None
        held = {key: runs for key, runs in value.items() if isinstance(runs, list)}
        return [
            {key: [run for run in runs if _trace_of(run) == trace] for key, runs in held.items()} for trace in traces
        ]

    def detects(self, record: Any) -> bool:
        """Whether the record is a run, a batch, or a list of them."""
        first = record[0] if isinstance(record, list) and record else record
        return isinstance(first, dict) and (_is_run(first) or bool(_batch(first)))

    def parse(self, record: Any) -> Parsed:
        """The conversation. Raises FormatError where neither a model run nor the root run holds messages."""
        runs = _merged(record if isinstance(record, list) else [record])
        by_id = {word_at(run, "id"): run for run in runs}
        calls: list[ModelCall] = []
        tool_runs: list[ToolRun] = []
        for run in runs:
            kind = run.get("run_type")
            if kind == "llm":
                calls.append(_model_call(run, _level(run, by_id)))
            elif kind == "tool":
                tool_runs.append(_tool_run(run, _level(run, by_id)))
        calls = [call for call in calls if call.inputs or call.outputs] or _root_call(runs)
        if not calls:
            raise FormatError(
                f"trace {_trace_of(runs[0])}: want an llm run with messages, found none in {len(runs)} runs; "
                "export the runs with their inputs and outputs"
            )
        main, others = main_thread(calls, tool_runs)
        root = runs[0]
        return Parsed(
            messages=main.messages,
            tools=declared_tools(main),
            metadata=some(
                trace_id=_trace_of(root),
                name=root.get("name"),
                model=main.calls[-1].model,
                session_name=root.get("session_name"),
                tags=root.get("tags"),
                feedback=root.get("feedback_stats"),
                errors=[f"{run.get('name')}: {run['error']}" for run in runs if run.get("error")],
                other_threads=[thread_note(thread) for thread in others],
                runs=len(runs),
            ),
        )


def _is_run(value: dict[str, Any]) -> bool:
    return word_at(value, "run_type") in _RUN_TYPES and "inputs" in value


def _batch(value: Any) -> list[dict[str, Any]]:
    """The runs of a batch in order; none where the value is no batch."""
    if not isinstance(value, dict) or not value.keys() <= {"post", "patch"} or not value.keys():
        return []
    lists = [value.get(key) for key in ("post", "patch")]
    runs = [run for held in lists if isinstance(held, list) for run in held if isinstance(run, dict)]
    return runs if all("id" in run and ("dotted_order" in run or "run_type" in run) for run in runs) else []


def _trace_of(run: Any) -> str:
    return word_at(run, "trace_id") or word_at(run, "id") if isinstance(run, dict) else ""


def _merged(values: list[Any]) -> list[dict[str, Any]]:
    """The runs by start; a later notice of a run (its patch) fills in what it has."""
    runs: dict[Any, dict[str, Any]] = {}
    for index, value in enumerate(values):
        value = dict_of(value, f"langsmith[{index}]")
        for run in _batch(value) or [value]:
            known = runs.setdefault(word_at(run, "id") or f"run {index}", {})
            known.update({key: held for key, held in run.items() if held or key not in known})
    # dotted_order is the run's path of start times, so parents sort before children and siblings by start.
    return sorted(runs.values(), key=lambda run: str(run.get("dotted_order") or run.get("start_time") or ""))


def _level(run: dict[str, Any], by_id: dict[Any, dict[str, Any]]) -> int:
    """How many tool runs enclose a run: an agent called as a tool is a conversation of its own."""
    level, seen = 0, {word_at(run, "id")}
    parent = by_id.get(word_at(run, "parent_run_id"))
    while parent is not None and word_at(parent, "id") not in seen:
        seen.add(word_at(parent, "id"))
        level += parent.get("run_type") == "tool"
        parent = by_id.get(word_at(parent, "parent_run_id"))
    return level


def _model_call(run: dict[str, Any], level: int) -> ModelCall:
    inputs, extra = object_at(run, "inputs"), object_at(run, "extra")
    invocation, told = object_at(extra, "invocation_params"), object_at(extra, "metadata")
    declared = inputs.get("tools") or invocation.get("tools") or invocation.get("functions")
    return ModelCall(
        level,
        input_messages(inputs),
        output_messages(object_at(run, "outputs")),
        text_of(told.get("langgraph_node")),
        next((text_of(held[key]) for held in (told, invocation, inputs) for key in _MODELS if held.get(key)), None),
        openai_tools(declared) if declared else None,
    )


def _tool_run(run: dict[str, Any], level: int) -> ToolRun:
    inputs, outputs = object_at(run, "inputs"), object_at(run, "outputs")
    result: Any = outputs.get("output", outputs or None)
    call_id = None
    if isinstance(result, dict):
        # LangChain returns a ToolMessage, plain or in its serialised form.
        held = object_at(result, "kwargs") or result
        call_id = text_of(held.get("tool_call_id"))
        result = held.get("content", result)
    if result is None and run.get("error"):
        result = run["error"]
    arguments = inputs["input"] if inputs.keys() == {"input"} else inputs
    return ToolRun(level, text_of(run.get("name")), call_id, arguments, text_of(result))


def _root_call(runs: list[dict[str, Any]]) -> list[ModelCall]:
    """The root run as one call, for a trace whose model runs were not recorded: its state's messages, or its texts."""
    root = runs[0]
    inputs, outputs = input_messages(object_at(root, "inputs")), output_messages(object_at(root, "outputs"))
    if not outputs:
        answer = object_at(root, "outputs").get("output", object_at(root, "outputs").get("answer"))
        outputs = [message("assistant", answer)] if isinstance(answer, str) else []
    # A graph's output state repeats its input.
    if len(outputs) > len(inputs) and all(a["content"] == b["content"] for a, b in zip(inputs, outputs, strict=False)):
        inputs = []
    return [ModelCall(0, inputs, outputs)] if (inputs and outputs) or len(outputs) > 1 else []


LANGSMITH = LangSmith()
