"""When a true observation may take the place of a wrong one."""

import polars as pl
import pytest

from pipeline.replay.repair import repaired, repairs
from pipeline.schema import REPLAYS
from tests.factories import assistant, make_frame, make_trajectory, tool, user


def chat(observation: str, later: str, code: str = "print(6 * 7)") -> list:
    return [
        user("What is 6 times 7?"),
        assistant(None, ("python", {"code": code})),
        tool(observation),
        assistant(later),
    ]


@pytest.mark.parametrize(
    ("recorded", "true", "later", "survives"),
    [
        ("41", "42", "The answer is 42.", True),
        ("41", "42", "The answer is 41.", False),
        ("41 crowns", "42", "I cannot say.", True),
        ("Error: overflow", "42", "It failed with an overflow; by hand it is 42.", False),
        ("7", "42", "6 times 7 is 42.", True),  # 7 stands in the question
        ("3.14", "3.15", "About 3.14.", False),
        ("", "42", "42", True),
    ],
)
def test_it_survives_where_nothing_later_rests_on_the_wrong_one(
    recorded: str, true: str, later: str, *, survives: bool
) -> None:
    mended = repaired(chat(recorded, later), {2: true}, None)
    assert (mended is not None) == survives
    if mended is not None:
        assert [message["content"] for message in mended] == ["What is 6 times 7?", None, true, later]


def test_the_final_answer_and_later_arguments_count_as_later() -> None:
    assert repaired(chat("41", "done"), {2: "42"}, "41") is None
    messages = [*chat("41", "on"), assistant(None, ("python", {"code": "print(41 + 1)"})), tool("42"), assistant("42")]
    assert repaired(messages, {2: "42"}, "42") is None


def calls(*verdicts: str) -> pl.DataFrame:
    rows = [
        {"trajectory_id": "t0", "step_index": k, "observation_index": 2, "origin": "environment", "verdict": verdict}
        for k, verdict in enumerate(verdicts)
    ]
    return pl.DataFrame(rows, schema=REPLAYS).with_columns(observed=pl.lit("42"))


@pytest.mark.parametrize(
    ("verdicts", "mended"),
    [
        (["mismatch"], True),
        (["mismatch", "match"], True),
        (["match"], False),
        (["mismatch", "unexecutable"], False),
        (["mismatch", "nondeterministic"], False),
        (["mismatch", "unverified"], False),
        (["mismatch", "failed"], False),
    ],
)
def test_only_a_trajectory_free_of_other_doubt_is_mended(verdicts: list[str], *, mended: bool) -> None:
    frame = make_frame(make_trajectory(chat("41", "It is 42."), final_answer="42")).collect()
    found = repairs(frame, calls(*verdicts))
    assert found.height == int(mended)
    if mended:
        row = found.row(0, named=True)
        assert row["messages"][2]["content"] == "42"
        assert row["repaired"] == [2]
