"""How sure a precision is: exact one-sided tests and bounds from labels that count the same."""

from functools import lru_cache

import numpy as np
from scipy.special import betainc, betaincinv


def least_labels(target: float, delta: float) -> int:
    """Labels needed to certify `target` at error `delta` when every one of them is right: 59 for 0.95 at 0.05."""
    return int(efficient_counts(target, delta, 1)[0])


_STRIDE = 4
"""Counts lie a little over 1 / (1 - target) apart; the next one is sought so many times as far ahead."""


def power_of_two(number: int) -> int:
    """The next power of two above a number, 64 at least: tables are made up to it, so that few are made."""
    return 2 ** max(number.bit_length(), 6)


@lru_cache(maxsize=64)
def efficient_counts(target: float, delta: float, most: int) -> np.ndarray:
    """The fewest labels that pass with 0, 1, 2, … wrong ones, int64, up to the first count of at least `most`.

    Between two of them one more label helps nothing: tests belong at these counts.
    """
    counts: list[int] = []
    start, step = 1, int(np.ceil(_STRIDE / (1 - target)))
    while not counts or counts[-1] < most:
        span = np.arange(start, start + step)
        passing = span[_at_most(len(counts), span, 1 - target) <= delta]
        if len(passing):
            counts.append(int(passing[0]))
        start = int(passing[0]) if len(passing) else int(span[-1])
    return np.array(counts)


def binomial_passes(wrong: np.ndarray, count: np.ndarray, *, allowed: np.ndarray, delta: float) -> np.ndarray:
    """Whether so few wrong of `count` have a chance of at most `delta` where a share `allowed` is wrong: exact."""
    return (count > 0) & (allowed > 0) & (_at_most(wrong, count, np.clip(allowed, 0, 1)) <= delta)


def binomial_refutes(wrong: np.ndarray, count: np.ndarray, *, allowed: np.ndarray, delta: float) -> np.ndarray:
    """Whether so many wrong of `count` have a chance of at most `delta` where a share `allowed` is wrong: exact."""
    at_least = betainc(np.maximum(wrong, 1), count - np.maximum(wrong, 1) + 1.0, np.clip(allowed, 0, 1))
    return (wrong > 0) & (at_least <= delta)


def _at_most(wrong: np.ndarray | int, count: np.ndarray, share: np.ndarray | float) -> np.ndarray:
    """Chance of at most so many wrong of `count` where a share is wrong."""
    right = np.asarray(count, float) - wrong
    return np.where(right > 0, betainc(np.maximum(right, 1), np.asarray(wrong, float) + 1, 1 - share), 1.0)


def clopper_pearson(wrong: np.ndarray, count: np.ndarray, *, delta: float) -> np.ndarray:
    """Precision that is exceeded with confidence 1 - `delta`: exact; 0 where none is right.

    Source: Clopper and Pearson 1934, one-sided.
    """
    right = np.asarray(count, float) - wrong
    bound = betaincinv(np.maximum(right, 1), np.asarray(wrong, float) + 1, delta)
    return np.where(right > 0, bound, 0.0)
