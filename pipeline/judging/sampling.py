"""Which rows a person is asked about: few enough to do, drawn so that what is promised of all rows is sound.

Half of the tasks certify, the other half fit (`certifying`), and each half is drawn as its use wants it:

- certifying: tasks in the order of a hash, all equally likely, and of each task one row, again by a hash. The label
  stands for the rows of its task, so its weight is their number: one over the row's chance of having been drawn, up
  to a factor. Whoever stops early, or goes on another day, has labelled a sample of the same kind, only smaller or
  larger: the order never changes, and no weight depends on how many are drawn.
- fitting: rows by bands of score and by source, equally many of each, so that rare low scores are seen.

Weights are scaled to a mean of 1 over what each half draws from, so that both halves speak in the same unit.
"""

import hashlib
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from pipeline.judging.bounds import least_labels
from pipeline.judging.gold import certifying

Purpose = Literal["certify", "fit", "agree"]

SAMPLE = {"subject_id": pl.String, "task_id": pl.String, "weight": pl.Float64, "purpose": pl.String}
"""One row per row to be labelled, in the order in which a person is asked."""

_BANDS = 5
_NO_SCORE = -1
_STRATUM = ["_band", "_source"]


@dataclass(frozen=True, slots=True)
class Need:
    """How far the labels are from a promise."""

    num_certifying: int
    """Labelled tasks that certify."""
    num_fitting: int
    """Labelled tasks that fit."""
    least: int
    """Certifying labels that have to be above the threshold, all of them right, before anything can be promised."""

    @property
    def num_needed(self) -> int:
        """Certifying labels missing to the least; more where some are wrong or under the threshold."""
        return max(self.least - self.num_certifying, 0)

    @property
    def told(self) -> str:
        """Both numbers in a sentence."""
        held = f"{self.num_certifying:,} labelled tasks certify and {self.num_fitting:,} fit"
        if self.num_needed:
            return f"{held}; at least {self.num_needed:,} more that certify are needed ({self.least} without an error)"
        return f"{held}; {self.least} certifying ones without an error are enough for a promise"


def need_of(labelled: pl.DataFrame, *, target: float, confidence: float) -> Need:
    """How many labelled tasks there are and how many the target takes at least.

    Reads: task_id of labelled rows, null where no table holds the row.
    """
    tasks = labelled.select("task_id").drop_nulls().unique()
    num_certifying = tasks.filter(certifying(pl.col("task_id"))).height
    return Need(num_certifying, tasks.height - num_certifying, least_labels(target, 1 - confidence))


def draw_sample(judged: pl.DataFrame, labelled: Collection[str], *, number: int, seed: int) -> pl.DataFrame:
    """Up to `number` rows to label, as SAMPLE: half of them to certify, half to fit, in an order that tells nothing.

    Where one half has too few rows, the other gives more. A row in `labelled` is never drawn, and neither is another
    row of its task to certify. The same rows, labels and seed give the same sample.

    Reads: judged: subject_id, unique; task_id, null for a task of its own; source; score, Float64, null where unknown.
    """
    rows = _prepared(judged, labelled, seed)
    certify, fit = rows.filter("_certifies"), rows.filter(~pl.col("_certifies"))
    one_each = _one_of_each_task(certify)
    num_certify, num_fit = _shared(number, one_each.height, fit.filter(~pl.col("_labelled")).height)
    drawn = pl.concat([_to_certify(one_each, num_certify), _to_fit(fit, num_fit)])
    order = drawn.sort(_hash_column(drawn["subject_id"], f"order {seed}"))
    return order.select(pl.col(name).cast(dtype) for name, dtype in SAMPLE.items())


def draw_again(labels: pl.DataFrame, *, by: str, number: int, seed: int) -> pl.DataFrame:
    """Rows that others have labelled and `by` has not, as SAMPLE with purpose `agree`: a second opinion on each.

    They keep the weight they were drawn with.

    Reads: labels as LABELS, one row per answer, of one rubric.
    """
    told = labels.group_by("subject_id").agg(
        pl.col("task_id").drop_nulls().first(),
        pl.col("weight").mean(),
        is_mine=(pl.col("by") == by).any(),
    )
    others = told.filter(~pl.col("is_mine")).with_columns(purpose=pl.lit("agree"))
    order = others.sort(_hash_column(others["subject_id"], f"again {seed}"))
    return order.head(number).select(pl.col(name).cast(dtype) for name, dtype in SAMPLE.items())


