"""What counts as one label, and which heavy labels are counted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.judging.units import count_fairly, units_of


def test_labels_of_tasks_of_their_own_count_as_they_are() -> None:
    held = units_of(np.array([1.0, 4.0, 2.0]), np.array([2, 0, 1]), np.ones(3, bool))
    assert [(each.index.tolist(), each.weights.tolist()) for each in held] == [([0, 1, 2], [1.0, 4.0, 2.0])]


def test_a_task_with_several_labels_speaks_once_with_the_weight_of_all_and_once_with_the_mean() -> None:
    tasks, chosen = np.array([0, 0, 1, 2]), np.array([False, True, True, True])
    by_rows, by_tasks = units_of(np.array([1.0, 3.0, 2.0, 2.0]), tasks, chosen)
    assert (by_rows.index.tolist(), by_rows.weights.tolist()) == ([1, 2, 3], [4.0, 2.0, 2.0])
    assert (by_tasks.index.tolist(), by_tasks.weights.tolist()) == ([1, 2, 3], [2.0, 2.0, 2.0])


@pytest.mark.parametrize(("many", "wanted"), [(3, 4), (4, 7)])
def test_one_task_beyond_three_times_every_other_enters_by_all_its_labels(many: int, wanted: int) -> None:
    tasks = np.array([0] * many + [1, 2, 3])
    chosen = np.append(np.arange(many) == 0, np.ones(3, bool))
    by_rows, by_tasks = units_of(np.ones(len(tasks)), tasks, chosen)
    assert len(by_rows.index) == wanted
    assert len(by_tasks.index) == 4


def test_two_such_tasks_enter_as_one_label_each() -> None:
    tasks = np.array([0] * 50 + [1] * 50 + [2, 3])
    chosen = np.zeros(102, bool)
    chosen[[0, 50, 100, 101]] = True
    by_rows, _ = units_of(np.ones(102), tasks, chosen)
    assert by_rows.weights.tolist() == [50.0, 50.0, 1.0, 1.0]


def test_labels_of_equal_weight_are_all_counted() -> None:
    for weight in (1.0, 0.1, 1 / 3, 7e9):
        assert count_fairly(np.full(1000, weight), weight).all()


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=80))
def test_as_many_are_counted_as_the_weights_come_to_and_the_heaviest_always(weights: list[float]) -> None:
    held = np.array(weights)
    counted = count_fairly(held, held.max())
    assert abs(counted.sum() - held.sum() / held.max()) <= 0.5 + 1e-9
    assert counted[held == held.max()].all()
