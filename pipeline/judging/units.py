"""What counts as one label: labels of one task say the same thing twice, and heavy labels stand for many rows."""

from dataclasses import dataclass

import numpy as np

_STANDS_OUT = 3.0
"""A task stands out when it weighs this many times what any other does."""
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True, slots=True)
class Counting:
    """A way of counting labels that depend on each other."""

    groups: np.ndarray
    """int64 [N], 0 to N - 1: labels that speak as one."""
    is_mean: bool
    """Whether a group weighs the mean of its labels, or their sum."""


def ways_of_counting(weights: np.ndarray, tasks: np.ndarray) -> list[Counting]:
    """The ways of counting that all have to hold, one or two; weights float64 [N], tasks int64 [N], 0 to N - 1.

    Every label says by its weight how many rows it stands for. Where each task has one label that is all. Where tasks
    have several, they speak as one, for they may be right and wrong together: one of those kept speaks. Nobody wrote
    down why there are several, and precision has to hold either way:

    - by rows: the one that speaks carries the weight of all that are kept, for rows drawn at random bring many of a big
      task. The one task that outweighs every other by far (somebody's loop tried it a thousand times) enters by all
      its labels instead: as one label it would drown the rest, and by its own rows it is known best.
    - by tasks: the one that speaks carries the mean weight, for somebody may have labelled one task over and over.

    Both must pass at the full error, which costs no correction: whichever way the labels came, the test that is right
    for it had to pass.
    """
    if len(np.unique(tasks)) == len(tasks):
        return [Counting(tasks, is_mean=False)]
    total = np.bincount(tasks, weights)
    second = float(np.partition(total, -2)[-2]) if len(total) > 1 else np.inf
    in_outstanding = (tasks == total.argmax()) & (total.max() > _STANDS_OUT * second)
    apart = np.where(in_outstanding, len(tasks) + np.arange(len(tasks)), tasks)
    return [Counting(np.unique(apart, return_inverse=True)[1], is_mean=False), Counting(tasks, is_mean=True)]


@dataclass(frozen=True, slots=True)
class Spans:
    """Who speaks for each group while labels are kept one after another: a span lasts until its group's next label."""

    start: np.ndarray
    """int64 [N]: labels kept when it begins, itself included: 1 to N."""
    end: np.ndarray
    """int64 [N]: labels kept when another takes its place, N + 1 for never."""
    speaker: np.ndarray
    """int64 [N]: the label that speaks."""
    weights: np.ndarray
    """float64 [N]: what it weighs."""
    place: np.ndarray
    """float64 [N], 0 to 1: of its group, spread evenly over groups in the order they come."""

    def running(self, told: np.ndarray) -> np.ndarray:
        """Sums [N + 1] of what is told [N] over the spans that last when the first 0, 1, 2, … labels are kept."""
        size = len(told) + 2
        change = np.bincount(self.start, told, size) - np.bincount(self.end, told, size)
        sums = change.cumsum()[:-1]
        return sums if told.dtype.kind == "f" else np.rint(sums).astype(np.int64)


def spans_of(weights: np.ndarray, turns: np.ndarray, counting: Counting) -> Spans:
    """The spans of labels in the order in which they are kept.

    Of the labels of a group that are kept, the one whose turn is least speaks: weights and turns float64 [N].
    """
    groups, many = counting.groups, len(weights)
    if many == 0 or np.bincount(groups).max() == 1:
        own = np.arange(many)
        return Spans(own + 1, np.full(many, many + 1), own, np.asarray(weights, float), (own + 1) * _GOLDEN % 1)
    by_group = np.argsort(groups, kind="stable")
    is_first = np.diff(groups[by_group], prepend=-1) > 0
    first = np.flatnonzero(is_first)
    speaker, weight, start, end = (np.empty(many, kind) for kind in (np.int64, float, np.int64, np.int64))
    start[by_group] = by_group + 1
    end[by_group] = np.append(np.where(is_first[1:], many + 1, by_group[1:] + 1), many + 1)[:many]
    total = np.cumsum(weights[by_group])
    before = np.repeat(np.append(0.0, total)[first], np.diff(np.append(first, many)))
    number = np.arange(many) - np.repeat(first, np.diff(np.append(first, many))) + 1
    weight[by_group] = (total - before) / (number if counting.is_mean else 1)
    speaker[by_group] = by_group[_least_so_far(turns[by_group], first)]
    order = np.empty(many, np.int64)
    order[by_group] = np.repeat(np.argsort(np.argsort(by_group[first])), np.diff(np.append(first, many)))
    return Spans(start, end, speaker, weight, (order + 1) * _GOLDEN % 1)


def _least_so_far(turns: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The index of the least among those from the start of the group on, int64 [N]; `first` are the groups' starts."""
    ranks = np.argsort(np.argsort(turns, kind="stable"), kind="stable")
    group = np.zeros(len(turns), np.int64)
    group[first] = 1
    # later groups lie lower, so a running minimum never reaches back over a start
    lowered = ranks - np.cumsum(group) * len(turns)
    least = np.minimum.accumulate(lowered)
    place = np.empty(len(turns), np.int64)
    place[ranks] = np.arange(len(turns))
    return place[least + np.cumsum(group) * len(turns)]


def count_fairly(weights: np.ndarray, place: np.ndarray, cap: float) -> np.ndarray:
    """Which of labels of unequal weight are counted, bool [N], so that those counted count the same.

    A label is counted in proportion to its weight, from the weight `cap` on always: what is counted is then a sample in
    which every row had the same chance, but for the weight above the cap. Which ones is settled by their place, which
    no answer has a part in. Weights float64 [N], place float64 [N], 0 to 1.
    """
    return place < weights / cap * (1 + 1e-9)
