"""Which screened days would find other duplicates now, because an earlier day was written since."""

import hashlib

import orjson
import polars as pl

from pipeline.dedup.lookup import relevant_version
from pipeline.dedup.signatures import INDEX
from pipeline.store import TableStore, write_file

INDEX_ASSET = "duplicate_index"
"""The table of fingerprints beside `screened`; a day's holds that day's rows alone."""


def earlier_index(store: TableStore, day: str, asset: str = INDEX_ASSET) -> pl.LazyFrame:
    """The index rows of every earlier day."""
    days = [known for known in store.days(asset) if known < day]
    paths = [path for known in days for path in store.shards(asset, known)]
    return pl.scan_parquet(paths) if paths else pl.LazyFrame(schema=INDEX)


def earlier_fingerprint(store: TableStore, day: str) -> str:
    """Twelve hex digits over the versions of every earlier day's index: while they stay, nothing can be stale."""
    versions = [f"{known}:{store.version(INDEX_ASSET, known)}" for known in store.days(INDEX_ASSET) if known < day]
    return hashlib.sha256("\n".join(versions).encode()).hexdigest()[:12]


def stale_days(store: TableStore) -> list[tuple[str, str]]:
    """Screened days whose duplicate lookup would rest on other rows now than when it was made, with the new version.

    Days are compared only where an earlier index changed at all, and each such comparison is remembered in
    `state/staleness.json`, so that a sensor may ask every few minutes.
    """
    path = store.root / "state" / "staleness.json"
    known: dict[str, list[str]] = orjson.loads(path.read_bytes()) if path.exists() else {}
    fresh: dict[str, list[str]] = {}
    stale = []
    for day in store.days("screened"):
        manifest = store.manifest("screened", day)
        fingerprint = earlier_fingerprint(store, day)
        if manifest is None or manifest["earlier_index"] == fingerprint or not store.has(INDEX_ASSET, day):
            continue
        own = store.version(INDEX_ASSET, day) or ""
        held = known.get(day)
        if held is not None and held[:2] == [fingerprint, own]:
            version = held[2]
        else:
            version = relevant_version(store.scan(INDEX_ASSET, day).collect(), earlier_index(store, day))
        fresh[day] = [fingerprint, own, version]
        if version != manifest["versions"]["duplicate_index"]:
            stale.append((day, version))
    if fresh != known:
        write_file(path, orjson.dumps(fresh))
    return stale
