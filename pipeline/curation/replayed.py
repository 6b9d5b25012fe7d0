"""A day's screened trajectories with their tool calls made again."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.config import CurationConfig
from pipeline.curation.evidence import with_redacted_evidence
from pipeline.curation.summary import Progress, Summary, silent
from pipeline.ledger import decisions_of, record
from pipeline.privacy.redaction import redact_strings
from pipeline.replay.cache import ObservationCache
from pipeline.replay.config import ReplayConfig
from pipeline.replay.plan import plans_of, steps_of
from pipeline.replay.pool import ReplayPool
from pipeline.replay.repair import repairs
from pipeline.replay.table import replays_frame
from pipeline.reviews import read_reviews
from pipeline.schema import REPLAYED, REPLAYS, Verdict
from pipeline.screening import apply_reviews
from pipeline.stages.length import mark_overlong
from pipeline.stages.privacy import find_spans
from pipeline.stages.replayed import mark_replayed
from pipeline.store import TableStore
from pipeline.tokens import TokenCounter

REPLAYS_ASSET = "replays"
"""The table of verdicts beside `replayed`: one row per call."""
_TELL_EVERY_S = 5.0
_QUOTES = ("detail", "recorded", "rerun", "difference")
"""Columns of REPLAYS that quote a trace, redacted as evidence is."""


def write_replayed(store: TableStore, day: str, config: CurationConfig, *, progress: Progress = silent) -> Summary:
    """Write the day's replayed rows, the verdict of every call, and the day's decisions.

    A run that was killed goes on where it was: what has been executed is in the cache.
    Raises MissingTableError if the day has not been screened, SandboxUnavailableError where code would have to run on a
    machine that cannot isolate it.
    """
    counts: Counter[str] = Counter()
    verdicts: Counter[str] = Counter()
    claims: Counter[str] = Counter()
    decided: list[pl.DataFrame] = []
    rows_in = 0
    config_hash = config.content_hash()
    shards = store.shards("screened", day)
    reviews = read_reviews(store)
    with (
        open_pool(store, config.replay) as pool,
        store.writing("replayed", day) as writer,
        store.writing(REPLAYS_ASSET, day) as replays_writer,
    ):
        for shard in shards:
            rows = pl.read_parquet(shard)
            marked, replays = replay_rows(rows, config, pool, reviews=reviews, progress=_of_day(progress, day, rows_in))
            rows_in += rows.height
            decided.append(with_redacted_evidence(marked))
            counts.update(marked["reason"].cast(pl.String).fill_null("keep").to_list())
            by_origin = replays.group_by("origin", "verdict").len()
            for origin, verdict, number in by_origin.iter_rows():
                (claims if origin == "assistant" else verdicts)[verdict] += number
            replays_writer.write_shard(_redacted(replays.select(list(REPLAYS))))
            writer.write_shard(marked.select(pl.col(name).cast(dtype) for name, dtype in REPLAYED.items()))
        versions = {f"environment {name}": version for name, version in sorted(pool.versions.items())}
        writer.facts = replays_writer.facts = {"config_hash": config_hash, "versions": versions}
        executed, cached = pool.num_executed, pool.num_cached
    ledger = [
        decisions_of(told, stage="replayed", day=day, config_hash=config_hash, versions=versions) for told in decided
    ]
    record(store, pl.concat(ledger), stage="replayed", day=day)
    facts: dict[str, Any] = {
        "calls": {verdict.value: verdicts[verdict.value] for verdict in Verdict if verdicts[verdict.value]},
        "invented_observations": {v.value: claims[v.value] for v in Verdict if claims[v.value]},
        "runs_executed": executed,
        "runs_from_cache": cached,
        **versions,
    }
    return Summary("replayed", day, rows_in, dict(sorted(counts.items())), facts)


@contextmanager
def open_pool(store: TableStore, config: ReplayConfig, *, read_only: bool = False) -> Iterator[ReplayPool]:
    """The lanes and the cache of one run, which both end with the block; read-only, the store keeps nothing of it."""
    path = cache_path(store)
    cache = None
    if config.cache_bytes and (path.exists() or not read_only):
        cache = ObservationCache(path, max_bytes=config.cache_bytes, read_only=read_only)
    try:
        with ReplayPool(config, cache) as pool:
            yield pool
    finally:
        if cache is not None:
            cache.close()


def cache_path(store: TableStore) -> Path:
    """Where a store keeps what calls gave."""
    return store.root / "state" / "observations.sqlite"


def replay_rows(
    rows: pl.DataFrame,
    config: CurationConfig,
    pool: ReplayPool,
    *,
    reviews: pl.DataFrame | None = None,
    progress: Progress = silent,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows with reason, evidence and `repaired`, and a row per call as REPLAYS has it, with `observed`.

    Rows that came in with a reason keep it; of those only self-written ones are run, for the evidence.
    """
    is_claimed = pl.lit(value=config.replay.self_written) & (pl.col("reason") == "self_written_observation")
    wanted = rows.filter(pl.col("reason").is_null() | is_claimed)
    steps = steps_of(wanted, config.replay)
    replayed = []
    told_at = time.monotonic()
    for number, each in enumerate(pool.replay(plans_of(wanted, steps)), start=1):
        replayed.append(each)
        if time.monotonic() - told_at > _TELL_EVERY_S:
            told_at = time.monotonic()
            progress(f"{number:,} of at most {wanted.height:,} trajectories")
    replays = replays_frame(steps, replayed)
    fresh = rows.with_columns(evidence=pl.lit(None, pl.String), repaired=pl.lit([], pl.List(pl.UInt32)))
    if config.replay.mismatch == "repair":
        fresh, judged = _repair(fresh, replays, config)
    else:
        judged = replays
    marked = mark_replayed(fresh.lazy(), judged.lazy(), config.replay)
    if config.replay.mismatch == "repair":
        marked = mark_overlong(marked, config.length)  # a true observation may be a long one
    if reviews is not None and reviews.height:
        marked = apply_reviews(marked, reviews, stage="replayed")
    return marked.collect(), replays


def _repair(rows: pl.DataFrame, replays: pl.DataFrame, config: CurationConfig) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows with what can be mended mended, counted and searched anew; the verdicts of the others."""
    mended = repairs(rows.filter(pl.col("reason").is_null()), replays)
    if mended.is_empty():
        return rows, replays
    columns = rows.columns
    changed = rows.drop("messages", "repaired").join(mended, on="trajectory_id", how="inner", maintain_order="left")
    changed = TokenCounter(config.parse.tokenizer).add_num_tokens(changed)
    changed = changed.drop("spans").join(find_spans(changed), on="trajectory_id", how="left", maintain_order="left")
    replaced = pl.concat(
        [rows.join(mended.select("trajectory_id"), on="trajectory_id", how="anti"), changed.select(columns)]
    )
    ordered = rows.select("trajectory_id").join(replaced, on="trajectory_id", how="left", maintain_order="left")
    judged = replays.join(mended.select("trajectory_id"), on="trajectory_id", how="anti", maintain_order="left")
    return ordered.select(columns), judged


def _redacted(replays: pl.DataFrame) -> pl.DataFrame:
    return replays.with_columns(redact_strings(replays[name]).alias(name) for name in _QUOTES)


def _of_day(progress: Progress, day: str, rows_before: int) -> Progress:
    def tell(line: str) -> None:
        progress(f"replayed {day}: {rows_before:,} rows done, then {line}")

    return tell
