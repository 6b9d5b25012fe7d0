"""Event streams, spans and step lists: small records by hand, with the messages they must become."""

import copy
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from pipeline.errors import FormatError
from pipeline.formats import registry
from pipeline.formats.base import Parsed
from pipeline.formats.claude_code import CLAUDE_CODE

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


# Claude Code


def event(kind: str, uuid: str, parent: str | None, content: Any, *, message_id: str | None = None, **more: Any) -> Any:
    """One line of a session."""
    held = {"role": kind, "content": content} | ({"id": message_id, "model": "m"} if message_id else {})
    line = {"type": kind, "uuid": uuid, "parentUuid": parent, "sessionId": "s", "isSidechain": False, "message": held}
    return line | more


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


def use(call_id: str, command: str) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": "Bash", "input": {"command": command}}


def result(call_id: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call_id, "content": content, **more}


def test_a_message_split_over_lines_is_one_turn_with_its_results_behind_it() -> None:
    parsed = one(
        "claude_code",
        {"type": "queue-operation", "operation": "enqueue", "sessionId": "s"},
        event("user", "u1", None, "Do A and B"),
        event("assistant", "u2", "u1", [{"type": "thinking", "thinking": "Two tasks."}], message_id="m1"),
        event("assistant", "u3", "u2", [text("Both.")], message_id="m1"),
        event("assistant", "u4", "u3", [use("a", "A")], message_id="m1"),
        event("user", "u5", "u4", [result("a", "done A")]),
        event("assistant", "u6", "u5", [use("b", "B")], message_id="m1"),
        event("user", "u7", "u6", [result("b", [text("done B")], is_error=True)]),
    )
    assert short(parsed) == [
        ("user", "Do A and B"),
        ("assistant", "Both.", ("a", "Bash", '{"command":"A"}'), ("b", "Bash", '{"command":"B"}')),
        ("tool", "done A", "a"),
        ("tool", "done B", "b"),
    ]
    assert parsed.messages[1]["reasoning"] == "Two tasks."
    assert parsed.prompt == "Do A and B"
    assert parsed.metadata["other_events"] == {"queue-operation": 1}
    assert parsed.metadata["error_call_ids"] == ["b"]


def test_results_of_parallel_calls_are_kept_although_only_one_lies_on_the_chain() -> None:
    parsed = one(
        "claude_code",
        event("user", "u1", None, "Do A and B"),
        event("assistant", "u2", "u1", [use("a", "A")], message_id="m1"),
        event("assistant", "u3", "u2", [use("b", "B")], message_id="m1"),
        event("user", "u4", "u2", [result("a", "done A")]),
        event("user", "u5", "u3", [result("b", "done B")]),
        event("assistant", "u6", "u5", [text("Done.")], message_id="m2"),
    )
    assert short(parsed)[2:] == [("tool", "done A", "a"), ("tool", "done B", "b"), ("assistant", "Done.")]


def test_of_an_edited_session_the_last_branch_is_kept_and_the_other_counted() -> None:
    parsed = one(
        "claude_code",
        event("user", "u1", None, "First"),
        event("assistant", "u2", "u1", [text("Answer")], message_id="m1"),
        event("user", "u3", "u2", "Follow-up"),
        event("assistant", "u4", "u3", [text("To the follow-up")], message_id="m2"),
        event("user", "u5", "u2", "Edited follow-up"),
    )
    assert short(parsed) == [("user", "First"), ("assistant", "Answer"), ("user", "Edited follow-up")]
    assert parsed.metadata["other_events"] == {"other_branch": 2}


def test_a_compaction_does_not_cut_the_session() -> None:
    parsed = one(
        "claude_code",
        event("user", "u1", None, "Start"),
        event("assistant", "u2", "u1", [text("Before")], message_id="m1"),
        {
            "type": "system",
            "subtype": "compact_boundary",
            "uuid": "u3",
            "parentUuid": None,
            "logicalParentUuid": "u2",
            "sessionId": "s",
        },
        event("user", "u4", "u3", "Summary of the above", isCompactSummary=True),
        event("assistant", "u5", "u4", [text("After")], message_id="m2"),
    )
    said = [("user", "Start"), ("assistant", "Before"), ("user", "Summary of the above"), ("assistant", "After")]
    assert short(parsed) == said
    assert parsed.metadata["compactions"] == [2]


