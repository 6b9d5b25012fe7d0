"""OTLP, OpenInference and LangSmith: the conversation behind spans and runs."""

from typing import Any

import orjson
import pytest

from pipeline.errors import FormatError
from tests.pipeline.formats.event_records import (
    export,
    flat,
    genai,
    genai_trace,
    one,
    read,
    run,
    short,
    span,
    text,
    trail_span,
)


def test_genai_spans_fill_results_from_tool_spans_and_name_the_nested_agent() -> None:
    spans = genai_trace()
    parsed = one("otlp_genai", export(*spans[3:]), export(*spans[:3]))
    assert short(parsed) == [
        ("system", "Be the boss."),
        ("user", "Weather?"),
        ("assistant", None, ("w", "weather", '{"city":"Paris"}'), ("h", "ask_helper", '{"q":"x"}')),
        ("tool", "sunny", "w"),
        ("tool", "42", "h"),
    ]
    assert parsed.messages[2]["reasoning"] == "Two tools."
    assert parsed.tools == [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    assert parsed.metadata["agents"] == ["boss"]
    assert parsed.metadata["other_threads"] == [{"agent": "helper", "messages": 2, "asked": "x", "answered": "42"}]


def test_an_export_of_several_traces_holds_one_record_a_trace() -> None:
    def chat(trace: str, said: str) -> dict[str, Any]:
        return span(
            "chat",
            "1",
            None,
            1,
            trace,
            gen_ai__input__messages=[genai("user", {"type": "text", "content": said})],
            gen_ai__output__messages=[genai("assistant", {"type": "text", "content": "ok"})],
        )

    found = read(export(chat("a", "one"), chat("b", "two")))
    assert [(name, short(parsed)[0]) for name, parsed in found] == [
        ("otlp_genai", ("user", "one")),
        ("otlp_genai", ("user", "two")),
    ]


def test_a_trace_without_message_contents_is_a_format_error() -> None:
    with pytest.raises(FormatError, match=r"trace t: want a span with gen_ai\.output\.messages, found none in 1 spans"):
        one("otlp_genai", export(span("chat", "1", None, 1, gen_ai__operation__name="chat")))


def test_openinference_follows_a_handoff_and_takes_results_from_tool_spans_by_name() -> None:
    ask = {"role": "user", "content": "Refund?"}
    first = [
        {"role": "assistant", "content": "Checking."},
        {"role": "assistant", "calls": [("c1", "lookup", '{"id": 1}')]},
    ]
    again = [*first, {"role": "tool", "tool_call_id": "c1", "content": "shipped"}]
    llm, tool, agent = ({"openinference__span__kind": kind} for kind in ("LLM", "TOOL", "AGENT"))
    spans = [
        span("root", "0", None, 1, **agent),
        span("Triage", "1", "0", 2, **agent, agent__name="Triage"),
        span(
            "llm",
            "2",
            "1",
            3,
            **llm,
            **flat("input", {"role": "system", "content": "Route."}, ask),
            **flat("output", *first),
        ),
        span("Refunds", "3", "0", 5, **agent, agent__name="Refunds"),
        span(
            "llm",
            "4",
            "3",
            6,
            **llm,
            **flat("input", {"role": "system", "content": "Refund."}, ask, *again),
            **flat("output", {"role": "assistant", "calls": [("c2", "pay", '{"id": 1}')]}),
        ),
        span("pay", "5", "3", 7, **tool, tool__name="pay", input__value='{"id": 1}', output__value="paid"),
    ]
    parsed = one("openinference", export(*spans))
    assert short(parsed) == [
        ("system", "Route."),
        ("user", "Refund?"),
        ("assistant", "Checking.", ("c1", "lookup", '{"id": 1}')),
        ("tool", "shipped", "c1"),
        ("system", "Refund."),
        ("assistant", None, ("c2", "pay", '{"id": 1}')),
        ("tool", "paid", "c2"),
    ]
    assert parsed.metadata["agents"] == ["Triage", "Refunds"]


def test_trail_rows_read_smolagents_messages_and_the_benchmark_answer() -> None:
    ask = {"role": "user", "content": "New task"}
    code = {"role": "assistant", "content": "Think.\nCode:\nf()"}
    stopped = {**code, "content": f"{code['content']}<end_code>"}
    printed = "Calling tools:\n[{'id': 'c1', 'function': {'name': 'python_interpreter', 'arguments': 'f()'}}]"
    seen = [
        stopped,
        {"role": "tool-call", "content": printed},
        {"role": "tool-response", "content": "Call id: c1\nObservation:\n7"},
        {"role": "tool-response", "content": "Error:\nlate"},
    ]
    done = {"role": "assistant", "content": "It is 7."}
    root = trail_span(
        "main",
        None,
        0,
        trail_span(
            "agent",
            "AGENT",
            1,
            trail_span("l1", "LLM", 2, **flat("input", ask), **flat("output", code)),
            trail_span("l2", "LLM", 3, **flat("input", ask, *seen), **flat("output", done)),
        ),
    )
    example = {"question": "How much?", "true_answer": "7", "task_id": "q1"}
    root["logs"] = [{"body": {"function.arguments": {"example": example}}}]
    row = {"trace": orjson.dumps({"trace_id": "t", "spans": [root]}).decode(), "labels": '{"errors": []}'}
    parsed = one("openinference", row)
    assert short(parsed) == [
        ("user", "New task"),
        ("assistant", "Think.\nCode:\nf()", ("c1", "python_interpreter", '{"code":"f()"}')),
        ("tool", "7\nError:\nlate", "c1"),
        ("assistant", "It is 7."),
    ]
    assert (parsed.prompt, parsed.ground_truth) == ("How much?", "7")
    assert parsed.metadata["labels"] == {"errors": []}


def test_a_trail_row_that_is_not_json_is_a_format_error() -> None:
    with pytest.raises(FormatError, match="trace"):
        one("openinference", {"trace": "not JSON", "labels": None})


def test_langsmith_runs_of_a_trace_are_one_conversation_with_the_tool_runs_results() -> None:
    serialised = [
        {"lc": 1, "type": "constructor", "id": ["langchain", "HumanMessage"], "kwargs": {"content": "1+1?"}},
    ]
    answer = {"type": "ai", "content": "Adding.", "tool_calls": [{"name": "add", "args": {"a": 1}, "id": "c1"}]}
    nested = run("llm", "5", "1.3.1", "4", inputs={"messages": [{"role": "user", "content": "sub"}]})
    nested["outputs"] = {"choices": [{"message": {"role": "assistant", "content": "sub answer"}}]}
    runs = [
        run("chain", "1", "1"),
        run(
            "tool",
            "4",
            "1.3",
            "1",
            name="add",
            inputs={"input": {"a": 1}},
            outputs={"output": {"type": "tool", "content": "2", "tool_call_id": "c1"}},
        ),
        nested,
        run(
            "llm", "2", "1.2", "1", inputs={"messages": [serialised]}, outputs={"generations": [[{"message": answer}]]}
        ),
    ]
    parsed = one("langsmith", *runs)
    assert short(parsed) == [
        ("user", "1+1?"),
        ("assistant", "Adding.", ("c1", "add", '{"a":1}')),
        ("tool", "2", "c1"),
    ]
    assert [note["answered"] for note in parsed.metadata["other_threads"]] == ["sub answer"]


def test_a_langsmith_batch_joins_what_was_posted_and_patched() -> None:
    posted = run("llm", "1", "1", inputs={"messages": [{"role": "user", "content": "howdy"}], "model": "gpt"})
    patch = {
        "id": "1",
        "trace_id": "t",
        "dotted_order": "1",
        "outputs": {"choices": [{"message": {"role": "assistant", "content": "Howdy!"}}]},
    }
    parsed = one("langsmith", {"post": [posted], "patch": [patch]})
    assert short(parsed) == [("user", "howdy"), ("assistant", "Howdy!")]
    assert parsed.metadata["model"] == "gpt"


def test_a_langsmith_model_run_may_speak_anthropic_or_responses() -> None:
    tools = [{"name": "add", "input_schema": {"type": "object"}}]
    claude = run(
        "llm", "1", "1", inputs={"messages": [{"role": "user", "content": "1+1?"}], "system": "Brief.", "tools": tools}
    )
    claude["outputs"] = {
        "role": "assistant",
        "content": [text("Adding."), {"type": "tool_use", "id": "c", "name": "add", "input": {}}],
    }
    assert short(one("langsmith", claude)) == [
        ("system", "Brief."),
        ("user", "1+1?"),
        ("assistant", "Adding.", ("c", "add", "{}")),
    ]
    items = [
        {"role": "user", "content": "1+1?"},
        {"type": "function_call", "call_id": "c", "name": "add", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "2"},
    ]
    reply = {"output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "2."}]}]}
    assert short(one("langsmith", run("llm", "1", "1", inputs={"input": items}, outputs=reply))) == [
        ("user", "1+1?"),
        ("assistant", None, ("c", "add", "{}")),
        ("tool", "2", "c"),
        ("assistant", "2."),
    ]


def test_a_langsmith_trace_without_messages_is_a_format_error() -> None:
    with pytest.raises(FormatError, match="trace t: want an llm run with messages, found none in 1 runs"):
        one("langsmith", run("chain", "1", "1"))


def test_a_langsmith_batch_of_two_traces_holds_two_records() -> None:
    runs = [
        {**run("llm", name, "1", inputs={"messages": [{"role": "user", "content": name}]}), "trace_id": name}
        for name in ("a", "b")
    ]
    assert [short(parsed) for _, parsed in read({"post": runs, "patch": []})] == [[("user", "a")], [("user", "b")]]
