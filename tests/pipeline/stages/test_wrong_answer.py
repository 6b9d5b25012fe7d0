"""The gate on the final answer: every edge of who decides, and what the gate leaves alone."""

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.config import AnswerGate, Unknown
from pipeline.reasons import Reason
from pipeline.stages.wrong_answer import mark_wrong_answer
from tests.factories import make_frame, make_trajectory, reasons_of

WRONG = Reason.WRONG_ANSWER.value
UNKNOWN = Reason.UNKNOWN_OUTCOME.value
REVIEW = AnswerGate(unknown=Unknown.REVIEW)
CHECKER_FIRST = AnswerGate(prefer_recorded_outcome=False)


def verdicts(gate: AnswerGate, *columns: dict[str, Any]) -> list[str | None]:
    """The reason the gate gives a clean trajectory with each of these columns."""
    return reasons_of(mark_wrong_answer(make_frame(*(make_trajectory(**held) for held in columns)), gate))


@pytest.mark.parametrize(
    ("columns", "by_default", "checker_first"),
    [
        # the recorded outcome alone
        ({"success": True}, None, None),
        ({"success": False}, WRONG, WRONG),
        ({"reward": 1.0}, None, None),
        ({"reward": 1.5}, None, None),
        ({"reward": 0.0}, WRONG, WRONG),
        ({"reward": -1.0}, WRONG, WRONG),
        ({"reward": 0.999}, UNKNOWN, UNKNOWN),
        ({"reward": 0.001}, UNKNOWN, UNKNOWN),
        ({"reward": float("nan")}, UNKNOWN, UNKNOWN),
        ({"success": True, "reward": 0.0}, None, None),
        ({"success": False, "reward": 1.0}, WRONG, WRONG),
        # the checker alone
        ({"final_answer": "12.0", "ground_truth": "12"}, None, None),
        ({"final_answer": "13", "ground_truth": "12"}, WRONG, WRONG),
        ({"final_answer": "13", "ground_truth": "12", "reward": 0.5}, WRONG, WRONG),
        ({"final_answer": "12", "ground_truth": "12", "reward": 0.5}, None, None),
        # both
        ({"final_answer": "13", "ground_truth": "12", "success": True}, None, WRONG),
        ({"final_answer": "12", "ground_truth": "12", "success": False}, WRONG, None),
        ({"final_answer": "13", "ground_truth": "12", "success": False}, WRONG, WRONG),
        # neither
        ({}, UNKNOWN, UNKNOWN),
        ({"final_answer": "12"}, UNKNOWN, UNKNOWN),
        ({"ground_truth": "12"}, UNKNOWN, UNKNOWN),
        ({"final_answer": "", "ground_truth": "12"}, UNKNOWN, UNKNOWN),
        ({"final_answer": "Paris", "ground_truth": "Paris, Texas"}, UNKNOWN, UNKNOWN),
        ({"final_answer": "def f(): ...", "ground_truth": "assert f() == 1"}, UNKNOWN, UNKNOWN),
        # an undecidable check leaves it to the record
        ({"final_answer": "Paris", "ground_truth": "Paris, Texas", "success": False}, WRONG, WRONG),
    ],
)
def test_who_decides(columns: dict[str, Any], by_default: str | None, checker_first: str | None) -> None:
    assert verdicts(REVIEW, columns) == [by_default]
    assert verdicts(CHECKER_FIRST.model_copy(update={"unknown": Unknown.REVIEW}), columns) == [checker_first]


def test_an_unknown_outcome_passes_by_default() -> None:
    assert verdicts(AnswerGate(), {}, {"reward": 0.5}, {"ground_truth": "12"}) == [None, None, None]


def test_the_success_reward_comes_from_the_gate() -> None:
    assert verdicts(AnswerGate(success_reward=0.5), {"reward": 0.5}, {"reward": 0.0}) == [None, WRONG]


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (
            {"final_answer": "13", "ground_truth": "12"},
            {"rule": "numeric", "answer": "13", "ground_truth": "12", "recorded": None, "disagree": None},
        ),
        (
            {"final_answer": "12", "ground_truth": "12", "success": False},
            {"rule": "recorded_outcome", "answer": "12", "ground_truth": "12", "recorded": False, "disagree": True},
        ),
        (
            {"final_answer": "13", "ground_truth": "12", "reward": 0.0},
            {"rule": "recorded_outcome", "answer": "13", "ground_truth": "12", "recorded": False, "disagree": False},
        ),
        (
            {"final_answer": "x" * 300, "ground_truth": "London " * 60},
            {"rule": "undecidable", "answer": "x" * 200, "ground_truth": ("London " * 60)[:200], "recorded": None,
             "disagree": None},
        ),
        ({"success": True, "final_answer": "13", "ground_truth": "12"}, None),
    ],
)  # fmt: skip
def test_the_evidence_says_who_decided_and_on_what(columns: dict[str, Any], told: dict[str, Any] | None) -> None:
    marked = mark_wrong_answer(make_frame(make_trajectory(**columns)), REVIEW).collect()
    evidence = marked["evidence"][0]
    assert (json.loads(evidence) if evidence is not None else None) == told


def test_the_checker_overruling_the_record_is_told() -> None:
    row = make_trajectory(final_answer="13", ground_truth="12", success=True)
    evidence = json.loads(mark_wrong_answer(make_frame(row), CHECKER_FIRST).collect()["evidence"][0])
    assert (evidence["rule"], evidence["recorded"], evidence["disagree"]) == ("numeric", True, True)


TEXTS = st.none() | st.sampled_from(["12", "12.0", "13", "Paris", "Paris, Texas", "(B)", "b", "", "x^2", "yes"])
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "final_answer": TEXTS,
            "ground_truth": TEXTS,
            "success": st.none() | st.booleans(),
            "reward": st.none() | st.sampled_from([-1.0, 0.0, 0.3, 1.0, 2.0]),
            "reason": st.none() | st.sampled_from([Reason.EMPTY.value, Reason.OVERLONG.value]),
        }
    ),
    max_size=8,
)


@settings(max_examples=80, deadline=None)
@given(ROWS, st.booleans(), st.sampled_from(Unknown))
def test_only_reason_and_evidence_change_and_only_where_no_gate_has_spoken(
    rows: list[dict[str, Any]],
    prefer: bool,  # noqa: FBT001 - drawn by hypothesis
    unknown: Unknown,
) -> None:
    gate = AnswerGate(prefer_recorded_outcome=prefer, unknown=unknown)
    before = make_frame(*(make_trajectory(**row) for row in rows))
    once = mark_wrong_answer(before, gate)
    untouched = pl.exclude("reason", "evidence")
    assert_frame_equal(once.select(untouched), before.select(untouched))
    assert once.collect_schema() == before.collect_schema()
    spoken = pl.col("reason").is_not_null()
    earlier = before.with_row_index().filter(spoken).collect()
    assert_frame_equal(once.with_row_index().collect()[earlier["index"].to_list()], earlier)
    assert_frame_equal(mark_wrong_answer(once, gate), once)


def test_the_streaming_engine_says_the_same() -> None:
    rows = [make_trajectory(final_answer=str(k % 7), ground_truth=str(k % 5)) for k in range(300)]
    lf = mark_wrong_answer(make_frame(*rows), AnswerGate())
    streamed = lf.select("trajectory_id", "reason", "evidence").collect(engine="streaming")
    assert_frame_equal(streamed, lf.select("trajectory_id", "reason", "evidence").collect())
    assert streamed["reason"].null_count() == sum(k % 7 == k % 5 for k in range(300))
