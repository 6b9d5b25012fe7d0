"""The exact tests and bounds, against numbers worked by hand and against scipy's own."""

import numpy as np
import pytest
from scipy.stats import beta, binomtest

from pipeline.judging.bounds import (
    binomial_passes,
    binomial_refutes,
    clopper_pearson,
    efficient_counts,
    least_labels,
)


@pytest.mark.parametrize(
    ("target", "confidence", "wanted"),
    [
        (0.95, 0.95, 59),  # 0.95 ** 58 is 0.0510, 0.95 ** 59 is 0.0485
        (0.9, 0.95, 29),
        (0.9, 0.9, 22),
        (0.99, 0.95, 299),
        (0.5, 0.5, 1),
        (0.95, 0.5, 14),
    ],
)
def test_so_many_labels_must_be_right_before_anything_can_be_promised(
    target: float, confidence: float, wanted: int
) -> None:
    assert least_labels(target, 1 - confidence) == wanted
    assert least_labels(target, 1 - confidence) == int(np.ceil(np.log(1 - confidence) / np.log(target)))


def test_the_counts_worth_testing_at_are_the_fewest_that_forgive_one_error_more() -> None:
    assert efficient_counts(0.95, 1 - 0.95, 300)[:9].tolist() == [59, 93, 124, 153, 181, 208, 234, 260, 286]
    for wrong, count in enumerate(efficient_counts(0.9, 0.05, 200).tolist()):
        passes = binomial_passes(
            np.array([wrong] * 2), np.array([count, count - 1]), allowed=np.array([0.1]), delta=0.05
        )
        assert passes.tolist() == [True, False]


@pytest.mark.parametrize(("wrong", "count"), [(0, 1), (0, 59), (1, 59), (3, 153), (59, 59), (58, 59), (40, 1000)])
def test_the_bound_is_that_of_clopper_and_pearson(wrong: int, count: int) -> None:
    found = float(clopper_pearson(np.array(wrong), np.array(count), delta=0.05))
    interval = binomtest(count - wrong, count).proportion_ci(0.9, method="exact")
    assert found == pytest.approx(interval.low, abs=1e-9)
    if wrong == 0:
        assert found == pytest.approx(0.05 ** (1 / count))
    if wrong < count:
        assert found == pytest.approx(beta.ppf(0.05, count - wrong, wrong + 1))


def test_a_test_passes_exactly_where_the_bound_reaches_the_target() -> None:
    count = np.repeat(np.arange(1, 200), 12)
    wrong = np.tile(np.arange(12), 199)
    wrong, count = wrong[wrong <= count], count[wrong <= count]
    passes = binomial_passes(wrong, count, allowed=np.full(len(wrong), 0.05), delta=0.05)
    assert (passes == (clopper_pearson(wrong, count, delta=0.05) >= 0.95)).all()
    assert passes.any()


@pytest.mark.parametrize(("wrong", "count"), [(0, 10), (2, 2), (2, 10), (3, 10), (8, 100), (9, 100), (10, 100)])
def test_precision_under_the_target_is_shown_by_too_many_errors(wrong: int, count: int) -> None:
    found = binomial_refutes(np.array(wrong), np.array(count), allowed=np.array(0.05), delta=0.05)
    assert bool(found) == bool(binomtest(wrong, count, 0.05, alternative="greater").pvalue <= 0.05)
    assert bool(found) == ((wrong, count) in {(2, 2), (3, 10), (10, 100)})


def test_nothing_is_shown_by_no_labels_or_where_no_error_is_allowed() -> None:
    none, allowed = np.array([0]), np.array([0.05])
    assert not binomial_passes(none, none, allowed=allowed, delta=0.05).any()
    assert not binomial_passes(none, np.array([10_000]), allowed=np.array([0.0]), delta=0.05).any()
    assert clopper_pearson(none, none, delta=0.05).tolist() == [0.0]
