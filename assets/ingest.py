"""Raw files in the landing zone become trajectories."""

import dagster as dg

from assets import checks
from assets.partitions import DAYS
from assets.resources import Workspace
from assets.writing import materialise_days
from pipeline.curation.trajectories import write_trajectories
from pipeline.schema import TRAJECTORIES

raw = dg.AssetSpec(
    "raw",
    partitions_def=DAYS,
    group_name="landing",
    description="Files under raw/<source>/<YYYY-MM-DD>/; the sensor `landed_files` watches it.",
)


@dg.asset(
    deps=["raw"],
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    check_specs=checks.specs("trajectories"),
    group_name="curation",
    kinds={"polars", "parquet"},
)
def trajectories(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:
    """One row per raw record of the day, in any known trace format; what cannot be read says why."""
    return materialise_days(context, workspace, write_trajectories, TRAJECTORIES, key="trajectory_id")
