"""A day's replayed trajectories with what a policy can do of their tasks without tools."""

from collections import Counter

import polars as pl

from pipeline.config import CurationConfig
from pipeline.curation.attempted_rows import Attempting
from pipeline.curation.evidence import with_redacted_evidence
from pipeline.curation.summary import Progress, Summary, silent
from pipeline.ledger import decisions_of, record
from pipeline.rollouts.attempts import Attempts
from pipeline.schema import ATTEMPTED
from pipeline.store import TableStore

ATTEMPTS_ASSET = "attempts"
"""The table beside `attempted`: one row per attempt."""
_SHARD_ROWS = 10_000


def write_attempted(
    store: TableStore, day: str, config: CurationConfig, *, attempts: Attempts | None, progress: Progress = silent
) -> Summary:
    """Write the day's attempted rows, every attempt, and the day's decisions; without a policy every row passes.

    Each task of the day is attempted once, whatever shards its rows stand in. A run that was killed goes on where it
    was: what has been answered is in the cache.
    Raises MissingTableError if the day has not been replayed, ModelServerError if no policy can be had;
    PolicyDownError, after everything is written, if it died on the way.
    """
    counts: Counter[str] = Counter()
    decided: list[pl.DataFrame] = []
    rows_in = 0
    config_hash = config.content_hash()
    shards = store.shards("replayed", day)
    attempting = Attempting.of(config, attempts)
    asked = attempting.ask(pl.scan_parquet(shards), lambda line: progress(f"attempted {day}: {line}"))
    with store.writing("attempted", day) as writer, store.writing(ATTEMPTS_ASSET, day) as attempts_writer:
        for shard in shards:
            rows = pl.read_parquet(shard)
            marked = attempting.mark(rows, asked)
            rows_in += rows.height
            decided.append(with_redacted_evidence(marked))
            counts.update(marked["reason"].cast(pl.String).fill_null("keep").to_list())
            writer.write_shard(marked.select(pl.col(name).cast(dtype) for name, dtype in ATTEMPTED.items()))
        for first in range(0, max(1, asked.height), _SHARD_ROWS):
            attempts_writer.write_shard(asked.slice(first, _SHARD_ROWS))
        writer.facts = attempts_writer.facts = {"config_hash": config_hash, "versions": attempting.versions}
    ledger = [
        decisions_of(told, stage="attempted", day=day, config_hash=config_hash, versions=attempting.versions)
        for told in decided
    ]
    record(store, pl.concat(ledger), stage="attempted", day=day)
    attempting.require_alive(day)
    return Summary("attempted", day, rows_in, dict(sorted(counts.items())), attempting.facts())
