"""A day's raw files as the trajectories table: every record one row."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from pipeline.answers.joining import join_answers, read_answers
from pipeline.config import CurationConfig
from pipeline.curation.summary import Progress, Summary, silent
from pipeline.landing.identity import UniqueIds
from pipeline.landing.reading import read_records
from pipeline.landing.rows import Row, batches, rows_of
from pipeline.landing.zone import answers_files, partition_files, source_of
from pipeline.ledger import decisions_of, record
from pipeline.privacy.redaction import redact_text
from pipeline.schema import TRAJECTORIES
from pipeline.store import TableStore
from pipeline.tasks import task_id_of
from pipeline.tokens import TokenCounter
from pipeline.tombstones import read_tombstones

MAX_SHARD_ROWS = 10_000
MAX_SHARD_BYTES = 48 * 2**20
"""Text of one shard; screening holds a few times this in memory."""


def write_trajectories(
    store: TableStore, day: str, config: CurationConfig, *, progress: Progress = silent
) -> Summary:
    """Write the day's trajectories and their decisions from the landing zone.

    Raises AnswersError if an answers file beside the traces cannot be joined, ConfigError for a bad tokenizer path.
    """
    raw = store.root / "raw"
    files = partition_files(raw, day)
    answers = [(path, read_answers(path)) for path in answers_files(raw, day)]
    counter = TokenCounter(config.parse.tokenizer)
    counts: Counter[str] = Counter()
    formats: Counter[str] = Counter()
    matched: Counter[str] = Counter()
    decided: list[pl.DataFrame] = []
    rows = _rows(raw, files, config, read_tombstones(store), progress)
    versions = {"parser": PARSER_VERSION}
    with store.writing("trajectories", day) as writer:
        for frame in batches(rows, counter, max_rows=MAX_SHARD_ROWS, max_bytes=MAX_SHARD_BYTES):
            for path, table in answers:
                frame, joined = _join(frame, table, source_of(raw, path))
                matched[path.name] += joined
            frame = frame.with_columns(task_id=task_id_of(pl.col("prompt"), pl.col("tools")))
            marked = frame.filter(pl.col("reason").is_not_null()).with_columns(
                evidence=pl.col("evidence").map_elements(redact_text, return_dtype=pl.String)
            )
            decided.append(
                decisions_of(
                    marked.select("trajectory_id", "reason", "evidence"),
                    stage="trajectories",
                    day=day,
                    config_hash=config.content_hash(),
                    versions=versions,
                )
            )
            counts.update(frame["reason"].cast(pl.String).fill_null("keep").to_list())
            formats.update(frame["format"].to_list())
            writer.write_shard(frame.select(pl.col(name).cast(dtype) for name, dtype in TRAJECTORIES.items()))
            progress(f"trajectories {day}: {writer.num_rows} rows in {len(writer.shards)} shards")
        if not writer.shards:
            writer.write_shard(pl.DataFrame(schema=TRAJECTORIES))
        writer.facts = {"config_hash": config.content_hash(), "versions": versions, "files": len(files)}
        rows_in = writer.num_rows
    record(store, pl.concat(decided) if decided else _no_decisions(day, config, versions), stage="trajectories", day=day)
    facts = {"files": len(files), "rows_by_format": dict(sorted(formats.items()))}
    if answers:
        facts["answers_matched"] = dict(matched)
    return Summary("trajectories", day, rows_in, dict(sorted(counts.items())), facts)


PARSER_VERSION = "1"
"""Raise it when a parser changes what it reads out of the same record."""


def _rows(
    raw: Path, files: list[Path], config: CurationConfig, purged: set[str], progress: Progress
) -> Iterator[Row]:
    ids = UniqueIds()
    for number, path in enumerate(files, start=1):
        records = read_records(path, max_record_bytes=config.parse.max_record_bytes)
        relative = path.relative_to(raw).as_posix()
        yield from rows_of(records, source=source_of(raw, path), raw_path=relative, ids=ids, purged=purged)
        if number % 100 == 0 or path.stat().st_size > 2**26:
            progress(f"read {number} of {len(files)} files")


def _join(frame: pl.DataFrame, answers: pl.DataFrame, source: str) -> tuple[pl.DataFrame, int]:
    """The frame with the answers of `source` filled in, and how many rows they reached."""
    joined, counts = join_answers(frame.lazy(), answers, source=source)
    return joined.collect(), counts.matched


def _no_decisions(day: str, config: CurationConfig, versions: dict[str, str]) -> pl.DataFrame:
    empty = pl.DataFrame(schema={"trajectory_id": pl.String, "reason": TRAJECTORIES["reason"], "evidence": pl.String})
    return decisions_of(empty, stage="trajectories", day=day, config_hash=config.content_hash(), versions=versions)