def test_a_result_written_before_its_call_comes_after_it() -> None:
    parsed = one(
        "claude_code",
        event("user", "u1", None, "Space?"),
        event("assistant", "u2", "u1", [text("Looking.")], message_id="m1"),
        event("user", "u3", "u2", [result("late", "50 GB")]),
        event("assistant", "u4", "u3", [use("late", "df")], message_id="m2"),
    )
    assert short(parsed)[2:] == [
        ("assistant", None, ("late", "Bash", '{"command":"df"}')),
        ("tool", "50 GB", "late"),
    ]


def test_a_repeated_line_counts_once_and_an_api_error_is_no_turn() -> None:
    parsed = one(
        "claude_code",
        event("user", "u1", None, "Hello"),
        event("user", "u1", None, "Hello"),
        event("user", "u1", None, "Something else"),
        event("assistant", "u2", "u1", [text("API Error: overloaded")], isApiErrorMessage=True),
        event("assistant", "u3", "u2", [text("Hi."), {"type": "gadget"}], message_id="m1"),
        {"type": "widget", "sessionId": "s", "widgetId": "w"},
    )
    assert short(parsed) == [("user", "Hello"), ("assistant", "Hi.")]
    counted = {"api_error": 1, "conflicting_duplicate": 1, "duplicate": 1, "widget": 1}
    assert parsed.metadata["other_events"] == counted
    assert parsed.metadata["unknown_blocks"] == {"gadget": 1}


def test_a_sidechain_is_a_trajectory_of_its_own() -> None:
    found = read(
        event("user", "u1", None, "Ask the helper"),
        event("assistant", "u2", "u1", [use("k", "help")], message_id="m1"),
        event("user", "x1", None, "Helper's task", isSidechain=True, agentId="helper"),
        event("assistant", "x2", "x1", [text("Helped.")], message_id="m9", isSidechain=True, agentId="helper"),
        event("user", "u3", "u2", [result("k", "Helped.")], toolUseResult={"agentId": "helper"}),
    )
    (main, main_parsed), (side, side_parsed) = found
    assert (main, side) == ("claude_code", "claude_code")
    assert [item[0] for item in short(main_parsed)] == ["user", "assistant", "tool"]
    assert main_parsed.metadata["subagents"] == {"k": "helper"}
    assert short(side_parsed) == [("user", "Helper's task"), ("assistant", "Helped.")]
    assert side_parsed.metadata["agent_id"] == "helper"
    assert side_parsed.metadata["is_sidechain"] is True


def test_a_session_of_bookkeeping_alone_is_no_trace() -> None:
    parsed = one("claude_code", {"type": "queue-operation", "sessionId": "s"})
    assert not parsed.is_trace
    assert parsed.messages == []


def test_images_beside_and_inside_results_are_kept() -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
    parsed = one(
        "claude_code",
        event("user", "u1", None, [text("Look:"), picture]),
        event("assistant", "u2", "u1", [use("a", "see")], message_id="m1"),
        event("user", "u3", "u2", [result("a", [text("Seen:"), picture]), text("And now?")]),
    )
    uri = ["data:image/png;base64,iVBORw0KGgo="]
    assert [item["images"] for item in parsed.messages] == [uri, None, uri, None]
    assert short(parsed)[2:] == [("tool", "Seen:", "a"), ("user", "And now?")]


def test_an_export_of_log_lines_and_an_sdk_stream_are_sessions_too() -> None:
    lines = [
        {"type": "user", "message": {"role": "user", "content": "Hi"}},
        {"type": "assistant", "message": {"role": "assistant", "content": [text("Hello")]}},
    ]
    said = [("user", "Hi"), ("assistant", "Hello")]
    assert short(one("claude_code", {"loglines": lines})) == said
    stream = [
        {"type": "system", "subtype": "init", "session_id": "s"},
        *({**line, "session_id": "s"} for line in lines),
    ]
    assert short(one("claude_code", *stream)) == said


def test_a_message_event_without_its_message_is_a_format_error() -> None:
    with pytest.raises(FormatError, match="message: want an object, found nothing"):
        CLAUDE_CODE.parse(
            [{"type": "user", "uuid": "a", "parentUuid": "b", "sessionId": "s"}, event("user", "b", "a", "x")]
        )


