"""A person's answers to the rows that wait for one: kept apart from the tables, an input of the next screening."""

from datetime import UTC, datetime

import polars as pl

from pipeline.ledger import scan_decisions
from pipeline.reasons import Kind
from pipeline.screening import REVIEWS
from pipeline.store import TableStore, write_frame


def read_reviews(store: TableStore) -> pl.DataFrame:
    """Every answer given so far: the latest per trajectory and reason."""
    path = store.root / "state" / "reviews.parquet"
    return pl.read_parquet(path) if path.exists() else pl.DataFrame(schema=REVIEWS)


def waiting(store: TableStore, days: list[str] | None = None) -> pl.DataFrame:
    """Decisions of kind review that no answer has been given to, earliest day first."""
    answered = read_reviews(store).lazy().select("trajectory_id", pl.col("reason").alias("reason_text"))
    return (
        scan_decisions(store, days)
        .filter(pl.col("kind") == Kind.REVIEW.value)
        .with_columns(reason_text=pl.col("reason").cast(pl.String))
        .join(answered, on=["trajectory_id", "reason_text"], how="anti")
        .sort("day", "stage", "trajectory_id")
        .drop("reason_text")
        .collect()
    )


def answer(store: TableStore, trajectory_id: str, reason: str, verdict: str, by: str) -> None:
    """Record `keep` or `drop` for a row that waits under `reason`; a later answer replaces an earlier one."""
    path = store.root / "state" / "reviews.parquet"
    with store.lock("reviews"):
        stood = read_reviews(store).filter(~((pl.col("trajectory_id") == trajectory_id) & (pl.col("reason") == reason)))
        now = datetime.now(UTC).isoformat(timespec="seconds")
        row = pl.DataFrame([[trajectory_id], [reason], [verdict], [by], [now]], schema=REVIEWS)
        write_frame(path, pl.concat([stood, row]).sort("trajectory_id", "reason"))


def forget_reviews(store: TableStore, trajectory_ids: set[str]) -> None:
    """Remove every answer about these trajectories."""
    path = store.root / "state" / "reviews.parquet"
    with store.lock("reviews"):
        if path.exists():
            write_frame(path, read_reviews(store).filter(~pl.col("trajectory_id").is_in(list(trajectory_ids))))
