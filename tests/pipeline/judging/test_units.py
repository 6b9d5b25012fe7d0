"""What counts as one label, and which heavy labels are counted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.judging.units import Counting, count_fairly, spans_of, ways_of_counting


def groups_of(tasks: np.ndarray) -> list[int]:
    """How many labels speak on their own, by rows and by tasks."""
    return [len(np.unique(each.groups)) for each in ways_of_counting(np.ones(len(tasks)), tasks)]


def test_labels_of_tasks_of_their_own_are_counted_in_one_way() -> None:
    [held] = ways_of_counting(np.array([1.0, 4.0, 2.0]), np.array([2, 0, 1]))
    assert (held.groups.tolist(), held.is_mean) == ([2, 0, 1], False)
    assert groups_of(np.zeros(0, int)) == [0]


def test_a_task_with_several_labels_speaks_with_the_weight_of_all_and_with_the_mean() -> None:
    by_rows, by_tasks = ways_of_counting(np.array([1.0, 3.0, 2.0, 2.0]), np.array([0, 0, 1, 2]))
    assert [by_rows.is_mean, by_tasks.is_mean] == [False, True]
    assert by_rows.groups.tolist() == by_tasks.groups.tolist() == [0, 0, 1, 2]


@pytest.mark.parametrize(
    ("tasks", "wanted"),
    [
        ([0, 0, 0, 1, 2, 3], [4, 4]),
        ([0, 0, 0, 0, 1, 2, 3], [7, 4]),  # the one task beyond three times every other enters by all its labels
        ([3, 2, 1, 1, 1, 1, 0], [7, 4]),
        ([0] * 50 + [1] * 50 + [2, 3], [4, 4]),  # of two such tasks neither does
        ([0] * 50, [1, 1]),  # nor the only one
    ],
)
def test_one_outstanding_task_enters_by_all_its_labels(tasks: list[int], wanted: list[int]) -> None:
    assert groups_of(np.array(tasks)) == wanted


@given(
    st.lists(st.tuples(st.integers(0, 4), st.floats(0.1, 9), st.integers(0, 5)), min_size=1, max_size=30), st.booleans()
)
@settings(max_examples=150, deadline=None)
def test_whatever_is_kept_each_group_speaks_once_by_its_least_turn(
    rows: list[tuple[int, float, int]],
    is_mean: bool,  # noqa: FBT001 (drawn)
) -> None:
    groups, weights, turns = (np.array(column) for column in zip(*rows, strict=True))
    held = spans_of(weights, turns.astype(float), Counting(groups, is_mean))
    assert ((held.place >= 0) & (held.place < 1)).all()
    for kept in range(len(rows) + 1):
        lasting = (held.start <= kept) & (kept < held.end)
        found = {}
        for group in np.unique(groups[:kept]).tolist():
            own = np.flatnonzero(groups[:kept] == group)
            weight = weights[own].mean() if is_mean else weights[own].sum()
            found[int(own[np.argmin(turns[own])])] = pytest.approx(weight)
        assert dict(zip(held.speaker[lasting].tolist(), held.weights[lasting].tolist(), strict=True)) == found
        assert held.running(held.weights)[kept] == pytest.approx(sum(held.weights[lasting]), abs=1e-9)
        assert held.running(np.ones(len(rows), bool))[kept] == len(found)


def test_labels_of_equal_weight_are_all_counted() -> None:
    place = np.random.default_rng(0).random(1000)
    for weight in (1.0, 0.1, 1 / 3, 7e9):
        assert count_fairly(np.full(1000, weight), place, weight).all()


@pytest.mark.parametrize("share", [0.1, 0.35, 0.5, 0.9])
def test_lighter_labels_are_counted_in_proportion_and_evenly_along_the_way(share: float) -> None:
    weights = np.tile([1.0, share], 500)
    held = spans_of(weights, np.zeros(1000), Counting(np.arange(1000), is_mean=False))
    counted = count_fairly(weights, held.place, 1.0)
    assert counted[::2].all()
    for until in (100, 300, 1000):
        assert counted[1:until:2].sum() == pytest.approx(share * until / 2, abs=5)
