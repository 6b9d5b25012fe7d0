"""A day's tasks as prompts for reinforcement learning: those whose answer can be checked."""

import polars as pl

from pipeline.config import CurationConfig
from pipeline.curation.evidence import with_redacted_evidence
from pipeline.curation.staleness import PROMPT_INDEX, earlier_index
from pipeline.curation.summary import Progress, Summary, silent
from pipeline.dedup.benchmarks import benchmark_ngrams
from pipeline.dedup.lookup import find_duplicates, relevant_entries, relevant_version
from pipeline.dedup.signatures import fingerprint
from pipeline.frames import count_reasons
from pipeline.ledger import decisions_of, record
from pipeline.privacy.redaction import redact_columns
from pipeline.schema import PROMPTS, TRAJECTORIES
from pipeline.stages.contamination import mark_contaminated
from pipeline.stages.duplicates import mark_duplicate, mark_near_duplicate
from pipeline.stages.privacy import find_spans, mark_personal_data, mark_secret, mark_unusable_truth
from pipeline.stages.tasks_of_day import group_tasks, mark_contradicting_truths, mark_no_ground_truth
from pipeline.store import TableStore

_TASK_INPUTS = (
    "trajectory_id",
    "source",
    "task_id",
    "prompt",
    "messages",
    "tools",
    "ground_truth",
    "success",
    "metadata",
    "reason",
)


def write_prompts(store: TableStore, day: str, config: CurationConfig, *, progress: Progress = silent) -> Summary:
    """Write the day's prompts and their decisions.

    Raises MissingTableError if the day has not been screened.
    """
    tasks = group_tasks(store.scan("screened", day).select(_TASK_INPUTS)).collect()
    progress(f"prompts {day}: {tasks.height} tasks")
    marked = _screen_tasks(tasks, config)
    kept = marked.filter(pl.col("reason").is_null())
    texts = kept.select(trajectory_id="task_id", text="prompt", images=pl.col("images").list.join("\n"))
    index = fingerprint(texts, day, config.duplicates)
    earlier = relevant_entries(index, earlier_index(store, day, PROMPT_INDEX)).lazy()
    matches = find_duplicates(index, earlier, config.duplicates)
    by_task = marked.lazy().rename({"trajectory_id": "first_id", "task_id": "trajectory_id"})
    by_task = mark_near_duplicate(mark_duplicate(by_task, matches), matches)
    decided = by_task.rename({"trajectory_id": "task_id", "first_id": "trajectory_id"}).collect()
    versions = {"prompt_index": relevant_version(index, earlier)}
    config_hash = config.content_hash()
    with store.writing("prompts", day) as writer:
        with store.writing(PROMPT_INDEX, day) as index_writer:
            index_writer.write_shard(index)
        redacted = redact_columns(decided, ("prompt", "ground_truth"))
        writer.write_shard(redacted.select(pl.col(name).cast(dtype) for name, dtype in PROMPTS.items()))
        writer.facts = {"config_hash": config_hash, "versions": versions}
    told = with_redacted_evidence(decided)
    ledger = decisions_of(told, stage="prompts", day=day, config_hash=config_hash, versions=versions)
    record(store, ledger, stage="prompts", day=day)
    facts = {"prompt_index_version": versions["prompt_index"]}
    return Summary("prompts", day, tasks.height, count_reasons(decided.lazy()), facts)


def _screen_tasks(tasks: pl.DataFrame, config: CurationConfig) -> pl.DataFrame:
    """The tasks through every gate that needs no other task, with `spans`."""
    spans = find_spans(
        tasks.select(
            pl.col("task_id").alias("trajectory_id"),
            "prompt",
            "ground_truth",
            final_answer=pl.lit(None, pl.String),
            messages=pl.lit(None, TRAJECTORIES["messages"]),
        )
    )
    found = tasks.join(spans, left_on="task_id", right_on="trajectory_id", how="left", maintain_order="left")
    lf = mark_contradicting_truths(mark_no_ground_truth(found.lazy()), config.answer)
    lf = mark_personal_data(mark_secret(lf, config.privacy), config.privacy)
    lf = mark_unusable_truth(lf)
    return mark_contaminated(lf, benchmark_ngrams(config.contamination)).collect()
