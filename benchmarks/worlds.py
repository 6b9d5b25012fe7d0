"""Populations of judged rows whose truth is known, and how people label some of them: what the promise is tested on."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

SIZE = 100_000
"""Rows of a population: its precision above any threshold is a number, not an estimate."""


@dataclass(frozen=True, slots=True)
class Labels:
    """What somebody labelled."""

    scores: np.ndarray
    correct: np.ndarray
    weights: np.ndarray | None = None
    tasks: np.ndarray | None = None


class Population:
    """Rows with a score and the truth, and the task each is of."""

    def __init__(self, scores: np.ndarray, correct: np.ndarray, tasks: np.ndarray | None = None) -> None:
        """Scores float64 [N], correct bool [N], tasks int64 [N], ascending; None: a task each."""
        self.scores, self.correct = scores, correct
        self.tasks = np.arange(len(scores)) if tasks is None else tasks
        self._descending = -np.sort(-scores)
        self._right = np.concatenate([[0], np.cumsum(correct[np.argsort(-scores, kind="stable")])])

    @cached_property
    def starts(self) -> np.ndarray:
        """Where each task begins, and the end."""
        return np.append(np.flatnonzero(np.diff(self.tasks, prepend=-1)), len(self.tasks))

    @cached_property
    def halves(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the better half of scores, and of the other."""
        is_better = self.scores >= np.median(self.scores)
        return np.flatnonzero(is_better), np.flatnonzero(~is_better)

    def kept(self, threshold: float) -> tuple[float, float]:
        """Coverage and true precision of keeping every row from a threshold on, 0 and 1 where none is."""
        end = int(np.searchsorted(-self._descending, -threshold, side="right"))
        return end / len(self.scores), float(self._right[end] / end) if end else 1.0

    def oracle(self, target: float) -> float:
        """Coverage at the lowest threshold whose true precision is the target or more: the most one could keep."""
        ends = np.append(np.flatnonzero(np.diff(self._descending)) + 1, len(self.scores))
        holding = ends[self._right[ends] >= target * ends]
        return float(holding[-1] / len(self.scores)) if len(holding) else 0.0


@dataclass(frozen=True, slots=True)
class World:
    """A population and a way of labelling it."""

    name: str
    told: str
    num_labels: int
    make: Callable[[np.random.Generator], Population]
    draw: Callable[[np.random.Generator, Population, int], Labels]
    is_learnable: bool = True
    """Whether so many labels are enough for four fifths of what an oracle could keep."""


def _expit(odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-odds))


def _shifted(odds: np.ndarray, share: float) -> np.ndarray:
    """Probabilities with these log odds, moved so that their mean is `share`."""
    low, high = -20.0, 20.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if _expit(odds + middle).mean() < share else (low, middle)
    return _expit(odds + low)


def _exactly(rng: np.random.Generator, probability: np.ndarray, share: float) -> np.ndarray:
    """Answers with these probabilities, mended at random places so that exactly `share` are right."""
    correct = rng.random(len(probability)) < probability
    excess = int(correct.sum()) - round(share * len(correct))
    changed = rng.choice(np.flatnonzero(correct == (excess > 0)), abs(excess), replace=False)
    correct[changed] ^= True
    return correct


def informative(share: float, spread: float) -> Callable[[np.random.Generator], Population]:
    """Scores that are the true probability; `share` of the rows are right, `spread` tells how well they separate."""

    def make(rng: np.random.Generator) -> Population:
        probability = _shifted(spread * rng.standard_normal(SIZE), share)
        return Population(probability, _exactly(rng, probability, share))

    return make


