"""Rows left out by group, so that what is learned is tried on groups it never saw."""

from collections.abc import Iterator

import numpy as np

NUM_FOLDS = 5
_SEED = 0


def folds_of(groups: np.ndarray, answers: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Row indices to fit on and to leave out, five times or as often as there are groups; nothing for a single group.

    Groups of yes and groups of no are dealt evenly.
    """
    names, member = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        return
    means = np.bincount(member, answers) / np.bincount(member)
    shuffled = np.random.default_rng(_SEED).permutation(len(names))
    dealt = shuffled[np.argsort(means[shuffled] > 0.5, kind="stable")]
    fold = np.empty(len(names), int)
    fold[dealt] = np.arange(len(names)) % min(NUM_FOLDS, len(names))
    for k in range(min(NUM_FOLDS, len(names))):
        yield np.flatnonzero(fold[member] != k), np.flatnonzero(fold[member] == k)
