"""Tombstones: which raw records a person asked to have deleted, so that they never come back."""

from datetime import UTC, datetime

import polars as pl

from pipeline.store import TableStore, write_frame

TOMBSTONES = {"raw_id": pl.String, "purged_at": pl.String, "why": pl.String}


def read_tombstones(store: TableStore) -> set[str]:
    """The hashes of purged raw records."""
    path = store.root / "state" / "tombstones.parquet"
    return set(pl.read_parquet(path)["raw_id"].to_list()) if path.exists() else set()


def add_tombstones(store: TableStore, raw_ids: set[str], why: str) -> None:
    """Record that these raw records are purged; a tombstone that is there stays as it is."""
    path = store.root / "state" / "tombstones.parquet"
    with store.lock("tombstones"):
        stood = pl.read_parquet(path) if path.exists() else pl.DataFrame(schema=TOMBSTONES)
        new = sorted(raw_ids - set(stood["raw_id"].to_list()))
        now = datetime.now(UTC).isoformat(timespec="seconds")
        added = pl.DataFrame({"raw_id": new, "purged_at": [now] * len(new), "why": [why] * len(new)}, schema=TOMBSTONES)
        write_frame(path, pl.concat([stood, added]).sort("raw_id"))
