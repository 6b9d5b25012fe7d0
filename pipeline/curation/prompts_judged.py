"""A day's prompts with what the judge said of them."""

import polars as pl

from pipeline.config import CurationConfig
from pipeline.curation.evidence import with_redacted_evidence
from pipeline.curation.judged_rows import Judging
from pipeline.curation.summary import Progress, Summary, silent
from pipeline.frames import count_reasons
from pipeline.judging.judge import Judge
from pipeline.ledger import decisions_of, record
from pipeline.reviews import read_reviews
from pipeline.schema import PROMPTS_JUDGED, VERDICTS
from pipeline.screening import apply_reviews
from pipeline.store import TableStore

PROMPT_VERDICTS_ASSET = "prompt_verdicts"
"""The table beside `prompts_judged`: one row per question."""


def write_prompts_judged(
    store: TableStore, day: str, config: CurationConfig, *, judge: Judge | None, progress: Progress = silent
) -> Summary:
    """Write the day's judged prompts, every verdict, and the day's decisions.

    Raises MissingTableError if the day has no prompts, else as write_judged does.
    """
    rows = store.scan("prompts", day).collect()
    config_hash = config.content_hash()
    judging = Judging.of(store, "prompts", config, judge)
    marked, verdicts = judging.mark(rows, progress)
    reviews = read_reviews(store)
    if reviews.height:
        marked = apply_reviews(marked.lazy(), reviews, stage="prompts_judged").collect()
    with store.writing("prompts_judged", day) as writer, store.writing(PROMPT_VERDICTS_ASSET, day) as verdicts_writer:
        verdicts_writer.write_shard(verdicts.select(list(VERDICTS)))
        writer.write_shard(marked.select(pl.col(name).cast(dtype) for name, dtype in PROMPTS_JUDGED.items()))
        writer.facts = verdicts_writer.facts = {"config_hash": config_hash, "versions": judging.versions}
    told = with_redacted_evidence(marked)
    ledger = decisions_of(told, stage="prompts_judged", day=day, config_hash=config_hash, versions=judging.versions)
    record(store, ledger, stage="prompts_judged", day=day)
    judging.require_alive(day, "prompts_judged")
    counts = count_reasons(marked.lazy())
    return Summary("prompts_judged", day, rows.height, counts, judging.facts())
