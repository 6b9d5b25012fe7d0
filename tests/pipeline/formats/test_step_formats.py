"""ATIF, OpenHands, SWE-agent, ADP and AgentRewardBench: the messages small records must become."""

from typing import Any

import pytest

from pipeline.errors import FormatError
from tests.pipeline.formats.event_records import atif_record, one, openhands_call, read, short


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


def test_graded_samples_are_unpacked_to_the_traces_they_hold() -> None:
    step = {"action": "goto('u')", "url": "u"}
    raw = {"benchmark": "webarena", "steps": [step]}
    assert [name for name, _ in read({"sample": "s", "corpus": "c", "raw": raw, "expected_steps": []})] == [
        "agent_reward_bench"
    ]
    assert len(read({"sample": "s", "corpus": "c", "fixtures": [{"raw": raw}, {"raw": raw}]})) == 2
