"""Deleting a trajectory everywhere: landing zone, ledger, reviews, snapshots; tables follow when its days are run again.

The tombstone is written first: from then on no run reads the record again, so that a purge killed half way is finished
by purging once more, and nothing it removed comes back.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import orjson
import polars as pl
import pyarrow.parquet as pq

from pipeline.curation.path import resolve
from pipeline.export.snapshot import read_manifest, snapshots, write_manifest
from pipeline.landing.erase import erase_records
from pipeline.landing.identity import without_suffix
from pipeline.reasons import Reason
from pipeline.reviews import forget_reviews
from pipeline.splits import forget_tasks
from pipeline.store import TableStore, write_file, write_frame
from pipeline.tombstones import add_tombstones

SETS = ("sft", "rl")


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge touched."""

    trajectory_ids: list[str]
    days: list[str]
    """Days to run again: their tables still hold the rows until then."""
    files: list[Path]
    snapshots: list[str]


def purge(store: TableStore, trajectory_ids: Iterable[str], why: str) -> Purged:
    """Remove the trajectories, and every identical record, from all that is not rebuilt by running their days again.

    Raises UnknownTrajectoryError for an id no table holds; nothing is removed then.
    """
    wanted = {without_suffix(resolve(store, each)) for each in trajectory_ids}
    rows = _rows(store, wanted)
    ids = set(rows["trajectory_id"].to_list())
    tasks = set(rows["task_id"].drop_nulls().to_list())
    add_tombstones(store, wanted, why)
    files = _erase_raw(store, rows)
    forget_reviews(store, ids)
    _forget_history(store, ids)
    _forget_ledger(store, ids)
    touched = [folder.name for name in SETS for folder in snapshots(store, name) if _forget_rows(folder, ids)]
    forget_tasks(store, tasks - _tasks_of_others(store, ids))
    return Purged(sorted(ids), sorted(set(rows["day"].to_list())), files, touched)


def _rows(store: TableStore, wanted: set[str]) -> pl.DataFrame:
    """Every row, of any day, made of one of the raw records."""
    held = store.scan_days("trajectories", store.days("trajectories"))
    columns = ["trajectory_id", "task_id", "raw_path", "raw_index", "day", "reason"]
    if held is None:
        return pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
    is_copy = pl.col("trajectory_id").str.split("-").list.first().is_in(list(wanted))
    return held.select(columns).filter(is_copy).sort("day", "trajectory_id").collect()


def _erase_raw(store: TableStore, rows: pl.DataFrame) -> list[Path]:
    """Replace the records in their files by tombstones; the files touched."""
    by_file: dict[str, dict[int, str]] = defaultdict(dict)
    for row in rows.iter_rows(named=True):
        by_file[row["raw_path"]][row["raw_index"]] = row["trajectory_id"]
    touched = []
    for name, records in sorted(by_file.items()):
        path = store.root / "raw" / name
        if path.exists():
            erase_records(path, records)
            touched.append(path)
    return touched


def _forget_history(store: TableStore, ids: set[str]) -> None:
    for path in sorted((store.tables / "decisions_history").glob("day=*/*.parquet")):
        _drop_ids(path, ids)


def _forget_ledger(store: TableStore, ids: set[str]) -> None:
    """Blank the evidence of what stands; the row itself stays until its day is run again and says `purged`."""
    for path in sorted((store.tables / "decisions").glob("day=*/*.parquet")):
        frame = pl.read_parquet(path)
        mine = pl.col("trajectory_id").is_in(list(ids))
        if frame.select(mine.any()).item():
            reason = pl.when(mine).then(pl.lit(Reason.PURGED.value, frame.schema["reason"])).otherwise("reason")
            evidence = pl.when(mine).then(pl.lit("{}")).otherwise("evidence")
            write_frame(path, frame.with_columns(reason=reason, evidence=evidence))


def _drop_ids(path: Path, ids: set[str]) -> None:
    frame = pl.read_parquet(path)
    kept = frame.filter(~pl.col("trajectory_id").is_in(list(ids)))
    if kept.height < frame.height:
        write_frame(path, kept)


def _forget_rows(folder: Path, ids: set[str]) -> bool:
    """Take the rows out of a snapshot's files; its manifest and card then say how many were purged."""
    removed: dict[str, int] = defaultdict(int)
    for path in sorted(folder.glob("data/*.parquet")):
        table = pq.read_table(path)
        mine = [value in ids for value in table.column("trajectory_id").to_pylist()]
        if any(mine):
            aside = path.with_name(f".{path.name}.tmp")
            pq.write_table(table.filter([not hit for hit in mine]), aside, compression="zstd", row_group_size=1000)
            aside.replace(path)
            removed[path.name.rsplit("-", 1)[0]] += sum(mine)
    if not removed:
        return False
    manifest = read_manifest(folder)
    manifest.pop("files", None)
    counts = {split: rows - removed.get(split, 0) for split, rows in manifest["rows_by_split"].items()}
    num_purged = manifest.get("purged", 0) + sum(removed.values())
    write_manifest(folder, {**manifest, "rows_by_split": counts, "purged": num_purged})
    card = folder / "README.md"
    lines = [line for line in card.read_text().splitlines() if not line.startswith("> purged since:")]
    write_file(card, "\n".join([*lines, f"> purged since: {num_purged} rows, {orjson.dumps(counts).decode()} left", ""]).encode())
    return True


def _tasks_of_others(store: TableStore, ids: set[str]) -> set[str]:
    held = store.scan_days("trajectories", store.days("trajectories"))
    if held is None:
        return set()
    others = held.filter(~pl.col("trajectory_id").is_in(list(ids))).select(pl.col("task_id").drop_nulls().unique())
    return set(others.collect()["task_id"].to_list())