# Anthropic Messages API


def test_a_logged_request_and_its_response_are_one_conversation() -> None:
    parsed = one(
        "anthropic_messages",
        {
            "request": {
                "model": "claude-x",
                "system": [{"type": "text", "text": "Be brief."}],
                "tools": [{"name": "add", "description": "Adds.", "input_schema": {"type": "object"}}],
                "messages": [
                    {"role": "user", "content": "1+1?"},
                    {
                        "role": "assistant",
                        "content": [{"type": "tool_use", "id": "t", "name": "add", "input": {"a": 1}}],
                    },
                    {"role": "user", "content": [result("t", "2")]},
                ],
            },
            "response": {"role": "assistant", "content": [text("It is 2.")], "stop_reason": "end_turn"},
        },
    )
    assert short(parsed) == [
        ("system", "Be brief."),
        ("user", "1+1?"),
        ("assistant", None, ("t", "add", '{"a":1}')),
        ("tool", "2", "t"),
        ("assistant", "It is 2."),
    ]
    function = {"name": "add", "description": "Adds.", "parameters": {"type": "object"}}
    assert parsed.tools == [{"type": "function", "function": function}]
    assert parsed.metadata["stop_reason"] == "end_turn"


def test_a_role_the_api_does_not_have_is_a_format_error() -> None:
    record = {"messages": [{"role": "robot", "content": [use("a", "x")]}]}
    with pytest.raises(FormatError, match=r"messages\[0\]\.role: want user, assistant or system, found str 'robot'"):
        one("anthropic_messages", record)


# ATIF


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


def test_atif_results_keep_their_calls_and_copied_context_is_left_out() -> None:
    parsed = one("atif", atif_record())
    assert short(parsed) == [
        ("user", "Go"),
        ("assistant", "Both.", ("c1", "a", '{"x":1}'), ("c2", "b", "{}")),
        ("tool", "B", "c2"),
        ("tool", "A", "c1"),
        ("assistant", "Wait."),
        ("user", "The build broke."),
    ]
    assert parsed.messages[1]["reasoning"] == "Hm."
    assert parsed.metadata["copied_context_steps"] == 1
    assert parsed.tools == []


def test_atif_subagents_are_records_of_their_own_that_name_their_parent() -> None:
    inner = {"trajectory_id": "t3", "agent": {"name": "deep", "version": "1"}, "steps": []}
    sub = {
        "trajectory_id": "t2",
        "agent": {"name": "helper", "version": "1"},
        "steps": [{"step_id": 1, "source": "user", "message": "Help"}],
        "subagent_trajectories": [inner],
    }
    found = read(atif_record(subagent_trajectories=[sub]))
    assert [parsed.metadata["agent"] for _, parsed in found] == ["planner", "helper", "deep"]
    assert [parsed.metadata.get("parent_trajectory_id") for _, parsed in found] == [None, "t1", "t2"]


def test_an_atif_step_of_unknown_source_is_a_format_error() -> None:
    record = atif_record(steps=[{"step_id": 1, "source": "robot", "message": "x"}])
    with pytest.raises(FormatError, match=r"steps\[0\]\.source: want system, user or agent, found str 'robot'"):
        one("atif", record)


# OpenHands


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


def test_openhands_actions_of_one_response_are_one_turn() -> None:
    tools = [{"type": "function", "function": {"name": "bash"}}]
    history = [
        {"id": 0, "source": "agent", "action": "system", "args": {"content": "You are OpenHands.", "tools": tools}},
        {"id": 1, "source": "user", "action": "message", "args": {"content": "Fix it."}},
        {"id": 2, "source": "user", "action": "recall", "args": {"query": "Fix it."}},
        openhands_call(3, "a", response="r1", calls=["a", "b"]),
        openhands_call(4, "b", response="r1", calls=["a", "b"]),
        {"id": 5, "source": "agent", "observation": "run", "content": "A", "cause": 3, "extras": {}},
        {"id": 6, "source": "agent", "observation": "run", "content": "B", "cause": 4, "extras": {}},
        {"id": 7, "source": "agent", "observation": "error", "content": "No such command.", "extras": {}},
        {"id": 8, "source": "agent", "action": "finish", "args": {"thought": "All done.", "final_thought": "Fixed."}},
    ]
    parsed = one("openhands", {"instance_id": "i", "history": history, "test_result": {"report": {"resolved": True}}})
    assert short(parsed) == [
        ("system", "You are OpenHands."),
        ("user", "Fix it."),
        ("assistant", "Thinking.", ("a", "bash", '{"c": 1}'), ("b", "bash", '{"c": 1}')),
        ("tool", "A", "a"),
        ("tool", "B", "b"),
        ("user", "No such command."),
        ("assistant", "All done."),
    ]
    assert (parsed.success, parsed.final_answer, parsed.tools) == (True, "Fixed.", tools)
    assert parsed.metadata["other_events"] == {"action recall": 1}


