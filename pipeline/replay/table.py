"""Verdicts as rows of the `replays` table."""

from collections.abc import Iterable

import polars as pl

from pipeline.replay.plan import Plan, is_made
from pipeline.replay.verdicts import NOTHING_RECORDED, UNMAPPED, StepVerdict
from pipeline.schema import REPLAYS, Verdict

MAX_EVIDENCE_CHARS = 4000
"""Longest `recorded` and `rerun` kept; a longer one is cut in the middle, where it says so."""

TOLD = {"version", "verdict", "detail", "recorded", "rerun", "difference", "observed"}
"""Columns that calling again adds to a step."""


def replays_frame(steps: pl.DataFrame, replayed: Iterable[tuple[Plan, list[StepVerdict]]]) -> pl.DataFrame:
    """One row per step as REPLAYS has it, not yet redacted, with `observed` String: the true observation as told.

    Steps that no environment takes are unexecutable, those that nothing came back for unverified.

    Grain: one row per step, in order; none for those that are run for their state alone.
    """
    told = [
        {
            "trajectory_id": plan.episode.trajectory_id,
            "step_index": each.step.step_index,
            "version": each.version,
            "verdict": each.verdict.value,
            "detail": each.detail,
            "recorded": _bounded(each.recorded),
            "rerun": _bounded(each.rerun),
            "difference": each.difference,
            "observed": None if each.observed is None else each.observed.text,
        }
        for plan, verdicts in replayed
        for each in verdicts
        if each.step.step_index is not None
    ]
    schema = {**REPLAYS, "observed": pl.String}
    columns = {name: dtype for name, dtype in schema.items() if name in TOLD | {"trajectory_id", "step_index"}}
    verdicts = pl.DataFrame(told, schema=columns)
    unmapped, left = pl.col("environment").is_null(), ~is_made()
    return (
        steps.drop("recorded", "arguments")
        .filter(pl.col("step_index").is_not_null())
        .join(verdicts, on=["trajectory_id", "step_index"], how="left", maintain_order="left")
        .with_columns(
            verdict=pl.when(unmapped)
            .then(pl.lit(Verdict.UNEXECUTABLE.value, schema["verdict"]))
            .when(left)
            .then(pl.lit(Verdict.UNVERIFIED.value, schema["verdict"]))
            .otherwise("verdict"),
            detail=pl.when(unmapped)
            .then(pl.lit(UNMAPPED))
            .when(left)
            .then(pl.lit(NOTHING_RECORDED))
            .otherwise("detail"),
        )
        .select(pl.col(name).cast(dtype) for name, dtype in schema.items())
    )


def _bounded(text: str | None) -> str | None:
    if text is None or len(text) <= MAX_EVIDENCE_CHARS:
        return text
    half = MAX_EVIDENCE_CHARS // 2
    return f"{text[:half]}\n[{len(text) - 2 * half} characters left out]\n{text[-half:]}"
