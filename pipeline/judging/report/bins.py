"""How often answers of a given score are right: bins of equal number, with their intervals."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

_MIN_PER_BIN = 10
_MAX_BINS = 10
INTERVAL = 0.95
"""Two-sided confidence of a bin's interval."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Rows of neighbouring scores."""

    score: float
    """Their mean score."""
    share: float
    """How many of them are right."""
    low: float
    high: float
    """Clopper-Pearson interval of the share, at the effective number of rows where weights differ."""
    count: int
    """Rows, unweighted."""


def bins_of(scores: np.ndarray, answers: np.ndarray, weights: np.ndarray) -> list[Bin]:
    """Scores float64 [N] in 0 to 1, answers bool [N], weights float64 [N], as at most ten bins of about equal number.

    Equal scores share a bin, so a judge that gives one score gets one bin.
    """
    if not len(scores):
        return []
    order = np.argsort(scores, kind="stable")
    scores, answers, weights = scores[order], answers[order].astype(float), weights[order]
    num_bins = int(np.clip(len(scores) // _MIN_PER_BIN, 1, _MAX_BINS))
    edges = [round(len(scores) * k / num_bins) for k in range(1, num_bins)]
    # an edge inside a run of equal scores moves to the run's end
    ends = sorted({int(np.searchsorted(scores, scores[edge - 1], side="right")) for edge in edges} | {len(scores)})
    starts = [0, *ends[:-1]]
    return [
        _bin(scores[start:end], answers[start:end], weights[start:end]) for start, end in zip(starts, ends, strict=True)
    ]


def _bin(scores: np.ndarray, answers: np.ndarray, weights: np.ndarray) -> Bin:
    total = float(weights.sum())
    share = round(float(weights @ answers) / total, 12)  # all right is exactly 1
    effective = total**2 / float(weights @ weights)
    right = share * effective
    tail = (1 - INTERVAL) / 2
    low = float(beta.ppf(tail, right, effective - right + 1)) if right > 0 else 0.0
    high = float(beta.ppf(1 - tail, right + 1, effective - right)) if right < effective else 1.0
    return Bin(float(weights @ scores) / total, share, low, high, len(scores))
