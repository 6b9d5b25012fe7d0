"""What every gate shares: marking rows with a reason, and holding a frame to its schema."""

from collections.abc import Mapping

import polars as pl

from pipeline.errors import SchemaMismatchError
from pipeline.reasons import REASON_DTYPE, Reason

EVIDENCE_DTYPE = pl.String


def mark(
    lf: pl.LazyFrame,
    failed: pl.Expr,
    reason: Reason,
    *,
    unknown: Reason | None = None,
    evidence: pl.Expr | None = None,
) -> pl.LazyFrame:
    """Write `reason` where `failed` holds, `unknown` (None: pass) where it is null, unless an earlier gate spoke.

    Grain: one row per trajectory, kept, in order.
    Reads: reason Enum; evidence String (JSON), null where reason is null.
    Writes: reason, and evidence as the JSON text of `evidence` (a struct expression) on the rows marked here.
    """
    spoken = pl.col("reason").is_not_null()
    label = (
        pl.when(failed.is_null())
        .then(pl.lit(None if unknown is None else unknown.value, REASON_DTYPE))
        .when(failed)
        .then(pl.lit(reason.value, REASON_DTYPE))
    )
    told = pl.lit("{}") if evidence is None else evidence.struct.json_encode()
    return lf.with_columns(
        reason=pl.coalesce("reason", label),
        evidence=pl.when(spoken).then("evidence").when(label.is_not_null()).then(told),
    )


def require_columns(lf: pl.LazyFrame, wanted: Mapping[str, pl.DataType | type[pl.DataType]], *, where: str) -> None:
    """Raise SchemaMismatchError naming every column that is missing or has another dtype."""
    found = lf.collect_schema()
    faults = [
        f"{name}: want {dtype}, found {found.get(name, 'no such column')}"
        for name, dtype in wanted.items()
        if found.get(name) != dtype
    ]
    if faults:
        message = f"{where}: {'; '.join(faults)}; materialise the stage before it again"
        raise SchemaMismatchError(message)


def count_reasons(lf: pl.LazyFrame) -> dict[str, int]:
    """Rows per reason, `keep` for those still in, in order of name."""
    counts = (
        lf.group_by(pl.col("reason").cast(pl.String).fill_null("keep").alias("reason"))
        .agg(pl.len().alias("rows"))
        .sort("reason")
        .collect()
    )
    return dict(zip(counts["reason"].to_list(), counts["rows"].to_list(), strict=True))
