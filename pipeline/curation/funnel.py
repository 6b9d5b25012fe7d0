"""Rows per stage and reason, over days: each stage counts the rows it was given, no row twice."""

import polars as pl

from pipeline.frames import count_reasons
from pipeline.store import TableStore

SFT_CHAIN = ("trajectories", "screened", "replayed", "attempted", "judged")
RL_CHAIN = ("prompts", "prompts_judged")


def funnel_of(store: TableStore, days: list[str]) -> dict[str, dict[str, int]]:
    """Stage to rows by reason, `keep` for those still in; a stage that has not run on a day counts nothing of it.

    A later stage of a chain is given the rows that the one before kept, so that its reasons and its `keep` add up to
    the `keep` above it.
    """
    funnel: dict[str, dict[str, int]] = {}
    for chain in (SFT_CHAIN, RL_CHAIN):
        for stage in chain:
            counts = given_counts(store, stage, before(stage), days)
            if counts:
                funnel[stage] = counts
    return funnel


def before(stage: str) -> str | None:
    """The stage whose kept rows this one is given, None for the first of a chain."""
    chain = SFT_CHAIN if stage in SFT_CHAIN else RL_CHAIN
    place = chain.index(stage)
    return chain[place - 1] if place else None


def given_counts(store: TableStore, stage: str, earlier_stage: str | None, days: list[str]) -> dict[str, int]:
    """Rows by reason of one stage, without the rows that the stage before had put out already."""
    scanned = store.scan_days(stage, days)
    if scanned is None:
        return {}
    if earlier_stage is None:
        return count_reasons(scanned.select("reason"))
    earlier = store.scan_days(earlier_stage, days)
    if earlier is None:
        return count_reasons(scanned.select("reason"))
    key = "task_id" if stage in RL_CHAIN else "trajectory_id"
    in_before = earlier.filter(pl.col("reason").is_null()).select(key, "day")
    return count_reasons(scanned.select(key, "day", "reason").join(in_before, on=[key, "day"], how="semi"))
