"""The gate on observations that calling the tools again contradicts."""

import polars as pl

from pipeline.frames import mark
from pipeline.reasons import Reason
from pipeline.replay.config import ReplayConfig
from pipeline.schema import Verdict

_BY_CHOICE = {
    "keep": (None, None),
    "review": (Reason.UNEXECUTABLE, Reason.NONDETERMINISTIC),
    "drop": (Reason.UNEXECUTABLE_DROPPED, Reason.NONDETERMINISTIC_DROPPED),
}


def mark_replayed(trajectories: pl.LazyFrame, replays: pl.LazyFrame, config: ReplayConfig) -> pl.LazyFrame:
    """Mark trajectories by the verdicts of their calls: the gravest decides, in the order of the lines below.

    A mismatch is final whatever else happened; a broken environment makes the row wait; calls that could not be run or
    verified, or whose result changes from run to run, do what the configuration says. Only observations an environment
    is said to have given count: what an assistant claimed is evidence and no gate.

    Grain: one row per trajectory, kept, in order.
    Reads: trajectory_id; replays as REPLAYS; reason, evidence.
    Writes: reason `observation_mismatch`, `replay_failed`, `unexecutable`, `unexecutable_dropped`, `nondeterministic`,
        `nondeterministic_dropped`; evidence: the first such call, and how many calls there are by verdict.
    """
    found = replays.filter(pl.col("origin") == "environment")
    counts = found.group_by("trajectory_id").agg(
        pl.struct((pl.col("verdict") == verdict.value).sum().alias(verdict.value) for verdict in Verdict).alias(
            "_calls"
        )
    )
    marked = trajectories.join(counts, on="trajectory_id", how="left", maintain_order="left")
    verdict, mapped = pl.col("verdict"), pl.col("environment").is_not_null()
    unverified = verdict.is_in([Verdict.UNEXECUTABLE.value, Verdict.UNVERIFIED.value])
    rules = [
        (verdict == Verdict.MISMATCH.value, Reason.OBSERVATION_MISMATCH),
        (verdict == Verdict.FAILED.value, Reason.REPLAY_FAILED),
        (unverified & mapped, _BY_CHOICE[config.unexecutable][0]),
        (unverified & ~mapped, _BY_CHOICE[config.unmapped][0]),
        (verdict == Verdict.NONDETERMINISTIC.value, _BY_CHOICE[config.nondeterministic][1]),
    ]
    for condition, reason in rules:
        if reason is not None:
            marked = _mark_first(marked, found.filter(condition), reason)
    return marked.drop("_calls")


def _mark_first(trajectories: pl.LazyFrame, calls: pl.LazyFrame, reason: Reason) -> pl.LazyFrame:
    """Mark the trajectories that hold one of the calls, the first of which is the evidence."""
    told = [
        "step_index",
        "message_index",
        "observation_index",
        "tool_name",
        "environment",
        "detail",
        "recorded",
        "rerun",
        "difference",
    ]
    first = (
        calls.sort("trajectory_id", "step_index")
        .group_by("trajectory_id", maintain_order=True)
        .agg(pl.struct(told).first().alias("_first"))
    )
    marked = trajectories.join(first, on="trajectory_id", how="left", maintain_order="left")
    evidence = pl.struct(pl.col("_first").struct.unnest(), calls="_calls")
    return mark(marked, pl.col("_first").is_not_null(), reason, evidence=evidence).drop("_first")
