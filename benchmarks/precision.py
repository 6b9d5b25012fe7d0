"""How right a kept set is, with the two intervals that do not take rows of one task for independent."""

from typing import Any

import numpy as np
from scipy.stats import beta

RESAMPLES = 2000
CONFIDENCE = 0.95
_SEED = 0


def kept_precision(kept: np.ndarray, correct: np.ndarray, tasks: np.ndarray) -> dict[str, Any]:
    """Figures of a kept set: kept bool [N], correct bool [N], tasks [N].

    `one_per_task`: of one row drawn per task, those kept; exact (Clopper-Pearson) two-sided interval. `all_rows`:
    every row, its interval by drawing whole tasks again and again, percentiles. `recall` is the share of right rows
    that were kept. A precision of nothing is None.
    """
    rng = np.random.default_rng(_SEED)
    _, member = np.unique(tasks, return_inverse=True)
    shuffled = rng.permutation(len(member))
    _, first = np.unique(member[shuffled], return_index=True)
    drawn = shuffled[first]
    count, right = int(kept[drawn].sum()), int((kept & correct)[drawn].sum())
    kept_by, right_by = np.bincount(member, kept), np.bincount(member, kept & correct)
    resampled = rng.integers(0, len(kept_by), (RESAMPLES, len(kept_by))) if len(kept_by) else np.zeros((0, 0), int)
    weight = kept_by[resampled].sum(axis=1)
    shares = right_by[resampled].sum(axis=1)[weight > 0] / weight[weight > 0]
    return {
        "coverage": _rounded(kept.mean()),
        "recall": _rounded((kept & correct).sum() / correct.sum()) if correct.any() else None,
        "one_per_task": {
            "kept": count,
            "tasks": len(drawn),
            "precision": _rounded(right / count) if count else None,
            "interval": clopper_pearson_interval(right, count) if count else None,
        },
        "all_rows": {
            "kept": int(kept.sum()),
            "rows": len(kept),
            "precision": _rounded((kept & correct).sum() / kept.sum()) if kept.any() else None,
            "interval": [_rounded(each) for each in np.quantile(shares, _tails())] if kept.any() else None,
        },
    }


def clopper_pearson_interval(right: int, count: int) -> list[float]:
    """The exact two-sided interval of a share."""
    low, high = _tails()
    lower = beta.ppf(low, right, count - right + 1) if right else 0.0
    upper = beta.ppf(high, right + 1, count - right) if right < count else 1.0
    return [_rounded(lower), _rounded(upper)]


def _tails() -> tuple[float, float]:
    return (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2


def _rounded(value: float) -> float:
    return round(float(value), 4)
