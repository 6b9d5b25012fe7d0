"""Claude Code, Anthropic logs and managed sessions: the messages small records must become."""

import pytest

from pipeline.errors import FormatError
from pipeline.formats.claude_code import CLAUDE_CODE
from tests.pipeline.formats.event_records import event, managed_lines, one, read, result, short, text, use


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
