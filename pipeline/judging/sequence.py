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
from pipeline.judging.units import Units, count_fairly, units_of

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
    """Independent labels in order of score, the highest first, and what those from a score on show.

    Where labels weigh the same, all are counted. Where they do not, those are counted that can be counted fairly up to
    a cap on the weight, and the weight above the cap is taken to be wrong. Either way the tests are exact. A high cap
    counts fewer labels, a low one gives more away; from each score on that one speaks that tolerates most errors, which
    is settled by the weights alone.
    """

    def __init__(self, scores: np.ndarray, correct: np.ndarray, units: Units, target: float) -> None:
        """Scores and correct of all labels, [N] each; units say which are taken."""
        order = np.argsort(-scores[units.index], kind="stable")
        self.scores = scores[units.index][order]
        self.correct = np.asarray(correct, bool)[units.index][order]
        self.weights = units.weights[order]
        self._errors = 1 - target
        told = [self._capped(cap) for cap in _caps(self.weights)]
        count, wrong, allowed, given_away = (np.stack(each) for each in zip(*told, strict=True))
        tolerated = allowed - _TYPICAL * np.sqrt(np.maximum(allowed, 0) / np.maximum(count, 1))
        speaking = tolerated.argmax(axis=0), np.arange(count.shape[1])
        self._count, self._wrong, self._allowed = count[speaking], wrong[speaking], allowed[speaking]
        self._given_away = given_away[speaking]

    def ends(self, thresholds: np.ndarray) -> np.ndarray:
        """Labels at or above each threshold."""
        return np.searchsorted(-self.scores, -thresholds, side="right")

    def effective(self, ends: np.ndarray) -> np.ndarray:
        """Labels of equal weight that would show as much as the first `ends` do."""
        return self._count[ends] * np.maximum(self._allowed[ends], 0) / self._errors

    def could_pass(self, ends: np.ndarray, delta: float) -> np.ndarray:
        """Whether the first `ends` labels would show the target at this error if all were right."""
        none = np.zeros(len(ends))
        return binomial_passes(none, self._count[ends], allowed=self._allowed[ends], delta=delta)

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
        counted = count_fairly(self.weights, cap)
        given_away = _running(np.maximum(self.weights - cap, 0.0)) / np.maximum(_running(self.weights), cap * _EQUAL)
        allowed = (self._errors - given_away) / (1 - given_away)
        return _running(counted), _running(counted & ~self.correct), allowed, given_away


def _caps(weights: np.ndarray) -> list[float]:
    """Weights up to which labels may be counted fairly, ascending: the different ones, or quantiles of them."""
    if not len(weights):
        return [1.0]
    ranked = np.sort(weights)
    distinct = ranked[np.append(np.diff(ranked) > _EQUAL * ranked[-1], True)]
    if len(distinct) <= _MOST_CAPS:
        return distinct.tolist()
    return np.unique(np.quantile(weights, np.linspace(0, 1, _MOST_CAPS + 1)[1:], method="higher")).tolist()


def _running(told: np.ndarray) -> np.ndarray:
    """Sums over the first 0, 1, 2, … of them."""
    return np.concatenate([[0], told.cumsum()])


def views_of(
    scores: np.ndarray,
    correct: np.ndarray,
    weights: np.ndarray | None,
    tasks: np.ndarray | None,
    chosen: np.ndarray | None,
    target: float,
) -> list[View]:
    """The ways of counting these labels, by rows first; what `certify` takes."""
    held = np.ones(len(scores)) if weights is None else np.asarray(weights, float)
    codes = np.arange(len(scores)) if tasks is None else np.unique(tasks, return_inverse=True)[1]
    first = _first_of_each(codes) if chosen is None else chosen
    return [View(np.asarray(scores, float), correct, units, target) for units in units_of(held, codes, first)]


def _first_of_each(codes: np.ndarray) -> np.ndarray:
    first = np.zeros(len(codes), bool)
    first[np.unique(codes, return_index=True)[1]] = True
    return first


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
    number = np.min(ends, axis=0)
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
        budgets = {place: held for place, held in budgets.items() if place < places[0]}
        budgets |= {place: level if place == places[0] else 0.0 for place in places[able[places]].tolist()}
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
