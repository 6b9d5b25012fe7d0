"""What people said of rows, as one answer per row, and which of it certifies."""

import hashlib
from collections.abc import Mapping

import numpy as np
import polars as pl

from pipeline.errors import CalibrationError

JOINT = "accept"
"""The criterion of a label that speaks for all criteria jointly."""


def certifying(task_id: pl.Expr) -> pl.Expr:
    """Whether a task's labels certify the threshold, Boolean, null for null; those of the other tasks fit the model.

    Half of all tasks, by a hash of the id alone: a task never moves, so no label ever does both.
    """
    return task_id.map_batches(_is_certifying, return_dtype=pl.Boolean, is_elementwise=True)


def _is_certifying(task_ids: pl.Series) -> pl.Series:
    # 1.6 µs a task; polars' own hash may change with its version, and tasks would move
    held = [None if each is None else _digest("certifying", each)[0] < 128 for each in task_ids.to_list()]
    return pl.Series(task_ids.name, held, pl.Boolean)


def _digest(*told: str) -> bytes:
    return hashlib.sha256("\0".join(told).encode()).digest()


def answered_labels(labels: pl.DataFrame, rubric: str) -> pl.DataFrame:
    """The labels of a rubric: one per subject and criterion, the latest, in order of both.

    Reads: labels as LABELS. Raises: CalibrationError where a weight is not above 0 or a subject has two tasks.
    """
    held = labels.filter(pl.col("rubric") == rubric).with_columns(
        pl.col("weight").fill_null(1.0), pl.col("task_id").fill_null(pl.col("subject_id"))
    )
    bad = held.filter(~(pl.col("weight").is_finite() & (pl.col("weight") > 0)))
    if not bad.is_empty():
        subject, weight = bad.select("subject_id", "weight").row(0)
        raise CalibrationError(
            f"label of {subject}: weight: want a number above 0, found {weight}; give one over the row's chance of "
            "having been drawn, or 1 for every row"
        )
    moved = held.group_by("subject_id").agg(pl.col("task_id").n_unique()).filter(pl.col("task_id") > 1)
    if not moved.is_empty():
        subject = moved["subject_id"].min()
        raise CalibrationError(f"labels of {subject}: task_id: want one, found several; mend the file of labels")
    latest = held.sort("subject_id", "criterion", "at", "by", "answer", nulls_last=False)
    return latest.unique(["subject_id", "criterion"], keep="last", maintain_order=True)


def joint_answers(labels: pl.DataFrame, asked: pl.DataFrame) -> pl.DataFrame:
    """One row per labelled subject: `subject_id, task_id, weight, correct`, in order of subject.

    `correct` is what was said of the row as a whole, where somebody did; else no where one criterion is no, yes where
    all that were asked of the row are yes, and null where that cannot be told.

    Reads: labels as `answered_labels` gives them; asked: subject_id and criterion of every question asked.
    """
    whole = pl.col("criterion") == JOINT
    parts = (
        asked.select("subject_id", "criterion")
        .unique()
        .join(
            labels.select("subject_id", "criterion", "answer"),
            on=["subject_id", "criterion"],
            how="full",
            coalesce=True,
        )
        .filter(~whole)
        .group_by("subject_id")
        .agg(
            is_wrong=(~pl.col("answer")).fill_null(value=False).any(),
            is_right=pl.col("answer").fill_null(value=False).all(),
        )
    )
    said = labels.group_by("subject_id", maintain_order=True).agg(
        pl.col("task_id").first(), pl.col("weight").mean(), pl.col("answer").filter(whole).first().alias("said")
    )
    told = pl.when("is_wrong").then(pl.lit(value=False)).when("is_right").then(pl.lit(value=True))
    return (
        said.join(parts, on="subject_id", how="left", maintain_order="left")
        .select("subject_id", "task_id", "weight", correct=pl.coalesce("said", told))
        .sort("subject_id")
    )


def turns_of(answers: pl.DataFrame) -> np.ndarray:
    """When each label's turn comes, float64 [N]: of any labels of a task, the one with the least speaks for it.

    By a hash of the subject, and so that each of them is the least in proportion to its weight. The same label has the
    same turn whatever it comes with; an answer never moves it.

    Reads: subject_id, weight.
    """
    drawn = [int.from_bytes(_digest("speaks", each)[:7]) for each in answers["subject_id"].to_list()]
    # the least of exponential variables falls on each in proportion to its rate
    return -np.log((np.array(drawn, float) + 0.5) / 2**56) / answers["weight"].to_numpy()


def labels_digest(labels: pl.DataFrame) -> str:
    """Names the answers a calibration rests on, 12 hex digits: who gave them, and when, is no part of it."""
    told = labels.select("subject_id", "task_id", "criterion", "answer", "weight", "rubric_version")
    return hashlib.sha256(told.sort("subject_id", "criterion").write_csv().encode()).hexdigest()[:12]


def other_meanings(labels: pl.DataFrame, versions: Mapping[str, str]) -> list[str]:
    """Criteria whose labels were given to another meaning, told: only the number before the hash says the meaning."""
    found = labels.select("criterion", "rubric_version").drop_nulls().unique().sort("criterion", "rubric_version")
    return [
        f"{criterion}: labelled as {held}, now {versions[criterion]}"
        for criterion, held in found.iter_rows()
        if criterion in versions and held and held.split("-")[0] != versions[criterion].split("-")[0]
    ]