def _prepared(judged: pl.DataFrame, labelled: Collection[str], seed: int) -> pl.DataFrame:
    """The rows with their place in the order, their half, and whether they are labelled."""
    held = judged.sort("subject_id").with_columns(pl.col("task_id").fill_null(pl.col("subject_id")))
    return held.with_columns(
        _hash_column(held["subject_id"], f"row {seed}").alias("_row_rank"),
        _hash_column(held["task_id"], f"task {seed}").alias("_task_rank"),
        _certifies=certifying(pl.col("task_id")),
        _labelled=pl.col("subject_id").is_in(list(labelled)),
    )


def _one_of_each_task(rows: pl.DataFrame) -> pl.DataFrame:
    """One row of each task of which none is labelled, with its weight; tasks in order of their hash."""
    mean = rows.height / max(rows["task_id"].n_unique(), 1)
    return (
        rows.with_columns(weight=pl.len().over("task_id") / mean, _is_done=pl.col("_labelled").any().over("task_id"))
        .filter(~pl.col("_is_done"))
        .sort("_task_rank", "_row_rank")
        .unique("task_id", keep="first", maintain_order=True)
    )


def _to_certify(one_each: pl.DataFrame, number: int) -> pl.DataFrame:
    return one_each.head(number).select("subject_id", "task_id", "weight", purpose=pl.lit("certify"))


def _to_fit(rows: pl.DataFrame, number: int) -> pl.DataFrame:
    """Rows of each stratum in order of their hash, the strata filled evenly; weights by what has been drawn so far."""
    strata = rows.with_columns(_band=_bands(rows["score"]), _source=pl.col("source").fill_null(""))
    if strata.select(_STRATUM).n_unique() > max(number, 1):
        # more strata than rows to draw: bands count for more, for low scores are what is rare
        strata = strata.with_columns(_source=pl.lit(""))
    counts = strata.group_by(_STRATUM).agg(_size=pl.len(), _done=pl.col("_labelled").sum()).sort(_STRATUM)
    open_ = (counts["_size"] - counts["_done"]).to_numpy()
    counts = counts.with_columns(_drawn=pl.Series(_filled_evenly(open_, number), dtype=pl.Int64))
    total = int(counts.select((pl.col("_drawn") + pl.col("_done")).sum()).item())
    stands_for = pl.col("_size") / (pl.col("_drawn") + pl.col("_done"))
    return (
        strata.filter(~pl.col("_labelled"))
        .join(counts, on=_STRATUM, how="left", maintain_order="left")
        .sort("_row_rank")
        .with_columns(_place=pl.int_range(pl.len()).over(_STRATUM))
        .filter(pl.col("_place") < pl.col("_drawn"))
        .select(
            "subject_id",
            "task_id",
            weight=stands_for * total / max(rows.height, 1),
            purpose=pl.lit("fit"),
        )
    )


def _bands(scores: pl.Series) -> pl.Series:
    """Bands of equal width over the scores that occur; not equally full ones, in which rare scores stay rare."""
    known = scores.drop_nulls()
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)  # pyright: ignore[reportArgumentType]  # a number column
    if high <= low:
        return pl.Series(np.where(scores.is_null().to_numpy(), _NO_SCORE, 0))
    width = (high - low) / _BANDS
    band = ((scores - low) / width).floor().clip(0, _BANDS - 1)
    return band.fill_null(_NO_SCORE).cast(pl.Int64)


def _filled_evenly(room: np.ndarray, number: int) -> np.ndarray:
    """How many of each stratum: as equal as room allows, int64, summing to `number` or to all there is."""
    taken = np.zeros(len(room), np.int64)
    left = min(number, int(room.sum()))
    while left:
        hungry = np.flatnonzero(taken < room)
        share = max(left // len(hungry), 1)
        for place in hungry[:left]:
            more = min(share, int(room[place] - taken[place]))
            taken[place] += more
            left -= more
    return taken


def _shared(number: int, certify: int, fit: int) -> tuple[int, int]:
    """How many of each half: equally many, as far as there are so many."""
    first = min(certify, max(math.ceil(number / 2), number - fit))
    return first, min(fit, number - first)


def _hash_column(names: pl.Series, salt: str) -> pl.Series:
    """A number for each name, the same in every version of every library."""
    return pl.Series("_hash", [_hash(salt, name) for name in names.to_list()], pl.UInt64)


def _hash(salt: str, name: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{salt}\0{name}".encode(), digest_size=8).digest())