def test_openhands_older_pairs_are_tied_by_position_and_a_guess_is_no_outcome() -> None:
    history = [
        [{"action": "message", "content": "Add a licence."}, {"observation": "null", "content": ""}],
        [
            {"action": "run", "command": "touch LICENSE", "thought": "I create it.", "keep_prompt": True},
            {"observation": "run", "content": "ok", "command": "touch LICENSE", "exit_code": 0},
        ],
        [{"action": "finish", "thought": "Done.", "outputs": {}}, {"observation": "null", "content": ""}],
    ]
    parsed = one("openhands", {"history": history, "success": True, "result_explanation": "It looks solved."})
    assert short(parsed) == [
        ("user", "Add a licence."),
        ("assistant", "I create it.", ("call_1_0", "run", '{"command":"touch LICENSE"}')),
        ("tool", "ok", "call_1_0"),
        ("assistant", "Done."),
    ]
    assert parsed.success is None
    assert parsed.metadata["guessed_success"] is True


# SWE-agent


def test_swe_agent_history_is_completed_from_the_steps() -> None:
    record = {
        "environment": "main",
        "trajectory": [
            {"action": "ls\n", "observation": "a.py", "response": "Look.\n```\nls\n```", "thought": "Look.\n"},
            {"action": "submit", "observation": "diff", "response": "Done.\n```\nsubmit\n```", "thought": "Done.\n"},
        ],
        "history": [
            {"role": "system", "content": "You are a programmer.", "agent": "main"},
            {"role": "user", "content": "--- DEMONSTRATION ---", "agent": "main", "is_demo": True},
            {"role": "user", "content": "Fix it.", "agent": "main"},
            {
                "role": "assistant",
                "content": "Look.\n```\nls\n```",
                "thought": "Look.\n",
                "action": "ls\n",
                "agent": "main",
            },
            {"role": "user", "content": "a.py\nbash-$", "agent": "main"},
        ],
        "info": {"exit_status": "submitted", "submission": "\ndiff\n"},
    }
    parsed = one("swe_agent", record)
    assert short(parsed) == [
        ("system", "You are a programmer."),
        ("user", "Fix it."),
        ("assistant", "Look.", ("call_2_0", "bash", '{"command":"ls"}')),
        ("tool", "a.py\nbash-$", "call_2_0"),
        ("assistant", "Done.", ("call_4_0", "bash", '{"command":"submit"}')),
        ("tool", "diff", "call_4_0"),
    ]
    assert (parsed.final_answer, parsed.success) == ("diff", None)
    assert parsed.metadata["demonstrations"] == 1


def test_swe_agent_native_calls_stay_as_emitted() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "open", "arguments": '{"path": "a.py"}'}}
    record = {
        "history": [
            {"role": "user", "content": "Fix it.", "message_type": "observation", "agent": "main"},
            {
                "role": "assistant",
                "content": "I open it.",
                "thought": "I open it.",
                "action": "open a.py",
                "message_type": "action",
                "agent": "main",
                "tool_calls": [call],
            },
            {"role": "tool", "content": "1:x", "message_type": "observation", "agent": "main", "tool_call_ids": ["c1"]},
        ]
    }
    assert short(one("swe_agent", record))[1:] == [
        ("assistant", "I open it.", ("c1", "open", '{"path": "a.py"}')),
        ("tool", "1:x", "c1"),
    ]


