"""Rows per stage and reason, over days: each stage counts the rows it was given, no row twice."""

import polars as pl

from pipeline.frames import count_reasons
from pipeline.store import TableStore

SFT_CHAIN = ("trajectories", "screened", "replayed")
RL_CHAIN = ("prompts",)


def funnel_of(store: TableStore, days: list[str]) -> dict[str, dict[str, int]]:
    """Stage to rows by reason, `keep` for those still in; a stage that has not run on a day counts nothing of it.

    A later stage of a chain is given the rows that the one before kept, so that its reasons and its `keep` add up to
    the `keep` above it.
    """
    funnel: dict[str, dict[str, int]] = {}
    before: str | None = None
    for stage in SFT_CHAIN:
        counts = given_counts(store, stage, before, days)
        if counts:
            funnel[stage] = counts
        before = stage
    for stage in RL_CHAIN:
        scanned = store.scan_days(stage, days)
        if scanned is not None:
            funnel[stage] = count_reasons(scanned.select("reason"))
    return funnel


def given_counts(store: TableStore, stage: str, before: str | None, days: list[str]) -> dict[str, int]:
    """Rows by reason of one stage, without the rows that the stage `before` had put out already."""
    scanned = store.scan_days(stage, days)
    if scanned is None:
        return {}
    if before is None:
        return count_reasons(scanned.select("reason"))
    earlier = store.scan_days(before, days)
    if earlier is None:
        return count_reasons(scanned.select("reason"))
    in_before = earlier.filter(pl.col("reason").is_null()).select("trajectory_id", "day")
    return count_reasons(
        scanned.select("trajectory_id", "day", "reason").join(in_before, on=["trajectory_id", "day"], how="semi")
    )
