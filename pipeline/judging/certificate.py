"""The promise: from which acceptance on the kept rows are right, as often as the target says, as surely as it says."""

from typing import Literal

import numpy as np
from pydantic import Field

from pipeline.judging.bounds import binomial_passes, least_labels
from pipeline.judging.sequence import View, thresholds_tested, views_of
from pipeline.strict import StrictModel

_FEWEST_FOR_A_GUESS = 20
"""Labels kept from which a precision is guessed when more labels are asked for."""
_MORE = 0.1
"""Share of the labels given that is asked for at least, where it was chance that spoke against these."""
_ASKED = np.unique(np.geomspace(10, 20_000, 300).astype(int))
"""Numbers of labels above a threshold that one would ask for."""


class CurvePoint(StrictModel):
    """What the labels say of keeping everything from `threshold` on."""

    threshold: float
    coverage: float
    """Share of the rows kept."""
    precision: float
    """Share of the kept that are right, weighted."""
    bound: float
    """Precision exceeded with the promised confidence, looked at alone."""
    num_labels: int
    """Labels kept, one of each task."""
    num_wrong: int
    is_certified: bool
    """Whether the sequence of tests passed here."""


class Certificate(StrictModel):
    """A threshold, and the promise that goes with it.

    Promised: of the rows kept, by this threshold, from the population the labels were drawn from, a share of at least
    `target` is right in all criteria jointly, rows counted one by one, however they spread over tasks. Whoever draws
    labels and calibrates over and over is promised something false at most in a share 1 - `confidence` of the times.
    It is a promise about rows like those labelled (the same sources, the same gates before, the same judge), about rows
    of which a person can tell, and about labels that say by their weight how many rows each stands for; a kind of task
    too rare to be among the labels is not covered.
    """

    target: float
    confidence: float
    threshold: float | None
    """Least acceptance kept; None: no threshold can be promised anything for, and nothing is kept."""
    num_labels: int
    """Labels given."""
    num_tasks: int
    """Tasks they are of."""
    kept: CurvePoint | None
    """What is known at the threshold."""
    curve: tuple[CurvePoint, ...] = ()
    """Every threshold looked at, from the highest down; fixed before any answer was looked at."""
    more_labels: int | None = Field(default=0, ge=0)
    """About how many more labels a threshold takes, if they are like these; None: no number of them would do, and 0
    where there is a threshold."""

    @property
    def told(self) -> str:
        """The promise in a sentence."""
        promise = f"precision of {self.target:.0%} with {self.confidence:.0%} confidence"
        if self.kept is not None:
            return (
                f"{promise}: promised from acceptance {self.threshold:.3f} on, {self.kept.num_wrong} of "
                f"{self.kept.num_labels} labels there wrong, at least {self.kept.bound:.1%} right, "
                f"{self.kept.coverage:.0%} of the rows kept"
            )
        found = f"{promise}: nothing can be promised with {self.num_labels} labels of {self.num_tasks} tasks"
        if self.more_labels is None:
            return f"{found}, and no number of them would do: no threshold separates right from wrong well enough"
        return f"{found}; about {self.more_labels} more certifying labels would do, if they are like these"


def lower_bound(
    correct: np.ndarray, weights: np.ndarray | None = None, *, confidence: float, target: float = 0.95
) -> float:
    """Precision exceeded with this confidence, 0 without labels: Clopper-Pearson where all labels weigh the same.

    Where they do not, weights like these and `target` settle which labels are counted (`View`), never the answers.
    Correct bool [N], in an order that has nothing to do with weights; weights float64 [N], above 0, None: all equal.
    """
    if not len(correct):
        return 0.0
    view = views_of(np.zeros(len(correct)), correct, weights, None, None, target)[0]
    return view.bound(len(correct), 1 - confidence)


def certify(
    scores: np.ndarray,
    correct: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    target: float,
    confidence: float,
    tasks: np.ndarray | None = None,
    turns: np.ndarray | None = None,
) -> Certificate:
    """The lowest threshold that can be promised something for, and the curve it was taken from.

    Thresholds are tested from the highest down, and the way ends at the first that fails: each test may then spend
    the whole error, because a wrong threshold is only ever accepted after the first wrong one was. The grid is fixed
    by scores, weights and the number of labels, never by answers: thresholds that keep just as many labels as pass
    with 0, 1, 2, … wrong. One wrong label among the first 59 would end a way that starts there, so it starts at a
    quarter of the labels. With labels to spare there are three starts that share the error, at a sixteenth, a quarter
    and a half; what a start has not lost when it comes to the next is spent there again (the fallback procedure).

    Scores float64 [N], higher is better, none NaN; correct bool [N]; weights float64 [N], above 0, None: all equal;
    tasks [N] of any type, None: a task each; turns float64 [N]: of the labels of a task that are kept, the one whose
    turn is least speaks, None: the first given.

    Source: Learn then Test, arXiv:2110.01052 (fixed-sequence testing); Wiens and Dmitrienko 2005 (fallback).
    """
    views = views_of(scores, correct, weights, tasks, turns, target)
    delta = 1 - confidence
    thresholds, certified = thresholds_tested(views, target, delta)
    points = [
        _point(views, threshold, confidence, is_certified=is_certified)
        for threshold, is_certified in zip(thresholds.tolist(), certified.tolist(), strict=True)
    ]
    passing = np.flatnonzero(certified)
    kept = points[passing[-1]] if len(passing) else None
    return Certificate(
        target=target,
        confidence=confidence,
        threshold=None if kept is None else kept.threshold,
        num_labels=len(scores),
        num_tasks=len(scores) if tasks is None else len(np.unique(tasks)),
        kept=kept,
        curve=tuple(points),
        more_labels=0 if kept is not None else _more_labels(views, target, delta),
    )


