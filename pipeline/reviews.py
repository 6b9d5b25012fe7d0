"""A person's answers to the rows that wait for one: kept apart from the tables, an input of the next screening."""

from datetime import UTC, datetime

import polars as pl

from pipeline.ledger import scan_decisions
from pipeline.reasons import Kind
from pipeline.screening import REVIEWS
from pipeline.store import TableStore, write_frame


def read_reviews(store: TableStore) -> pl.DataFrame:
    """Every answer given so far: the latest per trajectory, stage and reason."""
    path = store.root / "state" / "reviews.parquet"
    return pl.read_parquet(path) if path.exists() else pl.DataFrame(schema=REVIEWS)


def waiting(store: TableStore, days: list[str] | None = None) -> pl.DataFrame:
    """Decisions of kind review that no answer has been given to, earliest day first."""
    answered = read_reviews(store).lazy().select("trajectory_id", "stage", pl.col("reason").alias("reason_text"))
    return (
        scan_decisions(store, days)
        .filter(pl.col("kind") == Kind.REVIEW.value)
        .with_columns(reason_text=pl.col("reason").cast(pl.String))
        .join(answered, on=["trajectory_id", "stage", "reason_text"], how="anti")
        .sort("day", "stage", "trajectory_id")
        .drop("reason_text")
        .collect()
    )


def answer(store: TableStore, trajectory_id: str, stage: str, reason: str, verdict: str, by: str) -> None:
    """Record `keep` or `drop` for a row that waits in `stage` under `reason`; a later answer replaces this one."""
    path = store.root / "state" / "reviews.parquet"
    with store.lock("reviews"):
        asked = {"trajectory_id": trajectory_id, "stage": stage, "reason": reason}
        same = pl.all_horizontal(pl.col(name) == value for name, value in asked.items())
        stood = read_reviews(store).filter(~same)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        row = pl.DataFrame({**asked, "answer": verdict, "by": by, "at": now}, schema=REVIEWS)
        write_frame(path, pl.concat([stood, row]).sort("trajectory_id", "stage", "reason"))


def forget_reviews(store: TableStore, trajectory_ids: set[str]) -> None:
    """Remove every answer about these trajectories."""
    path = store.root / "state" / "reviews.parquet"
    with store.lock("reviews"):
        if path.exists():
            write_frame(path, read_reviews(store).filter(~pl.col("trajectory_id").is_in(list(trajectory_ids))))
