"""The split of every task, kept for good: what was held out once never trains, nor does what resembles it."""

import polars as pl

from pipeline.config import CurationConfig
from pipeline.dedup.clusters import SPLITS, assign_splits, cluster_tasks
from pipeline.store import TableStore, write_frame


def read_splits(store: TableStore) -> pl.DataFrame:
    """Every task's split so far."""
    path = store.root / "sets" / "splits.parquet"
    return pl.read_parquet(path) if path.exists() else pl.DataFrame(schema=SPLITS)


def update_splits(store: TableStore, config: CurationConfig) -> pl.DataFrame:
    """Deal every task of every screened day a split and keep it; SFT, RL and evaluation all read this one table.

    A task keeps the split it has. A task that left the tables keeps its row, so that it stays held out if it returns.
    """
    with store.lock("splits"):
        previous = read_splits(store)
        seen = store.scan_days("screened", store.days("screened"))
        if seen is None:
            return previous
        tasks = (
            seen.filter(pl.col("task_id").is_not_null() & pl.col("prompt").is_not_null())
            .group_by("task_id")
            .agg(pl.col("prompt").min())
            .sort("task_id")
            .collect(engine="streaming")
        )
        dealt = assign_splits(cluster_tasks(tasks, config.duplicates), previous, config.split)
        gone = previous.join(dealt, on="task_id", how="anti")
        splits = pl.concat([dealt, gone.select(dealt.columns)]).sort("task_id")
        if not splits.equals(previous):
            write_frame(store.root / "sets" / "splits.parquet", splits)
        return splits


def forget_tasks(store: TableStore, task_ids: set[str]) -> None:
    """Remove these tasks' splits: their last trajectory was purged."""
    path = store.root / "sets" / "splits.parquet"
    with store.lock("splits"):
        if task_ids and path.exists():
            write_frame(path, read_splits(store).filter(~pl.col("task_id").is_in(list(task_ids))))
