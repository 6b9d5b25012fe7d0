"""The blocking checks every partitioned table carries, over all the partitions of a run."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import polars as pl

from pipeline.config import CurationConfig
from pipeline.curation.history import drop_rate, drop_rate_bound, num_judged, own_counts
from pipeline.curation.summary import Summary
from pipeline.errors import SchemaMismatchError
from pipeline.frames import count_reasons, require_columns
from pipeline.store import TableStore

Schema = Mapping[str, Any]

NAMES = ("rows_conserved", "not_empty", "schema_as_promised", "ids_unique", "drop_rate_in_bounds")


def specs(asset: str) -> list[dg.AssetCheckSpec]:
    """The check specs of a partitioned table."""
    told = {
        "rows_conserved": "Counts per reason add up to the rows that came in.",
        "not_empty": "A partition with input has rows.",
        "schema_as_promised": "Columns and dtypes are the contract's.",
        "ids_unique": "No row twice in a partition.",
        "drop_rate_in_bounds": "The share of dropped rows is within bounds of the recent past.",
    }
    return [dg.AssetCheckSpec(name, asset=asset, blocking=True, description=told[name]) for name in NAMES]


def results(
    store: TableStore, summaries: list[Summary], schema: Schema, config: CurationConfig, *, key: str
) -> list[dg.AssetCheckResult]:
    """One result per check over the written partitions, each naming the days that fail it and what was found."""
    faults: dict[str, dict[str, str]] = {name: {} for name in NAMES}
    for summary in summaries:
        for name, fault in _faults(store, summary, schema, config, key).items():
            faults[name][summary.day] = fault
    return [
        dg.AssetCheckResult(
            check_name=name,
            asset_key=summaries[0].asset if summaries else None,
            passed=not found,
            metadata={"failing": found, "days": [summary.day for summary in summaries]},
            description="; ".join(f"{day}: {fault}" for day, fault in found.items()) or None,
        )
        for name, found in faults.items()
    ]


def failed_by_day(results: list[dg.AssetCheckResult], summaries: list[Summary]) -> dict[str, list[str]]:
    """Day to the names of the checks it failed, empty where it passed them all."""
    failing = {result.check_name or "": result.metadata["failing"].value for result in results}
    return {
        summary.day: [name for name, days in failing.items() if summary.day in days]  # pyright: ignore[reportOperatorIssue]
        for summary in summaries
    }


def _faults(store: TableStore, summary: Summary, schema: Schema, config: CurationConfig, key: str) -> dict[str, str]:
    """Check name to what is wrong with one partition, read back from what was written."""
    written = store.scan(summary.asset, summary.day)
    found: dict[str, str] = {}
    counts = count_reasons(written.select("reason"))
    total = sum(counts.values())
    if total != summary.rows_in or counts != summary.rows_by_reason:
        found["rows_conserved"] = f"want {summary.rows_in} rows as {summary.rows_by_reason}, found {counts}"
    if summary.facts.get("files", 0) and not total:
        found["not_empty"] = f"{summary.facts['files']} files but no row"
    try:
        require_columns(written, schema, where=f"{summary.asset}/{summary.day}")
    except SchemaMismatchError as error:
        found["schema_as_promised"] = str(error)
    repeated = written.select(pl.len() - pl.col(key).n_unique()).collect().item()
    if repeated:
        found["ids_unique"] = f"{repeated} rows repeat a {key}"
    own = own_counts(store, summary.asset, summary.day)
    rate = drop_rate(own)
    bound = drop_rate_bound(store, summary.asset, summary.day, config.bounds, num_rows=num_judged(own))
    if rate is not None and rate > bound:
        found["drop_rate_in_bounds"] = (
            f"{rate:.1%} dropped, want at most {bound:.1%}; look at rows_by_reason, then either mend the source or "
            f"raise bounds.max_drop_rate"
        )
    return found
