"""The way down through thresholds: fixed by scores and numbers alone, ended by the first test that fails."""

import numpy as np

from pipeline.judging.bounds import (
    binomial_passes,
    clopper_pearson,
    efficient_counts,
    least_labels,
    most_wrong,
    power_of_two,
)
from pipeline.judging.units import Units, count_fairly, units_of

_STARTS = ((1 / 16, 0.2), (1 / 6, 0.8))
"""Where the sequence starts, as shares of the labels, and the share of the error each start may spend."""
_WORTH_SPLITTING = 2
"""With fewer labels at the last start than this many times the least, that start takes the whole error."""
_EQUAL = 1e-9
"""Weights this near to each other, as a share of the largest, are the same."""
_MOST_CAPS = 12


class View:
    """Independent labels in order of score, the highest first, and what those from a score on show.

    Where labels weigh the same, all are counted and the tests are exact. Where they do not, those are counted that can be
    counted fairly up to a cap on the weight, and the weight above it is taken to be wrong: exact again. A high cap
    counts fewer labels, a low one gives more away; from each score on that one speaks which tolerates most errors,
    which is settled by the weights alone.
    """

    def __init__(self, scores: np.ndarray, correct: np.ndarray, units: Units, target: float) -> None:
        """Scores and correct of all labels, [N] each; units say which are taken."""
        order = np.argsort(-scores[units.index], kind="stable")
        self.scores = scores[units.index][order]
        self.correct = np.asarray(correct, bool)[units.index][order]
        self.weights = units.weights[order]
        caps = _caps(self.weights)
        counted = np.array([count_fairly(self.weights, cap) for cap in caps]).reshape(len(caps), -1)
        excess = np.array([np.maximum(self.weights - cap, 0) for cap in caps]).reshape(len(caps), -1)
        self._count, self._wrong = _running(counted), _running(counted & ~self.correct)
        self._given_away = _running(excess) / np.maximum(_running(self.weights[None]), caps[0] if caps else 1.0)
        self._allowed = (1 - target - self._given_away) / (1 - self._given_away)

    def ends(self, thresholds: np.ndarray) -> np.ndarray:
        """Labels at or above each threshold."""
        return np.searchsorted(-self.scores, -thresholds, side="right")

    def tolerates(self, ends: np.ndarray, delta: float) -> np.ndarray:
        """Share of errors with which the first `ends` labels pass at this error, negative where they cannot."""
        return self._speaking(ends, delta)[1]

    def passes(self, ends: np.ndarray, delta: float) -> np.ndarray:
        """Whether the first `ends` labels show the target at this error."""
        at = self._speaking(ends, delta)[0], ends
        return binomial_passes(self._wrong[at], self._count[at], allowed=self._allowed[at], delta=delta)

    def bound(self, end: int, delta: float) -> float:
        """Precision that is exceeded with confidence 1 - `delta`, by the first `end` labels."""
        at = int(self._speaking(np.array([end]), delta)[0][0]), end
        return float((1 - self._given_away[at]) * clopper_pearson(self._wrong[at], self._count[at], delta=delta))

    def _speaking(self, ends: np.ndarray, delta: float) -> tuple[np.ndarray, np.ndarray]:
        """The cap that speaks for the first `ends` labels, and the share of errors it tolerates."""
        count = self._count[:, ends]
        share = most_wrong(count, allowed=self._allowed[:, ends], delta=delta) / np.maximum(count, 1)
        return share.argmax(axis=0), share.max(axis=0)


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
    """Sums [C, N + 1] over the first 0, 1, 2, … of what is told [C, N]."""
    return np.concatenate(
        [np.zeros((len(told), 1), told.dtype if told.dtype.kind == "f" else int), told.cumsum(axis=1)], axis=1
    )


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
    reached = np.min(ends, axis=0)
    total = int(reached[-1])
    (early, early_share), (late, late_share) = _STARTS
    if total * late < _WORTH_SPLITTING * least_labels(target, delta):
        starts = [(total * late, np.inf, delta)]
    else:
        starts = [(total * early, total * late, delta * early_share), (total * late, np.inf, delta * late_share)]
    budgets: dict[int, float] = {}
    for start, until, level in starts:
        counts = efficient_counts(target, level, power_of_two(total))
        wanted = counts[(counts >= start) & (counts <= total)]
        places = np.unique(np.append(np.searchsorted(reached, wanted), len(candidates) - 1))
        able = np.min([view.tolerates(end[places], level) for view, end in zip(views, ends, strict=True)], axis=0) >= 0
        places = places[able & (reached[places] < until)]
        for k, place in enumerate(places.tolist()):
            budgets[place] = budgets.get(place, 0.0) + (level if k == 0 else 0.0)
    places = sorted(budgets)
    return candidates[places], {k: budgets[place] for k, place in enumerate(places)}


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
