"""Days that look unlike those calibrated on warn, small days do not warn by chance."""

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.judging.drift import Histogram, drift_of, histogram_of, stability_index


def scores_of(num_rows: int, seed: int, shift: float = 0.0) -> np.ndarray:
    """Scores between 0 and 1; shifted by so many standard deviations of their log odds."""
    return 1 / (1 + np.exp(-(np.random.default_rng(seed).standard_normal(num_rows) + shift)))


def test_the_index_is_that_worked_by_hand() -> None:
    reference = Histogram(edges=(0.5,), shares=(0.5, 0.5), count=100)
    scores = np.repeat([0.2, 0.5], [10, 30])
    then, now = np.array([50.5, 50.5]) / 101, np.array([10.5, 30.5]) / 41
    assert stability_index(reference, scores) == pytest.approx(float(np.sum((now - then) * np.log(now / then))))
    assert stability_index(reference, np.array([0.49, 0.5] * 50)) == 0


def test_a_reference_has_ten_even_bins_or_as_many_as_there_are_scores() -> None:
    held = histogram_of(scores_of(1000, 0))
    assert held.shares == pytest.approx([0.1] * 10, abs=0.011)
    assert held.count == pytest.approx(1000)
    few = histogram_of(np.repeat([0.1, 0.5, 0.9], [50, 30, 20]))
    assert (few.edges, few.shares) == ((0.5, 0.9), pytest.approx((0.5, 0.3, 0.2)))
    assert histogram_of(np.full(9, 0.3)).edges == ()
    assert histogram_of(np.array([np.nan])) == Histogram(edges=(), shares=(1.0,), count=0)


def test_weights_make_the_reference() -> None:
    held = histogram_of(np.array([0.1, 0.9]), np.array([1.0, 3.0]))
    assert held.shares == pytest.approx((0.25, 0.75))
    assert held.count == pytest.approx(16 / 10)


@pytest.mark.parametrize("num_rows", [5, 20, 100, 2000])
def test_a_day_like_the_reference_seldom_warns_however_small(num_rows: int) -> None:
    reference = histogram_of(scores_of(300, 0))
    warned = [drift_of(reference, scores_of(num_rows, seed), limit=0.01).has_drifted for seed in range(1, 401)]
    assert np.mean(warned) <= 0.015


def test_a_small_day_would_warn_by_its_index_alone() -> None:
    reference = histogram_of(scores_of(300, 0))
    indices = [stability_index(reference, scores_of(20, seed)) for seed in range(1, 201)]
    assert np.mean(np.array(indices) > 0.25) > 0.3


@pytest.mark.parametrize(("num_rows", "shift"), [(300, 1.0), (3000, 0.7), (3000, -0.7)])
def test_a_day_that_moved_warns(num_rows: int, shift: float) -> None:
    reference = histogram_of(scores_of(300, 0))
    found = drift_of(reference, scores_of(num_rows, 1, shift), limit=0.25)
    assert found.has_drifted
    assert found.index > max(found.by_chance, 0.25)
    assert found.num_scores == num_rows


def test_a_large_day_that_hardly_moved_does_not_warn() -> None:
    reference = histogram_of(scores_of(100_000, 0))
    found = drift_of(reference, scores_of(100_000, 1, 0.1), limit=0.25)
    assert found.by_chance < found.index < 0.25
    assert not found.has_drifted


def test_nothing_drifts_without_scores_or_reference() -> None:
    reference = histogram_of(scores_of(300, 0))
    assert not drift_of(reference, np.array([np.nan]), limit=0.0).has_drifted
    assert not drift_of(histogram_of(np.zeros(0)), scores_of(50, 0), limit=0.0).has_drifted
    assert not drift_of(histogram_of(np.full(50, 0.3)), scores_of(50, 0), limit=0.0).has_drifted


@pytest.mark.parametrize(
    "told", [{"edges": (0.1,), "shares": (1.0,)}, {"edges": (0.5, 0.5), "shares": (0.3, 0.3, 0.4)}]
)
def test_a_broken_histogram_is_refused(told: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Histogram.model_validate(told | {"count": 1})
