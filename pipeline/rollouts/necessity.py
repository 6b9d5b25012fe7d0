"""What attempts without tools say of a task: how often one is right, how sure that is, and how far a tool is needed."""

from math import comb

import numpy as np
import polars as pl
from scipy.special import ndtri

from pipeline.schema import ATTEMPTED

CONFIDENCE = 0.95
MEASURED = ("num_direct", "num_direct_correct", "direct_pass_at_k", "necessity", "necessity_low", "necessity_high")
"""The columns that attempts add to the rows of a task."""


def pass_at_k(num: int, num_correct: int, k: int) -> float | None:
    """The chance that at least one of `k` attempts is right: unbiased; None where fewer than `k` were made.

    Source: Chen et al. 2021, arXiv:2107.03374, section 2.1: 1 - C(num - num_correct, k) / C(num, k).
    Raises ValueError for counts that cannot be.
    """
    if not 0 <= num_correct <= num or k < 1:
        raise ValueError(f"want 0 <= num_correct <= num and k >= 1, found {num_correct} of {num} and k = {k}")
    return None if num < k else 1 - comb(num - num_correct, k) / comb(num, k)


def wilson_interval(num_correct: float, num: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Both ends of the interval of a share: 0 and 1 where nothing was counted.

    Source: Wilson 1927; never outside of 0 to 1, and of sensible width at 0 and 1. Counts may be effective ones.
    Raises ValueError for counts that cannot be.
    """
    if not 0 <= num_correct <= num:
        raise ValueError(f"want 0 <= num_correct <= num, found {num_correct} of {num}")
    if num == 0:
        return 0.0, 1.0
    z = float(ndtri(0.5 + confidence / 2))
    share = num_correct / num
    centre = (share + z * z / (2 * num)) / (1 + z * z / num)
    half = z / (1 + z * z / num) * np.sqrt(share * (1 - share) / num + z * z / (4 * num * num))
    # At the ends the two terms are equal but for rounding.
    low = 0.0 if num_correct == 0 else max(0.0, centre - half)
    high = 1.0 if num_correct == num else min(1.0, centre + half)
    return float(low), float(high)


def add_necessity(tasks: pl.LazyFrame, k: int) -> pl.LazyFrame:
    """Add what the graded attempts at each task come to; a task without one gets nulls, and none of them is 0.

    Necessity is the share of attempts that are wrong: 0 for what the policy always solves by itself, 1 for what it
    never does.

    Grain: kept, in order.
    Reads: num_direct, num_direct_correct integers: attempts that were graded, and the right ones among them.
    Writes: MEASURED, as ATTEMPTED has them; direct_pass_at_k is null where fewer than `k` were graded.
    """
    num, right = pl.col("num_direct").cast(pl.Float64), pl.col("num_direct_correct").cast(pl.Float64)
    graded = num > 0
    z = float(ndtri(0.5 + CONFIDENCE / 2))
    share = right / num
    centre = (share + z * z / (2 * num)) / (1 + z * z / num)
    half = z / (1 + z * z / num) * (share * (1 - share) / num + z * z / (4 * num * num)).sqrt()
    low = pl.when(right == 0).then(0.0).otherwise((centre - half).clip(0, 1))
    high = pl.when(right == num).then(1.0).otherwise((centre + half).clip(0, 1))
    at_k = pl.struct("num_direct", "num_direct_correct").map_batches(
        lambda counts: _at_k(counts, k), return_dtype=pl.Float64, is_elementwise=True
    )
    measured = {
        "num_direct": pl.col("num_direct"),
        "num_direct_correct": pl.col("num_direct_correct"),
        "direct_pass_at_k": at_k,
        "necessity": 1 - share,
        "necessity_low": 1 - high,
        "necessity_high": 1 - low,
    }
    return tasks.with_columns(
        pl.when(graded).then(each).cast(ATTEMPTED[name]).alias(name) for name, each in measured.items()
    )


def _at_k(counts: pl.Series, k: int) -> pl.Series:
    """`pass_at_k` of each pair; Python sees every pair of counts once, and there are few."""
    pairs = counts.struct.unnest()
    unique = pairs.drop_nulls().unique()
    told = unique.with_columns(
        pl.Series("told", [pass_at_k(num, right, k) for num, right in unique.iter_rows()], dtype=pl.Float64)
    )
    return pairs.join(told, on=pairs.columns, how="left", maintain_order="left")["told"].alias(counts.name)
