"""Marking by faults that are found at another grain (messages, calls) than the row's."""

from collections.abc import Callable, Mapping, Sequence

import polars as pl

from pipeline.frames import mark
from pipeline.reasons import Reason

ROW = "row"
"""Key of the frames a finder reads and returns: the row's position in its batch."""

_FAULT = "_fault"
_TOLD = "_told"

Dtype = pl.DataType | type[pl.DataType]


def mark_faults(
    trajectories: pl.LazyFrame,
    find: Callable[[pl.DataFrame], pl.DataFrame],
    *,
    reads: Sequence[str],
    evidence: Mapping[str, Dtype],
    reason: Reason,
    unknown: Reason | None = None,
) -> pl.LazyFrame:
    """Write `reason` on the rows `find` reports as failed, with the columns it tells as evidence.

    `find` takes the rows still in (`reads` and `row`) and returns at most one row for each: `row`, `failed` (null: it
    cannot be decided, which means `unknown`) and the `evidence` columns. A row it does not report passes.
    The work runs as one elementwise expression and not as a self-join, because a chain of gates that each join their
    input to itself doubles the query plan with every gate.
    """
    columns = {"failed": pl.Boolean, **evidence}
    dtype = pl.Struct(columns)

    def judge(batch: pl.Series) -> pl.Series:
        rows = batch.struct.unnest().with_row_index(ROW)
        waiting = rows.filter(pl.col("reason").is_null()).drop("reason")
        found = find(waiting) if waiting.height else pl.DataFrame(schema={ROW: pl.UInt32, **columns})
        found = found.select(ROW, *(pl.col(name).cast(column) for name, column in columns.items()))
        found = found.with_columns(pl.lit(value=True).alias(_TOLD))
        told = rows.select(ROW).join(found, on=ROW, how="left", maintain_order="left")
        failed = pl.when(pl.col(_TOLD)).then("failed").otherwise(pl.lit(value=False))
        return told.select(pl.struct(failed.alias("failed"), *evidence).alias(batch.name)).to_series()

    fault = pl.struct("reason", *reads).map_batches(judge, return_dtype=dtype, is_elementwise=True)
    return mark(
        trajectories.with_columns(fault.alias(_FAULT)),
        pl.col(_FAULT).struct.field("failed"),
        reason,
        unknown=unknown,
        evidence=pl.struct(pl.col(_FAULT).struct.field(name) for name in evidence),
    ).drop(_FAULT)


def first_per_row(faults: pl.DataFrame) -> pl.DataFrame:
    """The first fault of each row, with `num_faults`; the faults must stand in order."""
    return faults.with_columns(num_faults=pl.len().over(ROW)).unique(ROW, keep="first", maintain_order=True)
