"""How judge_mint reads MINT and counts precision, and that the committed result is whole."""

from pathlib import Path

import numpy as np
import orjson
import pytest

from benchmarks.judge_mint import ASKED
from benchmarks.judge_tables import tables
from benchmarks.mint_answers import first_answer
from benchmarks.precision import clopper_pearson_interval, kept_precision, saved_calls

RESULT = Path(__file__).parents[1] / "benchmarks" / "judge_mint.json"
YES, NO = True, False


def chat(*contents: str) -> list[dict[str, str]]:
    """User and assistant by turns."""
    return [{"role": ("user", "assistant")[k % 2], "content": text} for k, text in enumerate(contents)]


def test_an_attempt_ends_at_its_first_rejected_answer() -> None:
    history = chat(
        "Task", "<execute>1</execute>", "Observation:\n1", "<solution>1</solution>", "Your answer is wrong.", "2"
    )
    assert first_answer(history) == (history[:4], True)


def test_an_attempt_that_was_never_rejected_stays_whole() -> None:
    history = chat("Task: say 'Your answer is wrong'", "<solution>1</solution>")
    assert first_answer(history) == (history, False)
    assert first_answer([]) == ([], False)


@pytest.mark.parametrize(
    ("right", "count", "interval"),
    # from the closed forms: 0 of n is at most 1 - 0.025^(1/n), n of n at least 0.025^(1/n)
    [(0, 10, [0.0, 0.3085]), (10, 10, [0.6915, 1.0]), (59, 59, [0.9394, 1.0]), (5, 10, [0.1871, 0.8129])],
)
def test_the_interval_of_a_share_is_the_exact_one(right: int, count: int, interval: list[float]) -> None:
    assert clopper_pearson_interval(right, count) == interval


def test_precision_is_counted_over_rows_and_over_one_row_a_task() -> None:
    kept = np.array([YES, YES, YES, YES, NO, NO])
    correct = np.array([YES, YES, YES, NO, YES, NO])
    found = kept_precision(kept, correct, np.array(list("aaabcd")))
    assert found["coverage"] == 0.6667
    assert found["recall"] == 0.75
    assert (found["all_rows"]["kept"], found["all_rows"]["rows"], found["all_rows"]["precision"]) == (4, 6, 0.75)
    one = found["one_per_task"]
    assert (one["kept"], one["tasks"], one["precision"], one["interval"]) == (2, 4, 0.5, [0.0126, 0.9874])


def test_one_task_with_many_rows_does_not_make_the_interval_narrow() -> None:
    correct = np.r_[np.ones(500, bool), np.zeros(10, bool)]
    tasks = np.r_[np.zeros(500, int), np.arange(1, 11)]
    low, high = kept_precision(np.ones(510, bool), correct, tasks)["all_rows"]["interval"]
    assert low < 0.05
    assert high > 0.98


def test_keeping_nothing_has_no_precision() -> None:
    found = kept_precision(np.zeros(3, bool), np.ones(3, bool), np.arange(3))
    assert (found["coverage"], found["recall"]) == (0.0, 0.0)
    assert (found["all_rows"]["precision"], found["one_per_task"]["interval"]) == (None, None)


def test_calls_are_saved_as_long_as_the_best_rows_stay_as_good() -> None:
    acceptance = np.linspace(1, 0, 20)
    correct = acceptance > 0.72  # the best six rows
    cheap = acceptance.copy()
    told = saved_calls(cheap, acceptance, correct, kept=5)
    assert told == {"precision_asking_all": 1.0, "calls_saved": 0.75, "precision": 1.0}
    told = saved_calls(np.full(20, np.nan), acceptance, correct, kept=5)
    assert told == {"precision_asking_all": 1.0, "calls_saved": 0.0, "precision": 1.0}
    # a classifier that puts out the best row first saves nothing: a wrong one comes up in its place
    told = saved_calls(-acceptance, acceptance, correct, kept=6)
    assert told == {"precision_asking_all": 1.0, "calls_saved": 0.0, "precision": 1.0}


def test_the_committed_result_has_every_reading_both_ways_and_its_tables() -> None:
    result = orjson.loads(RESULT.read_bytes())
    places = {(half["reading"], half["calibrated_on"], half["second_stage"]) for half in result["halves"]}
    directions = ("first to second", "second to first")
    stages = {"first answer": ("text", "attempts", "oracle", "embedded"), "whole": ("text", "attempts", "oracle")}
    assert places == {(reading, way, stage) for reading in stages for way in directions for stage in stages[reading]}
    assert (result["embedded"]["answered"], result["embedded"]["questions"]) == (ASKED, ASKED)
    tested = {half["second_stage"]: half["rows_tested"] + half["rows_fit_or_certified"] for half in result["halves"]}
    assert tested["embedded"] == ASKED
    assert sum("attempts" in line for line in tables(result)) > 10


def test_the_committed_promises_held() -> None:
    result = orjson.loads(RESULT.read_bytes())
    promised = [told for half in result["halves"] for told in half["targets"] if told["threshold"] is not None]
    assert promised
    # at most one in twenty of them may be broken: the interval on the other half lies below what was promised
    kept = [told for told in promised if told["all_rows"]["interval"] is not None]
    broken = [told for told in kept if told["all_rows"]["interval"][1] < told["target"]]
    assert len(broken) <= len(promised) / 20
