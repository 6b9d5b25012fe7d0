"""How right a kept set is, with the two intervals that do not take rows of one task for independent."""

from typing import Any

import numpy as np
from scipy.stats import beta

RESAMPLES = 2000
SHARES = tuple(k / 20 for k in range(1, 20))
"""Of rows put out unasked, as far as they are tried."""
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


def saved_calls(cheap: np.ndarray, acceptance: np.ndarray, correct: np.ndarray, *, kept: int) -> dict[str, Any]:
    """The largest share of rows that `cheap` can put out unasked while the `kept` best of the rest stay as precise.

    Every smaller share has to hold as well; NaN counts as worst, and where `cheap` is nothing else it saves nothing.
    All float64 [N] but correct bool [N].
    """
    cheap, acceptance = (np.where(np.isnan(each), -np.inf, each) for each in (cheap, acceptance))
    order, ranked = np.argsort(cheap, kind="stable"), np.argsort(-acceptance, kind="stable")
    whole = float(correct[ranked[:kept]].mean())
    saved, precision = 0.0, whole
    for share in SHARES if np.isfinite(cheap).any() else ():
        out = np.zeros(len(cheap), bool)
        out[order[: round(share * len(cheap))]] = True
        best = ranked[~out[ranked]][:kept]
        if len(best) < kept or correct[best].mean() < whole:
            break
        saved, precision = share, float(correct[best].mean())
    return {"precision_asking_all": _rounded(whole), "calls_saved": saved, "precision": _rounded(precision)}


def clopper_pearson_interval(right: int, count: int) -> list[float]:
    """The exact two-sided interval of a share."""
    low, high = _tails()
    lower = float(beta.ppf(low, right, count - right + 1)) if right else 0.0
    upper = float(beta.ppf(high, right + 1, count - right)) if right < count else 1.0
    return [_rounded(lower), _rounded(upper)]


def _tails() -> tuple[float, float]:
    return (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2


def _rounded(value: float) -> float:
    return round(float(value), 4)
