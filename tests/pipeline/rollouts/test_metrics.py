"""The metrics of a policy, worked by hand, and how often their intervals hold the truth."""

import math
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipeline.rollouts.metrics import (
    METRICS,
    Metrics,
    Prices,
    classify_tasks,
    more_often_by_chance,
    ratio_interval,
    share_interval,
)
from pipeline.rollouts.necessity import wilson_interval
from pipeline.schema import ATTEMPTS, ROLLOUTS

TASKS = pl.DataFrame(
    [("free", "fact", True), ("hard", "lookup", False), ("either", "sum", None)],
    schema=["task_id", "kind", "is_tool_free"],
    orient="row",
)


def rollout(
    task_id: str, *, calls: int = 0, right: bool | None = True, end: str = "answered", **more: Any
) -> dict[str, Any]:
    """One rollout: ten tokens and two seconds."""
    return {
        "task_id": task_id,
        "num_tool_calls": calls,
        "is_correct": right,
        "end": end,
        "num_new_tokens": 10,
        "wall_s": 2.0,
        "messages": [
            {"role": "assistant", "tool_calls": [{"id": None, "name": "search", "arguments": "{}"}] * calls},
        ],
        **more,
    }


def frame(*rollouts: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(rollouts, schema=ROLLOUTS)


def figures(
    rollouts: pl.DataFrame, tasks: pl.DataFrame = TASKS, prices: Prices | None = None
) -> dict[tuple[str, str], Any]:
    """Value, rollouts and tasks by metric and kind."""
    told = Metrics.of(rollouts, tasks, prices)
    assert told.schema == METRICS
    return {
        (row["metric"], row["kind"]): (row["value"], row["num_rollouts"], row["num_tasks"]) for row in told.to_dicts()
    }


def test_every_metric_is_what_its_definition_says() -> None:
    held = frame(
        rollout("free", calls=1),
        rollout("free", calls=0),
        rollout("free", calls=3, right=False),
        rollout("hard", calls=2),
        rollout("hard", calls=0, right=False),
        rollout("either", calls=1),
        rollout("unheard of", calls=0),
    )
    told = figures(held)
    assert told["accuracy", "all"] == (5 / 7, 7, 4)
    assert told["tool_call_rate", "all"] == (4 / 7, 7, 4)
    assert told["redundant_call_rate", "all"] == (2 / 3, 3, 1)
    assert told["necessary_call_recall", "all"] == (1 / 2, 2, 1)
    assert told["tool_free_accuracy", "all"] == (2 / 3, 3, 1)
    assert told["tool_needing_accuracy", "all"] == (1 / 2, 2, 1)
    assert told["graded_rate", "all"] == (1.0, 7, 4)
    assert told["tool_calls_per_correct", "all"] == (7 / 5, 7, 4)
    assert told["new_tokens_per_correct", "all"] == (70 / 5, 7, 4)
    assert told["wall_s_per_correct", "all"] == (14 / 5, 7, 4)
    assert told["money_per_correct", "all"] == (None, 0, 0)
    assert told["accuracy", "fact"] == (2 / 3, 3, 1)
    assert told["necessary_call_recall", "lookup"] == (1 / 2, 2, 1)
    assert told["redundant_call_rate", "lookup"] == (None, 0, 0)
    assert {kind for _, kind in told} == {"all", "fact", "lookup", "sum"}


@pytest.mark.parametrize(
    ("end", "right", "accuracy", "called"),
    [
        ("answered", None, (None, 0, 0), (1.0, 1, 1)),
        ("turns", None, (0.0, 1, 1), (1.0, 1, 1)),
        ("tokens", None, (0.0, 1, 1), (1.0, 1, 1)),
        ("time", None, (0.0, 1, 1), (1.0, 1, 1)),
        ("tokens", True, (1.0, 1, 1), (1.0, 1, 1)),
        ("tool", None, (None, 0, 0), (1.0, 1, 1)),
        ("policy", None, (None, 0, 0), (None, 0, 0)),
        ("policy", True, (None, 0, 0), (None, 0, 0)),
    ],
)
def test_how_a_rollout_ended_says_what_it_counts_for(end: str, right: bool | None, accuracy: Any, called: Any) -> None:  # noqa: FBT001  parametrized
    told = figures(frame(rollout("free", calls=1, right=right, end=end)))
    assert told["accuracy", "all"] == accuracy
    assert told["tool_call_rate", "all"] == told["redundant_call_rate", "all"] == called


def test_money_is_counted_by_the_price_of_each_tool() -> None:
    called = [
        {"role": "assistant", "tool_calls": [{"id": None, "name": name, "arguments": None}]}
        for name in ("search", "sum")
    ]
    held = frame(rollout("free", calls=2, messages=called), rollout("hard", right=False))
    by_name = Prices(tools={"search": 5.0}, tool_call=1.0, new_token=0.1, wall_s=0.25)
    assert figures(held, prices=by_name)["money_per_correct", "all"] == (
        pytest.approx(5 + 1 + 20 * 0.1 + 4 * 0.25),
        2,
        2,
    )
    at_once = Prices(tool_call=1.0)
    assert figures(held, prices=at_once)["money_per_correct", "all"] == (pytest.approx(2.0), 2, 2)


def test_nothing_right_has_no_cost_per_right_answer() -> None:
    assert figures(frame(rollout("free", right=False)))["wall_s_per_correct", "all"] == (None, 1, 1)
    assert figures(frame())["accuracy", "all"] == (None, 0, 0)


def test_a_kind_may_not_be_called_as_the_whole() -> None:
    with pytest.raises(ValueError, match="another name"):
        Metrics.of(frame(), TASKS.with_columns(kind=pl.lit("all")))


def test_a_task_told_twice_raises() -> None:
    with pytest.raises(pl.exceptions.ComputeError):
        Metrics.of(frame(rollout("free")), pl.concat([TASKS, TASKS]))


def test_one_rollout_a_task_has_wilsons_interval() -> None:
    right = np.array([1.0] * 7 + [0.0] * 3)
    assert share_interval(right, np.ones(10)) == (0.7, *wilson_interval(7, 10))


def test_rollouts_that_always_agree_within_a_task_say_no_more_than_one_of_each() -> None:
    right = np.array([1.0] * 30 + [0.0] * 20)
    _, low, high = share_interval(16 * right, np.full(50, 16.0))
    _, low_of_one, high_of_one = share_interval(right, np.ones(50))
    assert (low, high) == pytest.approx((low_of_one, high_of_one), abs=0.01)
    assert share_interval(np.full(50, 16.0), np.full(50, 16.0)) == (1.0, *wilson_interval(50, 50))
    assert share_interval(np.array([3.0]), np.array([4.0])) == (0.75, 0.0, 1.0)


@pytest.mark.parametrize(("mean", "alike"), [(0.02, 0.05), (0.3, 0.0), (0.5, 0.9), (0.8, 0.3), (0.97, 0.2)])
@pytest.mark.parametrize("num_tasks", [20, 150])
def test_the_interval_of_a_share_holds_the_truth_as_often_as_it_says(mean: float, alike: float, num_tasks: int) -> None:
    random = np.random.default_rng(7)
    runs = 600
    odds = (1 - alike) / alike if alike else 1e9
    count = np.tile([4.0, 8.0, 8.0, 16.0, 12.0], num_tasks // 5)
    chances = random.beta(mean * odds, (1 - mean) * odds, (runs, num_tasks))
    right = random.binomial(count.astype(int), chances).astype(float)
    held = 0
    for each in right:
        _, low, high = share_interval(each, count)
        held += low is not None and high is not None and low <= mean <= high
    # 0.95 less three standard errors of 600 runs, and one point for 20 tasks of which few are unlike the rest
    assert held / runs >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / runs) - (0.01 if num_tasks == 20 else 0)


@pytest.mark.parametrize("num_tasks", [20, 150])
def test_the_interval_of_a_cost_holds_the_truth_as_often_as_it_says(num_tasks: int) -> None:
    random = np.random.default_rng(11)
    runs = 600
    held = 0
    for _ in range(runs):
        chance = random.beta(4, 2, num_tasks)
        spent = random.poisson(8 * (3 - 2 * chance)).astype(float)
        _, low, high = ratio_interval(spent, random.binomial(8, chance).astype(float))
        held += (
            low is not None and low <= (3 - 2 * 4 / 6) / (4 / 6) and (high is None or high >= (3 - 2 * 4 / 6) / (4 / 6))
        )
    assert held / runs >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / runs) - (0.01 if num_tasks == 20 else 0)


