"""The gate on trajectories that stop in the middle, sign by sign."""

from typing import Any

import orjson
import pytest

from pipeline.formats.base import message
from pipeline.schema import Message
from pipeline.stages.truncated import mark_truncated
from tests.factories import assistant, make_frame, make_trajectory, tool, user

ASKED = user("How far is the moon?")
ANSWERED = [ASKED, assistant("It is 384400 km away.")]


def sign_of(messages: list[Message], **columns: Any) -> str | None:
    marked = mark_truncated(make_frame(make_trajectory(messages, **columns))).collect().row(0, named=True)
    assert marked["reason"] in (None, "truncated")
    if marked["reason"] is None:
        return None
    told = orjson.loads(marked["evidence"])
    assert told["message_index"] == len(messages) - 1
    return told["sign"]


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (None, None),
        ("{}", None),
        ("not json", None),
        ('{"finish_reason":"stop"}', None),
        ('{"finish_reason":"length"}', "stop_reason"),
        ('{"stop_reason":"max_tokens"}', "stop_reason"),
        ('{"finish_reason":["length","stop"]}', None),
        ('{"finish_reason":["stop","length"]}', "stop_reason"),
        ('{"info":{"exit_status":"submitted"}}', None),
        ('{"info":{"exit_status":"submitted (exit_cost)"}}', "stop_reason"),
        ('{"exit_status":"LimitsExceeded"}', "stop_reason"),
        ('{"note":"finish_reason length"}', None),
        ('["finish_reason","length"]', None),
    ],
)
def test_the_sources_own_word_for_a_limit_counts(metadata: str | None, expected: str | None) -> None:
    assert sign_of(ANSWERED, metadata=metadata) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("It is 384400 kilom", None),
        ("```python\nprint(1)\n```", None),
        ("```python\nprint(1)\n```\nand\n```python\nprint(2)", "open_fence"),
        ("Write ``` to open a fence.", None),
        ("<think>Far.</think> <answer>384400</answer>", None),
        ("<think>Far, so", "open_tag"),
        ("<answer>384", "open_tag"),
        ("I look. <|begin_of_query|> moon dist", "open_tag"),
        ("<|begin_of_query|> moon <|end_of_query|>", None),
        ("<|begin_of_query|> moon <|end_of_query|> <|begin_of_documents|> the mo", "open_tag"),
        ("<|begin_of_query|> moon <|end_of_query|> <|begin_of_documents|> x <|end_of_documents|> Far.", None),
        ("<thought>Far. <solution>384400</solution>", None),
        ("Code:\n<execute>\nprint(1)", "open_tag"),
        ("I have no code for the <execute> environment.", None),
        ("if a <b then c", None),
    ],
)
def test_an_open_fence_or_tag_in_the_last_reply_counts(content: str, expected: str | None) -> None:
    assert sign_of([ASKED, assistant(content)]) == expected
    assert sign_of([ASKED, assistant(content)], success=True) is None


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('{"query": "moon"}', None),
        ('{"query": "mo', "cut_arguments"),
        ('{"query": "moon"', "cut_arguments"),
        ('{"query": moon}', None),
        ("search the moon", None),
        (None, None),
    ],
)
def test_arguments_cut_in_the_middle_count(arguments: str | None, expected: str | None) -> None:
    call = message("assistant", None, tool_calls=[{"id": "c0", "name": "search", "arguments": arguments}])
    assert sign_of([ASKED, call]) == expected


@pytest.mark.parametrize(
    ("name", "arguments", "success", "expected"),
    [
        ("search", "{}", None, "after_observation"),
        ("search", "{}", False, "after_observation"),
        ("search", "{}", True, None),
        ("submit", "{}", None, None),
        ("Finish", '{"answer":"4"}', None, None),
        ("finished_goods_report", "{}", None, "after_observation"),
        ("transfer_to_human_agents", "{}", None, None),
        ("bash", '{"command":"submit"}', None, None),
        ("bash", '{"command":"echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"}', None, None),
        ("bash", '{"command":"ls submit"}', None, "after_observation"),
    ],
)
def test_an_observation_at_the_end_counts_unless_its_call_was_terminal(
    name: str, arguments: str, success: Any, expected: str | None
) -> None:
    call = message("assistant", None, tool_calls=[{"id": "c0", "name": name, "arguments": arguments}])
    assert sign_of([ASKED, call, tool("done")], success=success) == expected


@pytest.mark.parametrize(
    ("success", "reward", "expected"),
    [
        (None, 1.0, None),
        (None, 0.99, "after_observation"),
        (None, None, "after_observation"),
        (False, 1.0, "after_observation"),
        (True, 0.0, None),
    ],
)
def test_a_full_reward_stands_for_a_success_nobody_recorded(success: Any, reward: Any, expected: str | None) -> None:
    messages = [ASKED, assistant(None, ("search", {})), tool("done")]
    assert sign_of(messages, success=success, reward=reward) == expected


def test_an_orphan_at_the_end_is_left_to_its_own_gate() -> None:
    assert sign_of([*ANSWERED, tool("done", "c9")]) is None


@pytest.mark.parametrize(
    ("last", "reward", "expected"),
    [
        ("And how far is the sun?", None, "after_user"),
        ("And how far is the sun?", 0.0, None),
        ("Your answer is wrong.", 1.0, None),
        ("Thank you so much, bye!", None, None),
        ("Great! ###STOP###", None, None),
        ("Thanks, and how far is the sun?", None, "after_user"),
        ("No, that's all. Have a great day!", None, None),
        ("Thanks?", None, "after_user"),
        ("Yes, please book it.", None, "after_user"),
        ("Great, now cancel the other one.", None, "after_user"),
        (None, None, "after_user"),
    ],
)
def test_a_user_message_at_the_end_counts_where_it_waits_for_a_reply(
    last: str | None, reward: float | None, expected: str | None
) -> None:
    assert sign_of([*ANSWERED, message("user", last)], reward=reward) == expected


def test_null_messages_pass() -> None:
    frame = make_frame(make_trajectory() | {"messages": None, "metadata": None})
    assert mark_truncated(frame).collect()["reason"].to_list() == [None]