def test_nebius_rows_run_the_last_fenced_block_and_an_observation_belongs_to_the_call_before_it() -> None:
    def turn(role: str, said: str | None, system: str | None = None) -> dict[str, Any]:
        return {"role": role, "text": said, "system_prompt": system, "mask": False, "cutoff_date": None}

    record = {
        "instance_id": "i",
        "model_name": "m",
        "target": True,
        "trajectory": [
            turn("system", None, "SETTING"),
            turn("user", "Issue"),
            turn("ai", "First:\n```\nedit 1\n```\nthen\n```bash\nls\n```"),
            turn("user", "a.py"),
            turn("ai", "I think we are done."),
            turn("user", "Please go on."),
        ],
        "exit_status": "submitted",
        "generated_patch": "diff",
    }
    parsed = one("swe_agent", record)
    assert short(parsed) == [
        ("system", "SETTING"),
        ("user", "Issue"),
        ("assistant", "First:\n```\nedit 1\n```\nthen", ("call_2_0", "bash", '{"command":"ls"}')),
        ("tool", "a.py", "call_2_0"),
        ("assistant", "I think we are done."),
        ("user", "Please go on."),
    ]
    assert (parsed.success, parsed.final_answer) == (True, "diff")


# Agent Data Protocol


def test_adp_actions_are_calls_and_the_observation_after_one_is_its_result() -> None:
    record = {
        "id": "x",
        "content": [
            {"class_": "text_observation", "content": "Rules.", "source": "user"},
            {"class_": "text_observation", "content": "Understood.", "source": "agent"},
            {"class_": "text_observation", "content": "Buy a mug.", "source": "user"},
            {"class_": "api_action", "function": "search", "kwargs": {"q": "mug"}, "description": "Search."},
            {"class_": "api_action", "function": "search", "kwargs": {"q": "mugs"}, "description": ""},
            {"class_": "web_observation", "html": None, "axtree": "Root", "url": "u", "image_observation": None},
            {"class_": "code_action", "language": "sh", "content": "ls", "description": None},
            {"class_": "text_observation", "content": "12", "source": "user"},
            {"class_": "text_observation", "content": "Go on.", "source": "user"},
            {
                "class_": "message_action",
                "content": "<finish> <solution> 12 </solution> </finish>",
                "description": "Ok.",
            },
        ],
        "details": {"resolved": "True", "run": "r"},
    }
    parsed = one("adp", record)
    assert short(parsed)[3:] == [
        ("assistant", "Search.", ("call_3_0", "search", '{"q":"mug"}')),
        ("assistant", None, ("call_4_0", "search", '{"q":"mugs"}')),
        ("tool", "Root", "call_4_0"),
        ("assistant", None, ("call_6_0", "bash", '{"code":"ls"}')),
        ("tool", "12", "call_6_0"),
        ("user", "Go on."),
        ("assistant", "Ok.\n\n<finish> <solution> 12 </solution> </finish>"),
    ]
    assert (parsed.prompt, parsed.final_answer, parsed.success) == ("Buy a mug.", "12", True)


# AgentRewardBench


def test_agent_reward_bench_answers_an_action_with_the_next_page() -> None:
    steps = [
        {"action": "click('12')  <!-- why -->", "reasoning": "Open.", "axtree": "P0", "screenshot_path": "0.png"},
        {"action": "fill('3', q)", "reasoning": None, "axtree": "P1", "last_action_error": "TimeoutError"},
        {"action": "not a call", "reasoning": "Hm.", "axtree": "P2"},
        {"action": "send_msg_to_user('done')", "reasoning": "Say.", "axtree": "P3"},
        {"action": None, "reasoning": None, "axtree": "P4"},
    ]
    record = {"benchmark": "webarena", "goal": "Find it", "steps": steps, "summary_info": {"cum_reward": 1.0}}
    parsed = one("agent_reward_bench", record)
    assert short(parsed) == [
        ("user", "Find it\n\nP0"),
        ("assistant", "Open.", ("call_1_0", "click", '{"bid":"12"}')),
        ("tool", "TimeoutError\n\nP1", "call_1_0"),
        ("assistant", None, ("call_3_0", "fill", "'3', q")),
        ("tool", "P2", "call_3_0"),
        ("assistant", "Hm.\nnot a call"),
        ("user", "P3"),
        ("assistant", "Say.", ("call_7_0", "send_msg_to_user", '{"text":"done"}')),
        ("tool", "P4", "call_7_0"),
    ]
    assert (parsed.prompt, parsed.final_answer, parsed.reward, parsed.success) == ("Find it", "done", 1.0, None)
    assert parsed.messages[0]["images"] == ["0.png"]


