"""Rows by what a policy can do without tools: what makes a tool unnecessary, what waits, what passes."""

from collections.abc import Sequence
from typing import Any

import orjson
import polars as pl
import pytest

from pipeline.reasons import REASON_DTYPE
from pipeline.rollouts.config import AttemptsConfig
from pipeline.rollouts.necessity import MEASURED
from pipeline.schema import ATTEMPTS
from pipeline.stages.attempted import mark_attempted

RIGHT, WRONG, OPEN, DOWN, REFUSED = "right", "wrong", "open", "down", "refused"


def attempts(task_id: str, *outcomes: str) -> list[dict[str, Any]]:
    """The attempts at a task, in order."""
    failures = {DOWN: "server error (500); 4 tries", REFUSED: "refused (400): no cause given"}
    return [
        {
            "task_id": task_id,
            "attempt_index": index,
            "policy": "p@1",
            "answer": None if outcome in failures else f"answer {index}",
            "is_correct": {RIGHT: True, WRONG: False}.get(outcome),
            "checked_by": "rule" if outcome in (RIGHT, WRONG) else None,
            "rule": {RIGHT: "exact", WRONG: "numeric", OPEN: "undecidable"}.get(outcome),
            "failure": failures.get(outcome),
        }
        for index, outcome in enumerate(outcomes)
    ]


def marked(
    held: Sequence[dict[str, Any]], *, num_tool_calls: int | None = 1, reason: str | None = None, **config: Any
) -> dict[str, Any]:
    """The one row of task t."""
    rows = pl.LazyFrame(
        {"trajectory_id": ["a"], "task_id": ["t"], "num_tool_calls": [num_tool_calls], "reason": [reason]},
        schema={"trajectory_id": pl.String, "task_id": pl.String, "num_tool_calls": pl.UInt32, "reason": REASON_DTYPE},
    ).with_columns(evidence=pl.when(pl.col("reason").is_not_null()).then(pl.lit("{}")))
    told = mark_attempted(rows, pl.LazyFrame(held, schema=ATTEMPTS), AttemptsConfig(**config)).collect()
    return told.row(0, named=True)


def outcomes(right: int, wrong: int = 0, unsure: int = 0, refused: int = 0) -> list[str]:
    return [RIGHT] * right + [WRONG] * wrong + [OPEN] * unsure + [REFUSED] * refused


@pytest.mark.parametrize(
    ("held", "always", "mostly", "once"),
    [
        (outcomes(8), True, True, True),
        (outcomes(7, 1), False, True, True),
        (outcomes(6, 2), False, False, True),
        (outcomes(1, 7), False, False, True),
        (outcomes(0, 8), False, False, False),
        (outcomes(7, 0, 1), False, True, True),
        (outcomes(6, 0, 2), False, False, True),
        (outcomes(0, 0, 8), False, False, False),
        (outcomes(7, 0, 0, 1), False, True, True),
        (outcomes(0, 0, 0, 8), False, False, False),
    ],
)
def test_each_rule_counts_the_right_ones_of_all_attempts(
    held: list[str], always: object, mostly: object, once: object
) -> None:
    for rule, wanted in (("always", always), ("mostly", mostly), ("once", once)):
        reason = marked(attempts("t", *held), unnecessary=rule)["reason"]
        assert reason == ("tool_unnecessary" if wanted else None), rule


@pytest.mark.parametrize(("k", "needed"), [(1, 1), (4, 4), (7, 7), (8, 7), (9, 8), (16, 14), (64, 56)])
def test_mostly_is_seven_in_eight_rounded_up(k: int, needed: int) -> None:
    for right in (needed, needed - 1):
        reason = marked(attempts("t", *outcomes(right, k - right)), num_attempts=k)["reason"]
        assert reason == ("tool_unnecessary" if right == needed else None)


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        ([RIGHT] * 7 + [DOWN], "attempt_failed"),
        ([DOWN] * 8, "attempt_failed"),
        ([RIGHT] * 7, "attempt_failed"),
        ([WRONG] * 7 + [REFUSED], None),
        ([REFUSED] * 7 + [DOWN], "attempt_failed"),
    ],
)
def test_a_row_waits_while_an_attempt_is_missing(held: list[str], reason: str | None) -> None:
    assert marked(attempts("t", *held))["reason"] == reason


@pytest.mark.parametrize("held", [[RIGHT] * 8, [DOWN] * 8])
@pytest.mark.parametrize("num_tool_calls", [0, None])
def test_a_row_that_calls_nothing_is_never_marked(held: list[str], num_tool_calls: int | None) -> None:
    row = marked(attempts("t", *held), num_tool_calls=num_tool_calls)
    assert row["reason"] is None
    assert row["necessity"] == (0.0 if held[0] == RIGHT else None)


def test_an_earlier_reason_stays_and_the_row_is_measured_all_the_same() -> None:
    row = marked(attempts("t", *outcomes(8)), reason="overlong")
    assert (row["reason"], row["evidence"], row["num_direct"]) == ("overlong", "{}", 8)


@pytest.mark.parametrize("held", [[], attempts("other", *outcomes(8)), attempts("t", *outcomes(0, 0, 4, 4))])
def test_what_was_not_attempted_or_not_graded_passes_with_nulls(held: list[dict[str, Any]]) -> None:
    row = marked(held)
    assert row["reason"] is None
    assert [row[name] for name in MEASURED] == [None] * len(MEASURED)


def test_an_attempt_nobody_graded_is_left_out_of_necessity() -> None:
    row = marked(attempts("t", *outcomes(3, 1, 4)))
    assert (row["num_direct"], row["num_direct_correct"], row["necessity"]) == (4, 3, 0.25)
    assert row["direct_pass_at_k"] is None


def test_attempts_beyond_the_configured_number_do_not_count() -> None:
    row = marked(attempts("t", *outcomes(8, 56)))
    assert (row["reason"], row["num_direct"]) == ("tool_unnecessary", 8)


def test_the_evidence_says_counts_rule_policy_and_one_right_answer() -> None:
    told = orjson.loads(marked(attempts("t", WRONG, *outcomes(7)))["evidence"])
    assert told == {
        "task_id": "t",
        "policy": "p@1",
        "num_attempts": 8,
        "num_direct": 8,
        "num_direct_correct": 7,
        "direct_pass_at_k": 1.0,
        "necessity": 0.125,
        "necessity_low": pytest.approx(0.0224, abs=1e-4),
        "necessity_high": pytest.approx(0.4709, abs=1e-4),
        "unnecessary": "mostly",
        "right_needed": 7,
        "attempt_index": 1,
        "answer": "answer 1",
        "checked_by": "rule",
        "rule": "exact",
    }


def test_the_evidence_of_a_waiting_row_says_how_many_are_missing_and_why() -> None:
    told = orjson.loads(marked(attempts("t", RIGHT, DOWN, *outcomes(6)))["evidence"])
    assert told == {
        "task_id": "t",
        "policy": "p@1",
        "num_attempts": 8,
        "num_missing": 1,
        "failure": "server error (500); 4 tries",
    }
