"""A day's trajectories through the screening gates, then against every earlier row for duplicates."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.config import CurationConfig
from pipeline.curation.evidence import with_redacted_evidence
from pipeline.curation.staleness import INDEX_ASSET, earlier_index
from pipeline.curation.summary import Progress, Summary, silent
from pipeline.dedup.benchmarks import benchmark_ngrams
from pipeline.dedup.lookup import find_duplicates, outdated_days, relevant_entries, relevant_version
from pipeline.dedup.signatures import INDEX, fingerprint, index_scheme
from pipeline.ledger import decisions_of, record
from pipeline.reviews import read_reviews
from pipeline.schema import SCREENED
from pipeline.screening import screen_rows
from pipeline.stages.duplicates import mark_duplicate, mark_near_duplicate
from pipeline.stages.fingerprint import comparison_text, image_references
from pipeline.store import TableStore


@dataclass(slots=True)
class Screening:
    """What one pass over a day's shards leaves for the second: marked shards on disk, and the day's index rows."""

    folder: Path
    parts: list[Path] = field(default_factory=list)
    index: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=INDEX))
    rows_in: int = 0


def write_screened(store: TableStore, day: str, config: CurationConfig, *, progress: Progress = silent) -> Summary:
    """Write the day's screened rows, its duplicate index and its decisions.

    Raises MissingTableError if the day has no trajectories, ConfigError for a benchmark that cannot be read.
    """
    counts: Counter[str] = Counter()
    decided: list[pl.DataFrame] = []
    shards = store.shards("trajectories", day)
    config_hash = config.content_hash()
    with store.writing("screened", day) as writer:
        screening = screen_shards(shards, day, config, read_reviews(store), writer.folder, progress)
        earlier = earlier_index(store, day)
        entries = relevant_entries(screening.index, earlier)
        version = relevant_version(screening.index, entries.lazy())
        versions = {"duplicate_index": version}
        with store.writing(INDEX_ASSET, day) as index_writer:
            index_writer.write_shard(screening.index)
        for marked in finish_shards(screening, entries.lazy(), config):
            told = with_redacted_evidence(marked)
            decided.append(decisions_of(told, stage="screened", day=day, config_hash=config_hash, versions=versions))
            counts.update(marked["reason"].cast(pl.String).fill_null("keep").to_list())
            writer.write_shard(marked.select(pl.col(name).cast(dtype) for name, dtype in SCREENED.items()))
        writer.facts = {"config_hash": config_hash, "versions": versions}
    record(store, pl.concat(decided), stage="screened", day=day)
    facts: dict[str, Any] = {"duplicate_index_version": version}
    outdated = outdated_days(earlier, index_scheme(config.duplicates))
    if outdated:
        facts["days_without_near_duplicates"] = (
            f"indexed under other settings, screen them again: {', '.join(outdated)}"
        )
        progress(f"screened {day}: near duplicates of {', '.join(outdated)} were not looked for (other index settings)")
    return Summary("screened", day, screening.rows_in, dict(sorted(counts.items())), facts)


def screen_shards(
    shards: Iterable[Path], day: str, config: CurationConfig, reviews: pl.DataFrame, folder: Path, progress: Progress
) -> Screening:
    """First pass: every gate that needs no other row, one shard in memory at a time; marked shards lie in `folder`.

    Rows that came in with a reason (unparsable, not a trace) keep it and their evidence stays with their stage.
    """
    screening = Screening(folder)
    benchmarks = benchmark_ngrams(config.contamination)
    index: list[pl.DataFrame] = []
    for number, shard in enumerate(shards):
        rows = pl.read_parquet(shard)
        screening.rows_in += rows.height
        marked = screen_rows(rows, config, benchmarks=benchmarks, reviews=reviews)
        path = folder / f"marked-{number:05d}.parquet"
        marked.write_parquet(path, compression="lz4")
        screening.parts.append(path)
        kept = marked.lazy().filter(pl.col("reason").is_null())
        texts = kept.select("trajectory_id", text=comparison_text(), images=image_references()).collect()
        index.append(fingerprint(texts, day, config.duplicates))
        progress(f"screened {day}: {screening.rows_in} rows")
    if index:
        screening.index = pl.concat(index).sort("trajectory_id")
    return screening


def finish_shards(screening: Screening, earlier: pl.LazyFrame, config: CurationConfig) -> Iterator[pl.DataFrame]:
    """Second pass: the marked shards with duplicates marked as well; each is removed from disk once it is read."""
    matches = find_duplicates(screening.index, earlier, config.duplicates)
    for path in screening.parts:
        marked = pl.read_parquet(path).lazy()
        yield mark_near_duplicate(mark_duplicate(marked, matches), matches).collect()
        path.unlink()
