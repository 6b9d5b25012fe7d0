"""A day's attempted trajectories with what the judge said of them."""

from collections import Counter

import polars as pl

from pipeline.config import CurationConfig
from pipeline.curation.evidence import with_redacted_evidence
from pipeline.curation.judged_rows import Judging
from pipeline.curation.summary import Progress, Summary, silent
from pipeline.judging.judge import Judge
from pipeline.ledger import decisions_of, record
from pipeline.reviews import read_reviews
from pipeline.schema import JUDGED, VERDICTS
from pipeline.screening import apply_reviews
from pipeline.store import TableStore

VERDICTS_ASSET = "verdicts"
"""The table beside `judged`: one row per question."""


def write_judged(
    store: TableStore, day: str, config: CurationConfig, *, judge: Judge | None, progress: Progress = silent
) -> Summary:
    """Write the day's judged rows, every verdict, and the day's decisions.

    A run that was killed goes on where it was: what has been answered is in the cache.
    Raises MissingTableError if the day has not been attempted, RubricError, CalibrationError, ModelServerError if no
    judge can be had; JudgeUnavailableError, after everything is written, if it died on the way.
    """
    counts: Counter[str] = Counter()
    decided: list[pl.DataFrame] = []
    rows_in = 0
    config_hash = config.content_hash()
    shards = store.shards("attempted", day)
    reviews = read_reviews(store)
    judging = Judging.of(store, "trajectories", config, judge)
    with store.writing("judged", day) as writer, store.writing(VERDICTS_ASSET, day) as verdicts_writer:
        for shard in shards:
            rows = pl.read_parquet(shard)
            marked, verdicts = judging.mark(rows, progress)
            if reviews.height:
                marked = apply_reviews(marked.lazy(), reviews, stage="judged").collect()
            rows_in += rows.height
            decided.append(with_redacted_evidence(marked))
            counts.update(marked["reason"].cast(pl.String).fill_null("keep").to_list())
            verdicts_writer.write_shard(verdicts.select(list(VERDICTS)))
            writer.write_shard(marked.select(pl.col(name).cast(dtype) for name, dtype in JUDGED.items()))
        writer.facts = verdicts_writer.facts = {"config_hash": config_hash, "versions": judging.versions}
    ledger = [
        decisions_of(told, stage="judged", day=day, config_hash=config_hash, versions=judging.versions)
        for told in decided
    ]
    record(store, pl.concat(ledger), stage="judged", day=day)
    judging.require_alive(day, "judged")
    return Summary("judged", day, rows_in, dict(sorted(counts.items())), judging.facts())
