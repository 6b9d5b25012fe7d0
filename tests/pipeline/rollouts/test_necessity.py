"""The statistics of attempts, against enumeration, published values and each other."""

import itertools
from fractions import Fraction
from math import comb

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.rollouts.necessity import MEASURED, add_necessity, pass_at_k, wilson_interval
from pipeline.schema import ATTEMPTED


@pytest.mark.parametrize("num", [1, 3, 8, 12])
@pytest.mark.parametrize("share", [Fraction(0), Fraction(1, 8), Fraction(1, 2), Fraction(9, 10), Fraction(1)])
def test_the_mean_of_pass_at_k_over_every_sample_is_the_chance_itself(num: int, share: Fraction) -> None:
    for k in range(1, num + 1):
        mean = sum(
            comb(num, right) * share**right * (1 - share) ** (num - right) * Fraction(pass_at_k(num, right, k) or 0)
            for right in range(num + 1)
        )
        assert float(mean) == pytest.approx(float(1 - (1 - share) ** k), abs=1e-12)


@pytest.mark.parametrize(("num", "right", "k"), [(6, 2, 3), (5, 0, 2), (5, 5, 1), (7, 1, 7), (7, 4, 4)])
def test_pass_at_k_is_the_share_of_all_draws_that_hold_a_right_one(num: int, right: int, k: int) -> None:
    draws = list(itertools.combinations([True] * right + [False] * (num - right), k))
    assert pass_at_k(num, right, k) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_fewer_attempts_than_k_say_nothing() -> None:
    assert pass_at_k(7, 7, 8) is None
    assert pass_at_k(0, 0, 1) is None


@pytest.mark.parametrize(("num", "right", "k"), [(3, 4, 1), (3, -1, 1), (3, 1, 0)])
def test_counts_that_cannot_be_raise(num: int, right: int, k: int) -> None:
    with pytest.raises(ValueError, match="found"):
        pass_at_k(num, right, k)


@pytest.mark.parametrize(
    ("right", "num", "low", "high"),
    # Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E, table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_intervals(right: int, num: int, low: float, high: float) -> None:
    assert wilson_interval(right, num) == pytest.approx((low, high), abs=5e-5)


def test_nothing_counted_is_anything() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="found 3 of 2"):
        wilson_interval(3, 2)


counts = st.integers(0, 80).flatmap(lambda num: st.tuples(st.just(num), st.integers(0, num)))


@given(counts=st.lists(counts, max_size=20), k=st.sampled_from([1, 3, 8, 64]))
def test_a_column_of_tasks_gets_what_one_by_one_gives(counts: list[tuple[int, int]], k: int) -> None:
    frame = pl.DataFrame(counts, schema=["num_direct", "num_direct_correct"], orient="row")
    told = add_necessity(frame.lazy(), k).collect()
    assert {name: told.schema[name] for name in MEASURED} == {name: ATTEMPTED[name] for name in MEASURED}
    for (num, right), row in zip(counts, told.select(MEASURED).iter_rows(), strict=True):
        if num == 0:
            assert row == (None,) * 6
            continue
        low, high = wilson_interval(right, num)
        wanted = (num, right, pass_at_k(num, right, k), 1 - right / num, 1 - high, 1 - low)
        assert row == pytest.approx(wanted, abs=1e-12)
        assert 0 <= row[4] <= row[3] <= row[5] <= 1


def test_what_is_always_or_never_solved_is_exactly_so() -> None:
    frame = pl.LazyFrame({"num_direct": [8, 8], "num_direct_correct": [8, 0]})
    told = add_necessity(frame, 8).collect()
    assert told["necessity"].to_list() == [0.0, 1.0]
    assert told["necessity_low"][0] == 0.0
    assert told["necessity_high"][1] == 1.0
    assert told["direct_pass_at_k"].to_list() == [1.0, 0.0]
