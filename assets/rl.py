"""From screened rows to the prompts reinforcement learning can use."""

import dagster as dg

from assets import checks
from assets.partitions import DAYS
from assets.resources import Workspace
from assets.writing import materialise_days
from pipeline.curation.prompts import write_prompts
from pipeline.schema import PROMPTS


@dg.asset(
    deps=["screened"],
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    check_specs=checks.specs("prompts"),
    group_name="curation",
    kinds={"polars", "parquet"},
)
def prompts(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:
    """One row per task of the day that can be checked, redacted; the others say what they lack."""
    return materialise_days(context, workspace, write_prompts, PROMPTS, key="task_id")
