"""The gates on repeated trajectories, within a day and across days."""

import polars as pl

from pipeline.frames import mark
from pipeline.reasons import Reason


def mark_duplicate(trajectories: pl.LazyFrame, matches: pl.DataFrame) -> pl.LazyFrame:
    """Mark trajectories whose text equals an earlier one's, but for case and white space.

    A trajectory that `matches` does not name passes.

    Grain: one row per trajectory, kept, in order.
    Reads: trajectory_id String; reason, evidence; `matches` as `lookup.find_duplicates` gives it.
    Writes: reason `duplicate`; evidence: day and trajectory_id of the earliest such row, similarity.
    """
    return _mark_kind(trajectories, matches, Reason.DUPLICATE)


def mark_near_duplicate(trajectories: pl.LazyFrame, matches: pl.DataFrame) -> pl.LazyFrame:
    """Mark trajectories whose text resembles an earlier one's.

    A trajectory that `matches` does not name passes.

    Grain: one row per trajectory, kept, in order.
    Reads: trajectory_id String; reason, evidence; `matches` as `lookup.find_duplicates` gives it.
    Writes: reason `near_duplicate`; evidence: day and trajectory_id of the earliest such row, similarity.
    """
    return _mark_kind(trajectories, matches, Reason.NEAR_DUPLICATE)


def _mark_kind(trajectories: pl.LazyFrame, matches: pl.DataFrame, reason: Reason) -> pl.LazyFrame:
    found = matches.lazy().filter(pl.col("kind") == reason.value)
    told = found.select("trajectory_id", _match=pl.struct(day="of_day", trajectory_id="of_id", similarity="similarity"))
    joined = trajectories.join(told, on="trajectory_id", how="left", maintain_order="left")
    return mark(joined, pl.col("_match").is_not_null(), reason, evidence=pl.col("_match")).drop("_match")