# OTLP, GenAI conventions


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
    return {"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}


def genai(role: str, *parts: dict[str, Any]) -> dict[str, Any]:
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


# OpenInference


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


# LangSmith


def run(kind: str, run_id: str, order: str, parent: str | None = None, **more: Any) -> dict[str, Any]:
    base = {
        "id": run_id,
        "trace_id": "t",
        "run_type": kind,
        "name": kind,
        "dotted_order": order,
        "parent_run_id": parent,
    }
    return {**base, "inputs": {}, "outputs": {}, **more}


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


# Anthropic managed agents


def managed_lines() -> list[Any]:
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


def test_a_managed_session_groups_a_model_request_into_one_turn() -> None:
    parsed = one("anthropic_managed", *managed_lines())
    assert short(parsed) == [
        ("system", "Be brief."),
        ("user", "Date?"),
        ("assistant", "Looking.", ("e1", "bash", '{"command":"date"}'), ("e2", "clock", "{}")),
        ("tool", "Monday", "e1"),
        ("tool", "Rejected", "e2"),
        ("assistant", "Monday."),
    ]
    assert parsed.metadata["error_call_ids"] == ["e2"]
    assert parsed.metadata["denied_call_ids"] == ["e2"]


# Envelopes, and what is none of these


def test_graded_samples_are_unpacked_to_the_traces_they_hold() -> None:
    step = {"action": "goto('u')", "url": "u"}
    raw = {"benchmark": "webarena", "steps": [step]}
    assert [name for name, _ in read({"sample": "s", "corpus": "c", "raw": raw, "expected_steps": []})] == [
        "agent_reward_bench"
    ]
    assert len(read({"sample": "s", "corpus": "c", "fixtures": [{"raw": raw}, {"raw": raw}]})) == 2


EVENT_FORMATS = registry.FORMATS[: registry.FORMATS.index(registry.ANTHROPIC_MESSAGES) + 1]


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        "text",
        [],
        {},
        [1, 2],
        {"hello": "world"},
        {"tools": [{"name": "a", "input_schema": {"type": "object"}}]},
        {"$defs": {"ChatMessage": {"type": "object"}}, "title": "InputMessages", "type": "array"},
        {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]},
        {"history": [{"role": "assistant", "name": "Expert", "content": "x"}], "mistake_agent": "Expert"},
        {"trajectory": [{"role": "user", "content": "hi"}]},
        {"instance_id": "i", "source": "mcp", "declared_capabilities": [{"name": "scan", "type": "execution"}]},
        {"users": {"mia": {"name": "Mia"}}},
        {"cursor_session": "cur_01", "content": "This file is of another tool."},
        {"id": "q", "content": [{"type": "text", "text": "x"}]},
        {"steps": [{"action": "x"}], "benchmark": 7},
        {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "t", "attributes": []}]}]}]},
    ],
)
def test_other_things_are_claimed_by_no_event_format(value: Any) -> None:
    groups = list(registry.group_values(enumerate([value]), EVENT_FORMATS))
    assert [group.record for group in groups] == [value]
    assert [known.name for known in EVENT_FORMATS if known.detects(value)] == []


