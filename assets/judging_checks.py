"""Checks on what the judge decides: is the promise of the set still supported, and do its scores look as calibrated."""

import dagster as dg

from pipeline.config import CurationConfig
from pipeline.curation.promise import Promise, drift_by_day
from pipeline.curation.summary import Summary
from pipeline.store import TableStore

PRECISION_AS_PROMISED = "precision_as_promised"
SCORES_AS_CALIBRATED = "scores_as_calibrated"


def promise_spec(asset: str) -> dg.AssetCheckSpec:
    """The blocking check on the labelled evidence behind a set."""
    told = "Labelled rows still support the share of right rows that the set promises, if it promises one."
    return dg.AssetCheckSpec(PRECISION_AS_PROMISED, asset=asset, blocking=True, description=told)


def promise(found: Promise) -> dg.AssetCheckResult:
    """Fails where labels contradict the promise; says what is promised, or that nothing is."""
    return dg.AssetCheckResult(
        check_name=PRECISION_AS_PROMISED, passed=found.holds, description=found.told, metadata=found.numbers
    )


def drift_spec(asset: str) -> dg.AssetCheckSpec:
    """The warning that a day's scores are spread otherwise than those the threshold was chosen on."""
    told = "Acceptance scores are spread as they were when the judge was calibrated."
    return dg.AssetCheckSpec(SCORES_AS_CALIBRATED, asset=asset, description=told)


def drift(store: TableStore, config: CurationConfig, summaries: list[Summary]) -> list[dg.AssetCheckResult]:
    """One result over the written days: warns with the days that drifted and by how much. It blocks nothing."""
    asset = summaries[0].asset if summaries else None
    found = drift_by_day(store, config, asset or "judged", [summary.day for summary in summaries])
    drifted = {day: told for day, told in found.items() if told is not None}
    return [
        dg.AssetCheckResult(
            check_name=SCORES_AS_CALIBRATED,
            asset_key=asset,
            passed=not drifted,
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(f"{day}: {told}" for day, told in drifted.items()) or None,
            metadata={"days": [summary.day for summary in summaries], "drifted": sorted(drifted)},
        )
    ]