def test_a_cost_without_bound_has_none() -> None:
    value, low, high = ratio_interval(np.array([3.0, 4.0, 5.0, 4.0]), np.array([0.0, 0.0, 0.0, 1.0]))
    assert (value, low, high) == (16.0, 0.0, None)
    assert ratio_interval(np.array([3.0]), np.array([2.0])) == (1.5, 0.0, None)
    value, low, high = ratio_interval(np.array([3.0, 4.0, 5.0]), np.array([1.0, 1.0, 1.0]))
    assert low is not None
    assert high is not None
    assert (value, low + high) == (4.0, pytest.approx(8.0))


def attempts(right: int, wrong: int, unsure: int = 0, failed: int = 0) -> pl.DataFrame:
    outcomes = [True] * right + [False] * wrong + [None] * (unsure + failed)
    failures = [None] * (right + wrong + unsure) + ["refused (400)"] * failed
    rows = [
        {"task_id": "t", "attempt_index": k, "is_correct": outcome, "failure": failure}
        for k, (outcome, failure) in enumerate(zip(outcomes, failures, strict=True))
    ]
    return pl.DataFrame(rows, schema=ATTEMPTS)


@pytest.mark.parametrize(
    ("unaided", "aided", "is_tool_free"),
    [
        (attempts(8, 0), (0, 0), True),
        (attempts(7, 1), (8, 0), True),
        (attempts(6, 2), (8, 0), None),
        (attempts(7, 0, 1), (0, 0), True),
        (attempts(7, 0, 0, 1), (0, 0), None),
        (attempts(56, 8), (0, 0), True),
        (attempts(55, 9), (0, 0), None),
        (attempts(0, 8), (8, 0), False),
        (attempts(1, 7), (8, 0), False),
        (attempts(1, 7), (6, 2), False),
        (attempts(1, 7), (5, 3), None),
        (attempts(0, 8), (3, 5), None),
        (attempts(0, 8), (4, 4), False),
        (attempts(0, 8), (0, 0), None),
        (attempts(0, 8), (0, 8), None),
        (attempts(2, 6), (16, 0), None),
        (attempts(0, 6, 2), (8, 0), None),
        (attempts(0, 7), (8, 0), None),
    ],
)
def test_a_task_is_tool_free_or_tool_needing_or_neither(
    unaided: pl.DataFrame, aided: tuple[int, int], is_tool_free: object
) -> None:
    right, wrong = aided
    held = frame(*[rollout("t", calls=1)] * right, *[rollout("t", calls=1, right=False)] * wrong, rollout("u"))
    told = classify_tasks(unaided, held)
    assert told["task_id"].to_list() == ["t"]
    assert told["is_tool_free"].to_list() == [is_tool_free]
    assert told.select("num_aided", "num_aided_correct").row(0) == (right + wrong, right)


@pytest.mark.parametrize(
    ("num_direct", "right", "num_aided", "aided_right"), [(4, 1, 5, 4), (3, 0, 4, 0), (3, 3, 3, 3), (4, 0, 4, 4)]
)
def test_clearly_more_often_is_what_enumeration_says(
    num_direct: int, right: int, num_aided: int, aided_right: int
) -> None:
    draws = list(combinations(range(num_direct + num_aided), right + aided_right))
    as_many = sum(sum(place >= num_direct for place in draw) >= aided_right for draw in draws)
    assert more_often_by_chance(num_direct, right, num_aided, aided_right) == pytest.approx(as_many / len(draws))
