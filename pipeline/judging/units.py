"""What counts as one label: labels of one task say the same thing twice, and heavy labels stand for many rows."""

from dataclasses import dataclass

import numpy as np

_STANDS_OUT = 3.0
"""A task stands out when it weighs this many times what any other does."""


@dataclass(frozen=True, slots=True)
class Units:
    """Independent labels: which of the labels given, and what each weighs."""

    index: np.ndarray
    """int64 [N], ascending."""
    weights: np.ndarray
    """float64 [N], above 0."""


def units_of(weights: np.ndarray, tasks: np.ndarray, chosen: np.ndarray) -> list[Units]:
    """The ways of counting that all have to hold, one or two; weights float64 [N], tasks int64 [N], chosen bool [N].

    Every label says by its weight how many rows it stands for. Where each task has one label that is all. Where tasks
    have several, nobody wrote down why, and precision has to hold either way:

    - by rows: a task's chosen label carries the weight of all its labels, for rows drawn at random bring many of a big
      task. The one task that outweighs every other by far (somebody's loop tried it a thousand times) enters by all
      its labels instead: as one label it would drown the rest, and by its own rows it is known best.
    - by tasks: the chosen label carries the mean weight of its task's labels, for somebody may have labelled one task
      over and over.

    Both must pass at the full error, which costs no correction: whichever way the labels came, the test that is right
    for it had to pass.
    """
    num_tasks = int(tasks.max()) + 1 if len(tasks) else 0
    total = np.bincount(tasks, weights, num_tasks)
    count = np.bincount(tasks, minlength=num_tasks)
    one = np.flatnonzero(chosen)
    if len(one) == len(tasks):
        return [Units(one, weights)]
    second = np.partition(total, -2)[-2] if num_tasks > 1 else 0.0
    outstanding = (total > _STANDS_OUT * second) & (count > 1) & (num_tasks > 1)
    entering = np.flatnonzero(chosen | outstanding[tasks])
    by_rows = np.where(outstanding[tasks[entering]], weights[entering], total[tasks[entering]])
    return [Units(entering, by_rows), Units(one, (total / count)[tasks[one]])]


def count_fairly(weights: np.ndarray, cap: float) -> np.ndarray:
    """Which of labels of unequal weight are counted, bool [N], so that those counted count the same.

    A label is counted in proportion to its weight, from the weight `cap` on always: what is counted is then a sample in
    which every row had the same chance, but for the weight above the cap. Which ones is settled by the order and the
    weights alone, evenly along the order (systematic sampling).
    """
    reached = np.floor(np.cumsum(np.minimum(weights / cap, 1.0)) + 0.5)
    return np.diff(reached, prepend=0.0) > 0
