"""The gate on length."""

import polars as pl

from pipeline.config import LengthGate
from pipeline.frames import mark
from pipeline.reasons import Reason


def mark_overlong(trajectories: pl.LazyFrame, gate: LengthGate) -> pl.LazyFrame:
    """Mark trajectories longer than `gate.max_tokens`.

    An unknown (null) length passes: the trajectory was not counted, which says nothing about its length.

    Grain: one row per trajectory, kept, in order.
    Reads: num_tokens UInt32; reason, evidence.
    Writes: reason `overlong`; evidence: num_tokens, max_tokens.
    """
    evidence = pl.struct("num_tokens", max_tokens=pl.lit(gate.max_tokens, pl.UInt64))
    return mark(trajectories, pl.col("num_tokens") > gate.max_tokens, Reason.OVERLONG, evidence=evidence)
