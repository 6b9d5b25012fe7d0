"""What drop rate a night may have."""

from pathlib import Path

import polars as pl
import pytest

from pipeline.config import BoundsConfig
from pipeline.curation.history import drop_rate, drop_rate_bound
from pipeline.reasons import REASON_DTYPE
from pipeline.store import TableStore


@pytest.mark.parametrize(
    ("counts", "rate"),
    [
        ({"keep": 3, "wrong_answer": 1}, 0.25),
        ({"keep": 1, "low_confidence": 1}, 0.0),
        ({"keep": 1, "not_a_trace": 9}, 0.0),
        ({"not_a_trace": 9, "purged": 1}, None),
        ({"unparsable": 2}, 1.0),
        ({}, None),
    ],
)
def test_only_traces_that_were_dropped_count(counts: dict[str, int], rate: float | None) -> None:
    assert drop_rate(counts) == rate


def store_with(folder: Path, *rates: float) -> TableStore:
    store = TableStore(folder)
    for k, rate in enumerate(rates, start=1):
        dropped = round(100 * rate)
        reasons = ["wrong_answer"] * dropped + [None] * (100 - dropped)
        with store.writing("screened", f"2025-01-{k:02d}") as writer:
            writer.write_shard(pl.DataFrame({"reason": reasons}, schema={"reason": REASON_DTYPE}))
    return store


def test_fewer_than_three_earlier_nights_are_no_history(tmp_path: Path) -> None:
    store = store_with(tmp_path, 0.1, 0.1)
    assert drop_rate_bound(store, "screened", "2025-01-09", BoundsConfig(), num_rows=10_000) == 0.98


def test_identical_nights_still_leave_eight_points(tmp_path: Path) -> None:
    store = store_with(tmp_path, 0.1, 0.1, 0.1)
    assert drop_rate_bound(store, "screened", "2025-01-09", BoundsConfig(), num_rows=10_000) == pytest.approx(0.18)


def test_the_night_itself_and_later_ones_are_not_its_past(tmp_path: Path) -> None:
    store = store_with(tmp_path, 0.1, 0.1, 0.1, 0.9)
    assert drop_rate_bound(store, "screened", "2025-01-04", BoundsConfig(), num_rows=10_000) == pytest.approx(0.18)


def test_nights_that_differ_widen_the_bound_up_to_the_ceiling(tmp_path: Path) -> None:
    store = store_with(tmp_path, 0.1, 0.5, 0.9)
    assert drop_rate_bound(store, "screened", "2025-01-09", BoundsConfig(), num_rows=10_000) == 0.98
    # mean 0.5, sample deviation 0.4, one deviation allowed
    assert drop_rate_bound(
        store, "screened", "2025-01-09", BoundsConfig(drop_rate_sigmas=1), num_rows=10_000
    ) == pytest.approx(0.9)


def test_a_night_of_few_traces_may_miss_by_chance(tmp_path: Path) -> None:
    store = store_with(tmp_path, 0.1, 0.1, 0.1)
    # chance alone: sqrt(0.1 * 0.9 / 9) = 0.1, four times that above the mean
    assert drop_rate_bound(store, "screened", "2025-01-09", BoundsConfig(), num_rows=9) == pytest.approx(0.5)
