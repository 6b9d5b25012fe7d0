"""A day's raw files as the trajectories table: every record one row."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from pipeline.answers.joining import join_answers
from pipeline.answers.reading import read_answers
from pipeline.config import CurationConfig
from pipeline.curation.evidence import with_redacted_evidence
from pipeline.curation.summary import Progress, Summary, silent
from pipeline.landing.identity import UniqueIds
from pipeline.landing.reading import RawRecord, read_records
from pipeline.landing.rows import Row, batches, rows_of
from pipeline.landing.zone import answers_files, partition_files, source_of
from pipeline.ledger import decisions_of, record
from pipeline.schema import TRAJECTORIES
from pipeline.store import TableStore
from pipeline.tasks import task_id_of
from pipeline.tokens import TokenCounter
from pipeline.tombstones import read_tombstones

MAX_SHARD_ROWS = 10_000
MAX_SHARD_BYTES = 48 * 2**20
"""Text of one shard; screening holds a few times this in memory."""

PARSER_VERSION = "1"
"""Raise it when a parser reads something else out of the same record."""

_ANSWERED = ("ground_truth", "success", "reward", "metadata")


def write_trajectories(store: TableStore, day: str, config: CurationConfig, *, progress: Progress = silent) -> Summary:
    """Write the day's trajectories and their decisions from the landing zone.

    Raises AnswersError if an answers file beside the traces cannot be joined, ConfigError for a bad tokenizer path.
    """
    raw = store.root / "raw"
    files = partition_files(raw, day)
    answers = [(source_of(raw, path), read_answers(path)) for path in answers_files(raw, day)]
    reader = _Reader(raw, files, config, read_tombstones(store), progress)
    counter = TokenCounter(config.parse.tokenizer)
    versions = {"parser": PARSER_VERSION}
    config_hash = config.content_hash()
    parsed: list[Path] = []
    counts: Counter[str] = Counter()
    formats: Counter[str] = Counter()
    decided = [pl.DataFrame(schema={name: TRAJECTORIES.get(name, pl.String) for name in _DECIDED})]
    with store.writing("trajectories", day) as writer:
        for frame in batches(reader.rows(), counter, max_rows=MAX_SHARD_ROWS, max_bytes=MAX_SHARD_BYTES):
            frame = frame.with_columns(task_id=task_id_of(pl.col("prompt"), pl.col("tools")))
            frame = frame.with_columns(pl.col(name).cast(dtype) for name, dtype in TRAJECTORIES.items())
            decided.append(with_redacted_evidence(frame))
            counts.update(frame["reason"].cast(pl.String).fill_null("keep").to_list())
            formats.update(frame["format"].to_list())
            part = frame.select(*TRAJECTORIES)
            if answers:
                parsed.append(writer.folder / f"parsed-{len(parsed):05d}.parquet")
                part.write_parquet(parsed[-1], compression="lz4")
            else:
                writer.write_shard(part)
            progress(f"trajectories {day}: {counts.total()} rows")
        matched = _found_answers(parsed, answers) if parsed else None
        for path in parsed:
            writer.write_shard(_with_answers(pl.read_parquet(path), matched).select(*TRAJECTORIES))
            path.unlink()
        if not writer.shards:
            writer.write_shard(pl.DataFrame(schema=TRAJECTORIES))
        writer.facts = {"config_hash": config_hash, "versions": versions, "files": len(files)}
    told = pl.concat(decided)
    ledger = decisions_of(told, stage="trajectories", day=day, config_hash=config_hash, versions=versions)
    record(store, ledger, stage="trajectories", day=day)
    facts = {"files": len(files), "rows_by_format": dict(sorted(formats.items()))}
    if matched is not None:
        facts["rows_answered"] = matched.height
    return Summary("trajectories", day, reader.num_records, dict(sorted(counts.items())), facts)


_DECIDED = ("trajectory_id", "reason", "evidence")


class _Reader:
    """The rows of a partition's files, and how many raw records they were made of."""

    def __init__(
        self, raw: Path, files: list[Path], config: CurationConfig, purged: set[str], progress: Progress
    ) -> None:
        self.num_records = 0
        self._raw, self._files, self._config, self._purged, self._progress = raw, files, config, purged, progress

    def rows(self) -> Iterator[Row]:
        """One row per record, files in order of path."""
        ids = UniqueIds()
        for number, path in enumerate(self._files, start=1):
            relative = path.relative_to(self._raw).as_posix()
            source = source_of(self._raw, path)
            yield from rows_of(self._counted(path), source=source, raw_path=relative, ids=ids, purged=self._purged)
            if number % 100 == 0:
                self._progress(f"read {number} of {len(self._files)} files")

    def _counted(self, path: Path) -> Iterator[RawRecord]:
        for raw_record in read_records(path, max_record_bytes=self._config.parse.max_record_bytes):
            self.num_records += 1
            yield raw_record


def _found_answers(parsed: list[Path], answers: list[tuple[str, pl.DataFrame]]) -> pl.DataFrame:
    """What the answers files say, per trajectory they reach: trajectory_id and the columns they fill.

    Joined over the partition and not shard by shard: whether an id of the source names one task is seen only so.
    """
    rows = pl.scan_parquet(parsed).select("trajectory_id", "source", "task_id", "prompt", *_ANSWERED)
    found = []
    for source, table in answers:
        mine = rows.filter(pl.col("source") == source)
        joined, _counts = join_answers(mine, table)
        before = mine.select("trajectory_id", *(pl.col(name).alias(f"{name}_before") for name in _ANSWERED))
        changed = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_before")) for name in _ANSWERED)
        both = joined.join(before, on="trajectory_id", how="left").filter(changed)
        found.append(both.select("trajectory_id", *_ANSWERED).collect())
    return pl.concat(found).unique("trajectory_id", keep="first", maintain_order=True)


def _with_answers(rows: pl.DataFrame, matched: pl.DataFrame | None) -> pl.DataFrame:
    """The rows with the columns an answers file filled in."""
    if matched is None:
        return rows
    told = matched.rename({name: f"{name}_told" for name in _ANSWERED})
    joined = rows.join(told, on="trajectory_id", how="left", maintain_order="left")
    return joined.with_columns(pl.coalesce(f"{name}_told", name).alias(name) for name in _ANSWERED)