def overconfident(rng: np.random.Generator) -> Population:
    """Scores pushed to the ends, with a fiftieth of all rows wrong at the very top: the judge was talked round."""
    held = informative(0.85, 2.5)(rng)
    scores, correct = held.scores**3, held.correct.copy()
    fooled = rng.choice(SIZE, SIZE // 50, replace=False)
    scores[fooled] = 0.97 + 0.03 * rng.random(len(fooled))
    correct[fooled] = rng.random(len(fooled)) < 0.5
    return Population(scores, correct)


def discrete(share: float) -> Callable[[np.random.Generator], Population]:
    """Scores of eight values."""

    def make(rng: np.random.Generator) -> Population:
        held = informative(share, 2.0)(rng)
        edges = np.quantile(held.scores, np.arange(1, 8) / 8)
        return Population(np.searchsorted(edges, held.scores) / 7, held.correct)

    return make


def useless(share: float) -> Callable[[np.random.Generator], Population]:
    """Scores that tell nothing, the same precision everywhere."""

    def make(rng: np.random.Generator) -> Population:
        return Population(rng.random(SIZE), _exactly(rng, np.full(SIZE, share), share))

    return make


def one_task(rng: np.random.Generator) -> Population:
    """Two fifths of all rows are of one task, which is worse than the rest."""
    probability = _shifted(1.8 * rng.standard_normal(SIZE), 0.945)
    in_one = np.arange(SIZE) < SIZE * 2 // 5
    scores = probability.copy()
    probability = np.where(in_one, probability - 0.02, probability + 0.02 * 2 / 3)
    correct = _exactly(rng, np.clip(probability, 0, 1), 0.945)
    return Population(scores, correct, np.where(in_one, 0, np.arange(SIZE)))


def one_small_task(rng: np.random.Generator) -> Population:
    """Rows just under the target, scores that tell nothing, and one task of 200 rows that are all right."""
    correct = _exactly(rng, np.full(SIZE, 0.945), 0.945)
    correct[:200] = True
    return Population(rng.random(SIZE), correct, np.maximum(np.arange(SIZE) - 199, 0))


def sized(share: float, *, alike: float, spread: float) -> Callable[[np.random.Generator], Population]:
    """Tasks of 1 to 10 rows, the bigger the worse; `alike` of the tasks have rows that are all right or all wrong."""

    def make(rng: np.random.Generator) -> Population:
        sizes = rng.integers(1, 11, SIZE // 5)
        sizes = sizes[: np.searchsorted(np.cumsum(sizes), SIZE)]
        tasks = np.repeat(np.arange(len(sizes)), sizes)
        odds = (spread * rng.standard_normal(len(sizes)))[tasks] - 0.25 * sizes[tasks]
        probability = _shifted(odds, share)
        chance = rng.random(len(tasks))
        same = (rng.random(len(sizes)) < alike)[tasks]
        chance = np.where(same, rng.random(len(sizes))[tasks], chance)
        scores = probability + 1e-6 * rng.random(len(tasks))
        correct = chance < probability
        return Population(scores, correct, tasks)

    return make


def rows(rng: np.random.Generator, held: Population, num_labels: int) -> Labels:
    """Rows drawn at random, every label counting the same."""
    at = rng.choice(len(held.scores), num_labels, replace=False, shuffle=False)
    return Labels(held.scores[at], held.correct[at], None, held.tasks[at])


def over_and_over(rng: np.random.Generator, held: Population, num_labels: int) -> Labels:
    """Rows drawn at random, and two fifths of the labels all of the first task, whose share of the rows is tiny."""
    many = num_labels * 2 // 5
    first = np.arange(min(many, int(held.starts[1])))
    at = np.concatenate(
        [
            first,
            rng.choice(np.arange(held.starts[1], len(held.scores)), num_labels - many, replace=False, shuffle=False),
        ]
    )
    return Labels(held.scores[at], held.correct[at], None, held.tasks[at])


def row_per_task(rng: np.random.Generator, held: Population, num_labels: int) -> Labels:
    """Tasks drawn at random, one row of each, weighted by the size of its task."""
    starts = held.starts
    drawn = rng.choice(len(starts) - 1, num_labels, replace=False, shuffle=False)
    sizes = (starts[1:] - starts[:-1])[drawn]
    at = starts[drawn] + (rng.random(num_labels) * sizes).astype(int)
    return Labels(held.scores[at], held.correct[at], sizes.astype(float), held.tasks[at])


def whole_tasks(rng: np.random.Generator, held: Population, num_labels: int) -> Labels:
    """Tasks drawn at random and every row of them labelled, until there are as many labels as wanted."""
    starts = held.starts
    drawn = rng.permutation(len(starts) - 1)
    sizes = (starts[1:] - starts[:-1])[drawn]
    drawn = drawn[: int(np.searchsorted(np.cumsum(sizes), num_labels)) + 1]
    sizes = sizes[: len(drawn)]
    at = np.repeat(starts[drawn] + sizes - np.cumsum(sizes), sizes) + np.arange(sizes.sum())
    return Labels(held.scores[at], held.correct[at], None, held.tasks[at])


def stratified(rng: np.random.Generator, held: Population, num_labels: int) -> Labels:
    """Four labels of the better half of scores for one of the other, weighted back."""
    better, worse = held.halves
    wanted = rng.random(num_labels) < 0.8
    many = int(wanted.sum())
    at = np.concatenate(
        [
            rng.choice(better, many, replace=False, shuffle=False),
            rng.choice(worse, num_labels - many, replace=False, shuffle=False),
        ]
    )
    return Labels(held.scores[at], held.correct[at], np.repeat([1.0, 4.0], [many, num_labels - many]), held.tasks[at])


WORLDS = (
    World("informative", "scores are the true probability, 80% right", 1200, informative(0.8, 2.5), rows),
    World("few good", "scores are the true probability, 30% right", 8000, informative(0.3, 4.0), rows),
    World("overconfident", "scores pushed to the ends, 2% of the rows wrongly at the top", 4000, overconfident, rows),
    World("useless", "scores tell nothing, precision 0.945 everywhere", 600, useless(0.945), rows, is_learnable=False),
    World("useless, a hair under", "the same at 0.949", 2000, useless(0.949), rows, is_learnable=False),
    World("just under", "keeping all has precision 0.945", 600, informative(0.945, 1.5), rows),
    World("just under, 150 labels", "the same, few labels", 150, informative(0.945, 1.5), rows, is_learnable=False),
    World("eight scores", "only eight different scores, keeping all has 0.945", 600, discrete(0.945), rows),
    World("one task", "two fifths of rows and labels are one task, worse than the rest", 1000, one_task, rows),
    World(
        "one task, over and over",
        "two fifths of the labels are one small task, all right; the rest has precision 0.945, scores tell nothing",
        500,
        one_small_task,
        over_and_over,
        is_learnable=False,
    ),
    World(
        "big tasks worse",
        "tasks of 1 to 10 rows, big ones worse; one row a task, weighted",
        1200,
        sized(0.945, alike=0.5, spread=1.5),
        row_per_task,
    ),
    World(
        "big tasks worse, all labelled",
        "the same, every row of the drawn tasks labelled",
        5000,
        sized(0.945, alike=0.5, spread=1.5),
        whole_tasks,
    ),
    World("stratified", "better half of scores labelled four times as often", 1600, informative(0.8, 2.5), stratified),
)
