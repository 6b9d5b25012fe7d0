"""The decisions ledger: one row per trajectory a stage put out, with its evidence and the versions that decided.

`tables/decisions/day=<D>/<stage>.parquet` holds what stands; a decision that no longer does is kept, under the hash
of its content, in `tables/decisions_history/day=<D>/`.
"""

from pathlib import Path

import orjson
import polars as pl

from pipeline.reasons import kind_of
from pipeline.schema import DECISIONS
from pipeline.store import TableStore, file_hash, write_frame


def decisions_of(
    marked: pl.DataFrame, *, stage: str, day: str, config_hash: str, versions: dict[str, str]
) -> pl.DataFrame:
    """The ledger rows of a stage's marked frame (trajectory_id, reason, evidence): those whose reason is set."""
    return (
        marked.lazy()
        .filter(pl.col("reason").is_not_null())
        .select(
            "trajectory_id",
            pl.lit(stage).alias("stage"),
            "reason",
            kind_of(pl.col("reason")).alias("kind"),
            pl.col("evidence").fill_null("{}"),
            pl.lit(config_hash).alias("config_hash"),
            pl.lit(orjson.dumps(versions, option=orjson.OPT_SORT_KEYS).decode()).alias("versions"),
            pl.lit(day).alias("day"),
        )
        .cast(DECISIONS)  # pyright: ignore[reportArgumentType]
        .sort("trajectory_id")
        .collect()
    )


def record(store: TableStore, decisions: pl.DataFrame, *, stage: str, day: str) -> None:
    """Make `decisions` what stands for (day, stage); what stood before and differs goes to the history."""
    current = _current(store, stage, day)
    if current.exists():
        stood = pl.read_parquet(current)
        if stood.equals(decisions):
            return
        version = file_hash(current)[:12]
        write_frame(_history(store, day) / f"{stage}-{version}.parquet", stood)
    write_frame(current, decisions)


def scan_decisions(store: TableStore, days: list[str] | None = None) -> pl.LazyFrame:
    """The decisions that stand, of the named days or of all."""
    folders = [store.folder("decisions", day) for day in (days if days is not None else store.days("decisions"))]
    files = [path for folder in folders for path in sorted(folder.glob("*.parquet"))]
    return pl.scan_parquet(files) if files else pl.LazyFrame(schema=DECISIONS)


def scan_history(store: TableStore) -> pl.LazyFrame:
    """Decisions that stood once, with `version`, the hash of the ledger file they stood in."""
    files = sorted((store.tables / "decisions_history").glob("day=*/*.parquet"))
    if not files:
        return pl.LazyFrame(schema={**DECISIONS, "version": pl.String})
    return pl.concat(
        [pl.scan_parquet(path).with_columns(version=pl.lit(path.stem.rsplit("-", 1)[1])) for path in files]
    )


def _current(store: TableStore, stage: str, day: str) -> Path:
    return store.folder("decisions", day) / f"{stage}.parquet"


def _history(store: TableStore, day: str) -> Path:
    return store.tables / "decisions_history" / f"day={day}"