WHOLE_FILES: dict[str, list[Any]] = {
    "claude_code": [
        event("user", "u1", None, "Do A"),
        event("assistant", "u2", "u1", [text("Yes."), use("a", "A")], message_id="m1"),
        event("user", "u3", "u2", [result("a", [text("done")])], toolUseResult={"agentId": "x"}),
    ],
    "anthropic_messages": [
        {
            "system": "S",
            "tools": [{"name": "Bash", "input_schema": {}}],
            "messages": [
                {"role": "assistant", "content": [use("a", "A")]},
                {"role": "user", "content": [result("a", "x")]},
            ],
        }
    ],
    "atif": [atif_record()],
    "openhands": [
        {
            "history": [
                {"id": 1, "source": "user", "action": "message", "args": {"content": "Fix it."}},
                openhands_call(3, "a", response="r1", calls=["a"]),
                {"id": 5, "source": "agent", "observation": "run", "content": "A", "cause": 3, "extras": {"image_urls": []}},
            ],
            "metadata": {"llm_config": {"model": "m"}},
        }
    ],
    "swe_agent": [
        {
            "trajectory": [{"action": "ls", "observation": "a", "thought": "Look."}],
            "history": [{"role": "user", "content": "Fix it.", "agent": "main"}],
            "info": {"submission": "x"},
        }
    ],
    "swe_agent nebius": [{"trajectory": [{"role": "ai", "text": "```\nls\n```"}, {"role": "user", "text": "a"}], "target": True}],
    "adp": [
        {
            "id": "x",
            "content": [
                {"class_": "api_action", "function": "f", "kwargs": {}, "description": "d"},
                {"class_": "web_observation", "axtree": "p", "image_observation": {"content": "1.png"}},
                {"class_": "message_action", "content": "<finish>1</finish>"},
            ],
            "details": {"tools": "[]", "test_result": '{"report": {"resolved": true}}'},
        }
    ],
    "agent_reward_bench": [
        {
            "benchmark": "b",
            "goal": [text("g")],
            "summary_info": {"cum_reward": 1},
            "steps": [
                {"action": "click('1')", "axtree": "p", "chat_messages": [{"role": "system", "content": "s"}]},
                {"action": None, "axtree": "q", "chat_messages": [{"role": "assistant", "content": "s"}]},
            ],
        }
    ],
    "otlp_genai": [export(*genai_trace())],
    "openinference": [
        {
            "trace_id": "t",
            "spans": [
                trail_span(
                    "l",
                    "LLM",
                    1,
                    trail_span("x", "TOOL", 2, tool__name="f", output__value="y"),
                    **flat("input", {"role": "user", "content": "q"}),
                    **flat("output", {"role": "assistant", "calls": [("c", "f", "{}")]}),
                )
            ],
        }
    ],
    "langsmith": [
        run("llm", "1", "1", inputs={"messages": [{"role": "user", "content": "q"}]}, outputs={"choices": [{"message": {"role": "assistant", "content": "a"}}]}),
        run("tool", "2", "2", "1", outputs={"output": "x"}),
    ],
    "anthropic_managed": managed_lines(),
}  # fmt: skip


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a value."""
    if at:
        yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, held in items:
        yield from paths(held, (*at, key))


@pytest.mark.parametrize("name", WHOLE_FILES)
def test_a_file_broken_at_any_one_place_gives_a_trajectory_or_a_format_error(name: str) -> None:
    whole = WHOLE_FILES[name]
    assert [known for known, _ in read(*whole)] == [name.split()[0]]
    parsed_records = refused = 0
    for path in paths(whole):
        for wrong in (None, 7, "x", [], {}, [1], {"type": []}, True):
            broken = copy.deepcopy(whole)
            holder: Any = broken
            for key in path[:-1]:
                holder = holder[key]
            holder[path[-1]] = wrong
            for group in registry.group_values(enumerate(broken), EVENT_FORMATS):
                known = next((known for known in EVENT_FORMATS if known.detects(group.record)), None)
                if known is None:
                    continue
                try:
                    parsed = known.parse(group.record)
                except FormatError:
                    refused += 1
                    continue
                parsed_records += 1
                assert_well_formed(parsed, (path, wrong))
    assert parsed_records > 0
    assert refused > 0 or name == "swe_agent nebius"


def assert_well_formed(parsed: Parsed, where: Any) -> None:
    """Every message has the types of the schema, and the metadata can be written."""
    for item in parsed.messages:
        assert item["role"] in ("system", "user", "assistant", "tool"), where
        for held in (item["content"], item["reasoning"], item["tool_call_id"], item["name"]):
            assert held is None or isinstance(held, str), where
        for call in item["tool_calls"] or ():
            assert all(held is None or isinstance(held, str) for held in call.values()), where
        assert all(isinstance(image, str) for image in item["images"] or ()), where
    for told in (parsed.prompt, parsed.final_answer, parsed.ground_truth):
        assert told is None or isinstance(told, str), where
    assert parsed.success in (None, True, False), where
    assert parsed.reward is None or isinstance(parsed.reward, float), where
    orjson.dumps(parsed.metadata)
