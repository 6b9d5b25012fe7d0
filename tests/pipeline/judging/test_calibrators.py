"""Scores become probabilities, without ever turning their order around."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import ValidationError

from pipeline.judging.calibrators import ISOTONIC_FROM, RAW, Calibrator, fit_calibrator, fit_logistic
from pipeline.judging.quality import quality_of

GRID = np.linspace(0, 1, 101)


def drawn(num_rows: int, odds_slope: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores between 0 and 1, and answers whose log odds are so many times those of the score."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0.02, 0.98, num_rows)
    odds = odds_slope * np.log(scores / (1 - scores))
    return scores, rng.random(num_rows) < 1 / (1 + np.exp(-odds))


@pytest.mark.parametrize("slope", [0.5, 1.0, 2.0])
def test_few_labels_get_platt_and_find_the_slope_again(slope: float) -> None:
    held = fit_calibrator(*drawn(ISOTONIC_FROM - 1, slope))
    assert (held.kind, held.num_labels) == ("platt", 999)
    assert held.slope == pytest.approx(slope, rel=0.2)
    assert held.intercept == pytest.approx(0, abs=0.25)


def test_from_a_thousand_labels_on_the_fit_is_isotonic_and_close_to_the_truth() -> None:
    held = fit_calibrator(*drawn(20_000, 2.0))
    true = 1 / (1 + ((1 - GRID[5:96]) / GRID[5:96]) ** 2)
    assert held.kind == "isotonic"
    assert fit_calibrator(*drawn(ISOTONIC_FROM, 2.0)).kind == "isotonic"
    assert np.abs(held.apply(GRID[5:96]) - true).mean() < 0.02


def test_a_judge_worse_than_chance_gets_the_share_of_yes_and_is_not_inverted() -> None:
    for num_rows in (200, 3000):
        held = fit_calibrator(*drawn(num_rows, -1.5))
        assert held.kind == "flat"
        assert held.apply(np.array([0.01, 0.5, 0.99])) == pytest.approx([0.5] * 3, abs=0.05)


@pytest.mark.parametrize(
    ("answers", "wanted"),
    [([True] * 8, 9 / 10), ([False] * 8, 1 / 10), ([True], 2 / 3), ([True] * 6 + [False] * 2, 7 / 10)],
)
def test_labels_that_all_say_the_same_or_scores_that_do_are_flat_and_never_certain(
    answers: list[bool], wanted: float
) -> None:
    scores = np.linspace(0, 1, len(answers)) if len(set(answers)) == 1 else np.full(len(answers), 0.4)
    held = fit_calibrator(scores, np.array(answers))
    assert (held.kind, held.num_labels) == ("flat", len(answers))
    assert held.apply(np.array([0.0, 1.0])) == pytest.approx([wanted] * 2, abs=1e-8)


def test_without_labels_the_score_stays_as_it_is() -> None:
    assert fit_calibrator(np.zeros(0), np.zeros(0, bool)) == RAW
    assert fit_calibrator(np.array([np.nan]), np.array([True])) == RAW
    assert RAW.apply(np.array([0.0, 0.25, 1.0])).tolist() == [0.0, 0.25, 1.0]


def test_unknown_scores_are_left_out_of_the_fit_and_stay_unknown() -> None:
    scores, answers = drawn(300, 1.0)
    with_gaps = np.append(scores, [np.nan, np.nan])
    held = fit_calibrator(with_gaps, np.append(answers, [True, False]))
    assert held == fit_calibrator(scores, answers)
    for calibrator in (held, RAW, fit_calibrator(*drawn(2000, 1.0)), fit_calibrator(scores, np.ones(300, bool))):
        found = calibrator.apply(np.array([np.nan, 0.5]))
        assert np.isnan(found).tolist() == [True, False]


def test_scores_of_zero_and_one_are_taken() -> None:
    scores = np.repeat([0.0, 1.0], 50)
    answers = np.concatenate([np.arange(50) < 10, np.arange(50) < 45])
    held = fit_calibrator(scores, answers)
    assert held.apply(np.array([0.0, 1.0])) == pytest.approx([0.2, 0.9], abs=0.03)


def test_a_weight_of_two_is_two_labels() -> None:
    scores, answers = drawn(400, 1.0)
    twice = answers & (scores > 0.5)
    weighted = fit_calibrator(scores, answers, np.where(twice, 2.0, 1.0))
    repeated = fit_calibrator(np.append(scores, scores[twice]), np.append(answers, answers[twice]))
    assert weighted.apply(GRID) == pytest.approx(repeated.apply(GRID), abs=0.01)


@given(
    hnp.arrays(float, st.integers(1, 60), elements=st.floats(0, 1)),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_order_is_never_turned_around_and_probabilities_are_probabilities(
    scores: np.ndarray,
    seed: int,
    many: bool,  # noqa: FBT001 (drawn)
) -> None:
    scores = np.tile(scores, 1 + many * (ISOTONIC_FROM // len(scores)))
    held = fit_calibrator(scores, np.random.default_rng(seed).random(len(scores)) < scores)
    found = held.apply(GRID)
    assert (np.diff(found) >= 0).all()
    assert ((found >= 0) & (found <= 1)).all()
    assert Calibrator.model_validate_json(held.model_dump_json()) == held


@given(st.permutations(range(40)))
@settings(max_examples=20, deadline=None)
def test_the_order_of_labels_changes_nothing(order: list[int]) -> None:
    scores, answers = drawn(40, 1.0)
    one, other = fit_calibrator(scores, answers), fit_calibrator(scores[order], answers[order])
    assert one.apply(GRID) == pytest.approx(other.apply(GRID), abs=1e-6)


@pytest.mark.parametrize(
    "told",
    [
        {"kind": "platt", "slope": -0.1},
        {"kind": "isotonic"},
        {"kind": "isotonic", "scores": (0.1, 0.2), "probabilities": (0.5, 0.4)},
        {"kind": "isotonic", "scores": (0.2, 0.1), "probabilities": (0.4, 0.5)},
        {"kind": "isotonic", "scores": (0.1, 0.2), "probabilities": (0.5,)},
    ],
)
def test_a_file_that_would_turn_the_order_around_is_refused(told: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Calibrator.model_validate(told)


def test_no_coefficient_is_negative_and_the_rest_is_fitted_without_it() -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((500, 3))
    answers = rng.random(500) < 1 / (1 + np.exp(-(features @ [1.5, -2.0, 0.0])))
    coefficients, _ = fit_logistic(features, answers, np.ones(500))
    alone, _ = fit_logistic(features[:, :1], answers, np.ones(500))
    assert coefficients[1] == 0
    assert (coefficients >= 0).all()
    assert coefficients[0] == pytest.approx(alone[0], abs=0.05)


def test_figures_of_quality_are_those_worked_by_hand() -> None:
    held = quality_of(np.array([0.9, 0.9, 0.2, np.nan]), np.array([True, False, False, True]))
    assert held is not None
    assert (held.num_labels, held.share_yes) == (3, pytest.approx(1 / 3, abs=1e-6))
    assert held.brier == pytest.approx((0.01 + 0.81 + 0.04) / 3, abs=1e-6)
    assert held.ece == pytest.approx(2 / 3 * abs(0.9 - 0.5) + 1 / 3 * 0.2, abs=1e-6)
    assert held.auc == pytest.approx(0.75)
    weighted = quality_of(np.array([0.9, 0.9, 0.2]), np.array([True, False, False]), np.array([3.0, 1.0, 1.0]))
    assert weighted is not None
    assert weighted.brier == pytest.approx((0.03 + 0.81 + 0.04) / 5, abs=1e-6)


def test_without_labels_there_is_no_quality_and_with_one_kind_no_auc() -> None:
    assert quality_of(np.zeros(0), np.zeros(0, bool)) is None
    held = quality_of(np.array([1.0, 0.0]), np.array([True, True]))
    assert held is not None
    assert (held.auc, held.brier) == (None, 0.5)
