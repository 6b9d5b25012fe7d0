"""One way to materialise a day-partitioned table: write each day of the run, show it, check it."""

from collections.abc import Callable

import dagster as dg
import polars as pl

from assets import checks
from assets.metadata import metadata_of
from assets.resources import Workspace
from pipeline.config import CurationConfig
from pipeline.curation.held_back import note_checks
from pipeline.curation.summary import Progress, Summary
from pipeline.store import TableStore

MoreChecks = Callable[[TableStore, CurationConfig, list[Summary]], list[dg.AssetCheckResult]]
"""Checks of one table beside those every table has; they do not hold a day back."""

Write = Callable[..., Summary]
"""write_<asset>(store, day, config, *, progress) -> Summary."""

SAMPLE_COLUMNS = ("trajectory_id", "source", "format", "num_turns", "num_tool_calls", "reason")


def materialise_days(
    context: dg.AssetExecutionContext,
    workspace: Workspace,
    write: Write,
    schema: checks.Schema,
    *,
    key: str,
    more_checks: MoreChecks | None = None,
) -> dg.MaterializeResult:
    """Write every partition of the run; counts and sample rows become metadata, checks are read back from disk."""
    store, config = workspace.store(), workspace.config()
    summaries = []
    for day in context.partition_keys:
        summary = _write_day(store, day, config, write, context.log.info)
        summaries.append(summary)
        context.add_asset_metadata(
            metadata_of(summary, _sample(store, summary)) | {"config": dg.MetadataValue.text(config.content_hash())},
            partition_key=day,
        )
    versions = [store.version(summary.asset, summary.day) or "" for summary in summaries]
    results = checks.results(store, summaries, schema, config, key=key)
    if summaries:
        note_checks(store, summaries[0].asset, checks.failed_by_day(results, summaries))
    return dg.MaterializeResult(
        data_version=dg.DataVersion("-".join(versions)) if len(versions) == 1 else None,
        check_results=results + (more_checks(store, config, summaries) if more_checks is not None else []),
    )


def _write_day(store: TableStore, day: str, config: CurationConfig, write: Write, progress: Progress) -> Summary:
    summary = write(store, day, config, progress=progress)
    progress(f"{summary.asset} {day}: kept {summary.num_kept:,} of {summary.rows_in:,}; {summary.rows_by_reason}")
    return summary


def _sample(store: TableStore, summary: Summary) -> pl.DataFrame:
    """Up to two rows of each reason, the first by id."""
    written = store.scan(summary.asset, summary.day)
    columns = [name for name in SAMPLE_COLUMNS if name in written.collect_schema()]
    return (
        written.select(columns)
        .sort("trajectory_id")
        .group_by("reason", maintain_order=True)
        .head(2)
        .select(columns)
        .sort(pl.col("reason").cast(pl.String), nulls_last=False)
        .head(24)
        .collect()
    )