def certified_threshold(
    scores: np.ndarray,
    correct: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    target: float,
    confidence: float,
    tasks: np.ndarray | None = None,
    turns: np.ndarray | None = None,
) -> float | None:
    """The threshold `certify` finds, without the curve: for those who need thousands."""
    thresholds, certified = thresholds_tested(
        views_of(scores, correct, weights, tasks, turns, target), target, 1 - confidence
    )
    passing = np.flatnonzero(certified)
    return float(thresholds[passing[-1]]) if len(passing) else None


class Support(StrictModel):
    """What the labels of today say of a promise made before."""

    verdict: Literal["supported", "contradicted", "too_few"]
    num_labels: int
    """Labels at or above the threshold that speak, one of each task."""
    num_wrong: int
    precision: float | None
    bound: float
    """Precision exceeded with the promised confidence, by the labels of today."""


def supports(
    certificate: Certificate,
    acceptance: np.ndarray,
    correct: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    target: float,
    confidence: float,
    tasks: np.ndarray | None = None,
    turns: np.ndarray | None = None,
) -> Support:
    """Whether labels known today still support the promise at the certificate's threshold.

    Supported: their bound is at the target or above. Contradicted: it is not, though they are as many as the
    certificate rests on; or they are fewer, and show by themselves, at the same confidence, that precision is under the
    target. Too few: neither.

    Looking again and again does no harm to the promise: a set passes only if the threshold was certified once and
    the labels of today agree, so a wrong threshold is never likelier to pass than on the day it was certified. It
    costs the other way: each look may block a good set, the likelier the closer its precision is to the target. Moving
    the threshold takes a new calibration, which is a promise of its own, with its own chance of being false.
    """
    views = views_of(acceptance, correct, weights, tasks, turns, target)
    threshold, delta = certificate.threshold, 1 - confidence
    ends = [view.ends(np.array([np.inf if threshold is None else threshold])) for view in views]
    if threshold is None or min(end[0] for end in ends) == 0:
        return Support(verdict="too_few", num_labels=0, num_wrong=0, precision=None, bound=0.0)
    passed = all(view.passes(end, delta)[0] for view, end in zip(views, ends, strict=True))
    point = _point(views, threshold, confidence, is_certified=passed)
    as_many = certificate.kept is not None and point.num_labels >= certificate.kept.num_labels
    contradicted = as_many or any(view.refutes(int(end[0]), delta) for view, end in zip(views, ends, strict=True))
    return Support(
        verdict="supported" if passed else "contradicted" if contradicted else "too_few",
        num_labels=point.num_labels,
        num_wrong=point.num_wrong,
        precision=point.precision,
        bound=point.bound,
    )


def _point(views: list[View], threshold: float, confidence: float, *, is_certified: bool) -> CurvePoint:
    """A point of the curve: of the ways of counting, the one with the lowest bound; rows make the coverage."""
    told = [_seen(view, threshold, confidence, is_certified=is_certified) for view in views]
    return min(told, key=lambda each: each.bound).model_copy(update={"coverage": told[0].coverage})


def _seen(view: View, threshold: float, confidence: float, *, is_certified: bool) -> CurvePoint:
    """What is known from a threshold on, with at least one label there."""
    end = int(view.ends(np.array([threshold]))[0])
    weights, correct = view.weights[:end], view.correct[:end]
    return CurvePoint(
        threshold=threshold,
        coverage=float(weights.sum() / view.weights.sum()),
        precision=float(weights @ correct / weights.sum()),
        bound=view.bound(end, 1 - confidence),
        num_labels=int(view.number[end]),
        num_wrong=int(view.number_wrong[end]),
        is_certified=is_certified,
    )


def _more_labels(views: list[View], target: float, delta: float) -> int | None:
    """About how many more labels a first threshold takes, None where precision is below the target everywhere."""
    found = [_missing(view, target, delta) for view in views]
    most = max(found)
    if most <= 0:  # there are enough, and it was chance that spoke against them
        most = _MORE * max(int(view.number[-1]) for view in views)
    return int(np.ceil(most)) if np.isfinite(most) else None


def _missing(view: View, target: float, delta: float) -> float:
    """Labels missing by one way of counting, if they bring one standard deviation more errors than these in the mean.

    How unequal weights are is part of it: so many labels like these, of their effective number (Kish).
    """
    least, given = least_labels(target, delta), int(view.number[-1])
    if given < least:
        return least - given
    ends = view.ends(np.unique(view.scores))
    weights, errors = np.cumsum(view.weights), np.cumsum(view.weights * ~view.correct)
    effective = view.effective_weight[ends]
    share = ((errors / weights)[ends - 1] * effective + 1) / (effective + 2)
    told = (effective >= _FEWEST_FOR_A_GUESS) & (share < 1 - target)
    if not told.any():
        return np.inf
    wrong = np.outer(share[told], _ASKED)
    allowed = np.full(wrong.shape, 1 - target)
    enough = binomial_passes(np.floor(wrong + np.sqrt(wrong)), _ASKED + 0 * wrong, allowed=allowed, delta=delta)
    counts = np.where(enough.any(axis=1), _ASKED[enough.argmax(axis=1)], np.inf)
    return float(np.min(counts * given / effective[told] - given))
