"""The way down through thresholds: fixed by scores and numbers alone, ended by the first test that fails."""

import numpy as np

from pipeline.judging.bounds import (
    binomial_passes,
    binomial_refutes,
    clopper_pearson,
    efficient_counts,
    least_labels,
    power_of_two,
)
from pipeline.judging.units import Counting, count_fairly, spans_of, ways_of_counting

_ONE_START = ((1 / 4, 1.0),)
_STARTS = ((1 / 16, 0.25), (1 / 4, 0.5), (1 / 2, 0.25))
"""Where the way down starts, as shares of the labels, and the share of the error each start may spend: several where
there are labels to spare, for judges that can vouch for a small part only, and for such as err at the very top."""
_TO_SPARE = 16
"""Times the least number of labels from which several starts pay."""
_EQUAL = 1e-9
"""Weights this near to each other, as a share of the largest, are the same."""
_MOST_CAPS = 12
_TYPICAL = 1.645
"""Standard errors by which errors must stay under what is allowed; it chooses between caps, and decides nothing."""


class View:
    """Labels in order of score, the highest first, and what those from a score on show, by one way of counting.

    Where what speaks weighs the same, all of it is counted. Where it does not, that is counted which can be counted
    fairly up to a cap on the weight, and the weight above the cap is taken to be wrong. Either way the tests are exact.
    A high cap counts fewer labels, a low one gives more away; from each score on that one speaks that tolerates most
    errors, which is settled by the weights alone.
    """

    def __init__(
        self,
        scores: np.ndarray,
        correct: np.ndarray,
        weights: np.ndarray,
        turns: np.ndarray,
        counting: Counting,
        target: float,
    ) -> None:
        """All [N]; of the labels of a group that are kept, the one whose turn is least speaks."""
        order = np.lexsort((turns, -scores))
        self.scores, self.correct, self.weights = scores[order], correct[order], weights[order]
        self._errors = 1 - target
        self._spans = spans_of(self.weights, turns[order], Counting(counting.groups[order], counting.is_mean))
        self._is_wrong = ~self.correct[self._spans.speaker]
        self.number = self._spans.running(np.ones(len(order), np.int64))
        self.number_wrong = self._spans.running(self._is_wrong)
        told = [self._capped(cap) for cap in _caps(self._spans.weights)]
        count, wrong, allowed, given_away = (np.stack(each) for each in zip(*told, strict=True))
        tolerated = allowed - _TYPICAL * np.sqrt(np.maximum(allowed, 0) / np.maximum(count, 1))
        speaking = tolerated.argmax(axis=0), np.arange(count.shape[1])
        self._count, self._wrong, self._allowed = count[speaking], wrong[speaking], allowed[speaking]
        self._given_away = given_away[speaking]

    @property
    def effective_weight(self) -> np.ndarray:
        """What speaks from each place on, as a number of equal weight (Kish), float64 [N + 1]."""
        held = self._spans.weights
        return self._spans.running(held) ** 2 / np.maximum(self._spans.running(held**2), held.min(initial=1) ** 2)

    def ends(self, thresholds: np.ndarray) -> np.ndarray:
        """Labels at or above each threshold."""
        return np.searchsorted(-self.scores, -thresholds, side="right")

    def effective(self, ends: np.ndarray) -> np.ndarray:
        """Labels of equal weight that would show as much as the first `ends` do."""
        return self._count[ends] * np.maximum(self._allowed[ends], 0) / self._errors

    def could_pass(self, ends: np.ndarray, delta: float) -> np.ndarray:
        """Whether the first `ends` labels would show the target at this error if all were right."""
        return self._count[ends] * np.log1p(-np.clip(self._allowed[ends], 0, 1 - _EQUAL)) <= np.log(delta)

    def passes(self, ends: np.ndarray, delta: float) -> np.ndarray:
        """Whether the first `ends` labels show the target at this error."""
        return binomial_passes(self._wrong[ends], self._count[ends], allowed=self._allowed[ends], delta=delta)

    def refutes(self, end: int, delta: float) -> bool:
        """Whether the first `end` labels show precision to be under the target, all weight not counted being right."""
        allowed = self._errors / (1 - self._given_away[end])
        return bool(binomial_refutes(self._wrong[end], self._count[end], allowed=allowed, delta=delta))

    def bound(self, end: int, delta: float) -> float:
        """Precision that is exceeded with confidence 1 - `delta`, by the first `end` labels."""
        counted = clopper_pearson(self._wrong[end], self._count[end], delta=delta)
        return float((1 - self._given_away[end]) * counted)

    def _capped(self, cap: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """What a cap makes of the first 0, 1, 2, … labels.

        How many are counted, how many of them are wrong, the share of errors among them that the target allows, and the
        share of the weight that is given away.
        """
        held, running = self._spans.weights, self._spans.running
        counted = count_fairly(held, self._spans.place, cap)
        given_away = running(np.maximum(held - cap, 0.0)) / np.maximum(running(held), cap * _EQUAL)
        allowed = (self._errors - given_away) / (1 - given_away)
        return running(counted), running(counted & self._is_wrong), allowed, given_away


def _caps(weights: np.ndarray) -> list[float]:
    """Weights up to which labels may be counted fairly, ascending: the different ones, or quantiles of them."""
    if not len(weights):
        return [1.0]
    ranked = np.sort(weights)
    distinct = ranked[np.append(np.diff(ranked) > _EQUAL * ranked[-1], True)]
    if len(distinct) <= _MOST_CAPS:
        return distinct.tolist()
    return np.unique(np.quantile(weights, np.linspace(0, 1, _MOST_CAPS + 1)[1:], method="higher")).tolist()


def views_of(
    scores: np.ndarray,
    correct: np.ndarray,
    weights: np.ndarray | None,
    tasks: np.ndarray | None,
    turns: np.ndarray | None,
    target: float,
) -> list[View]:
    """The ways of counting these labels, by rows first; what `certify` takes."""
    held = np.ones(len(scores)) if weights is None else np.asarray(weights, float)
    codes = np.arange(len(scores)) if tasks is None else np.unique(tasks, return_inverse=True)[1]
    speak = np.arange(len(scores), dtype=float) if turns is None else turns
    ways = ways_of_counting(held, codes)
    return [View(np.asarray(scores, float), np.asarray(correct, bool), held, speak, way, target) for way in ways]


def thresholds_tested(views: list[View], target: float, delta: float) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds from the highest down, and which of them were accepted, bool."""
    thresholds, budgets = _grid(views, target, delta)
    return thresholds, _walk(views, thresholds, budgets)


def _grid(views: list[View], target: float, delta: float) -> tuple[np.ndarray, dict[int, float]]:
    """Thresholds from the highest down, and the error that is set aside for some of them, by index."""
    candidates = np.unique(np.concatenate([view.scores for view in views]))[::-1]
    if not len(candidates):
        return candidates, {}
    ends = [view.ends(candidates) for view in views]
    number = np.min([view.number[end] for view, end in zip(views, ends, strict=True)], axis=0)
    effective = np.min([view.effective(end) for view, end in zip(views, ends, strict=True)], axis=0)
    total = float(effective.max())
    budgets: dict[int, float] = {}
    for share, level in _starts(total, target, delta):
        able = np.all([view.could_pass(end, level) for view, end in zip(views, ends, strict=True)], axis=0)
        begins = np.flatnonzero(able & (effective >= share * total - _EQUAL))
        if not len(begins):
            continue
        counts = efficient_counts(target, level, power_of_two(int(number[-1])))
        # where weights differ it takes more labels to show as much
        steps = np.searchsorted(number, np.ceil(counts * number[-1] / total - _EQUAL))
        steps = steps[(steps >= begins[0]) & (steps < len(candidates))]
        places = np.unique([*(steps if len(steps) else begins[:1]), len(candidates) - 1])
        first, *further = places[able[places]].tolist() or begins[:1].tolist()
        # a start that another one overtakes before it could begin hands over what it may spend
        level += sum(held for place, held in budgets.items() if place >= first)
        budgets = {place: held for place, held in budgets.items() if place < first} | dict.fromkeys(further, 0.0)
        budgets[first] = level
    places = sorted(budgets)
    return candidates[places], {k: budgets[place] for k, place in enumerate(places)}


def _starts(total: float, target: float, delta: float) -> list[tuple[float, float]]:
    """Where the way down starts, as shares of the labels, and the error each start may spend."""
    starts = _ONE_START if total < _TO_SPARE * least_labels(target, delta) else _STARTS
    return [(share, delta * spent) for share, spent in starts]


def _walk(views: list[View], thresholds: np.ndarray, budgets: dict[int, float]) -> np.ndarray:
    """Whether each threshold is accepted, bool: the fallback procedure over the thresholds in order."""
    accepted = np.zeros(len(thresholds), bool)
    carried = 0.0
    tested: dict[float, np.ndarray] = {}
    for k in range(len(thresholds)):
        level = carried + budgets[k]
        if level and level not in tested:
            tested[level] = np.logical_and.reduce([view.passes(view.ends(thresholds), level) for view in views])
        accepted[k] = level > 0 and bool(tested[level][k])
        carried = level if accepted[k] else 0.0
    return accepted
