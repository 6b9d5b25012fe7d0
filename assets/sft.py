"""From trajectories to the SFT set."""

from functools import partial

import dagster as dg

from assets import checks, judging_checks
from assets.metadata import reason_table
from assets.model_servers import MODEL_SERVER
from assets.partitions import DAYS
from assets.resources import JudgeService, PolicyService, Workspace
from assets.writing import materialise_days
from pipeline.curation.attempted import write_attempted
from pipeline.curation.judged import write_judged
from pipeline.curation.replayed import write_replayed
from pipeline.curation.screened import write_screened
from pipeline.curation.sft_set import write_sft_set
from pipeline.schema import ATTEMPTED, JUDGED, REPLAYED, SCREENED

WHEN_INPUTS_REST = (
    dg.AutomationCondition.any_deps_updated().since_last_handled()
    & ~dg.AutomationCondition.any_deps_in_progress()
    & ~dg.AutomationCondition.in_progress()
    & dg.AutomationCondition.all_deps_blocking_checks_passed()
)
"""After new partitions, once none of them is being written and the last of them passed its checks."""


@dg.asset(
    deps=["trajectories"],
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    check_specs=checks.specs("screened"),
    group_name="curation",
    kinds={"polars", "parquet"},
)
def screened(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:
    """Trajectories with the reason the cheap deterministic gates found, if any, and the spans to redact."""
    return materialise_days(context, workspace, write_screened, SCREENED, key="trajectory_id")


@dg.asset(
    deps=["screened"],
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    check_specs=checks.specs("replayed"),
    group_name="curation",
    kinds={"python", "parquet"},
    pool="replay",
)
def replayed(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:
    """Screened rows whose tool calls were made again; a contradicted observation puts a row out."""
    return materialise_days(context, workspace, write_replayed, REPLAYED, key="trajectory_id")


@dg.asset(
    deps=["replayed"],
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    check_specs=checks.specs("attempted"),
    group_name="curation",
    kinds={"python", "parquet"},
    pool=MODEL_SERVER,
)
def attempted(
    context: dg.AssetExecutionContext, workspace: Workspace, policy: PolicyService, judge: JudgeService
) -> dg.MaterializeResult:
    """Replayed rows with what the policy can do without tools; a call that was not needed puts a row out."""
    with policy.opened(workspace.store(), workspace.config(), judge, context.log.info) as attempts:
        write = partial(write_attempted, attempts=attempts)
        return materialise_days(context, workspace, write, ATTEMPTED, key="trajectory_id")


@dg.asset(
    deps=["attempted"],
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    check_specs=[*checks.specs("judged"), judging_checks.drift_spec("judged")],
    group_name="curation",
    kinds={"python", "parquet"},
    pool=MODEL_SERVER,
)
def judged(context: dg.AssetExecutionContext, workspace: Workspace, judge: JudgeService) -> dg.MaterializeResult:
    """Attempted rows with the judge's verdicts; what falls under the threshold is out or waits for a person."""
    with judge.opened(workspace.store(), workspace.config(), context.log.info) as asked:
        write = partial(write_judged, judge=asked)
        return materialise_days(
            context, workspace, write, JUDGED, key="trajectory_id", more_checks=judging_checks.drift
        )


class SnapshotDays(dg.Config):
    """The days a snapshot covers; none named: all there are."""

    first_day: str | None = None
    last_day: str | None = None


@dg.asset(
    deps=["judged"],
    automation_condition=WHEN_INPUTS_REST,
    backfill_policy=dg.BackfillPolicy.single_run(),  # without one, Dagster refuses a range of days with the set in it
    check_specs=[
        dg.AssetCheckSpec("not_empty", asset="sft_set", blocking=True, description="The snapshot has rows."),
        dg.AssetCheckSpec(
            "splits_share_no_task", asset="sft_set", blocking=True, description="No task is in train and in val."
        ),
        judging_checks.promise_spec("sft_set"),
    ],
    group_name="sets",
    kinds={"parquet", "huggingface"},
)
def sft_set(context: dg.AssetExecutionContext, workspace: Workspace, config: SnapshotDays) -> dg.MaterializeResult:
    """An immutable snapshot of every accepted trajectory, redacted, in the shape SFTTrainer takes."""
    snapshot = write_sft_set(
        workspace.store(),
        workspace.config(),
        first_day=config.first_day,
        last_day=config.last_day,
        progress=context.log.info,
    )
    return dg.MaterializeResult(
        data_version=dg.DataVersion(snapshot.name),
        metadata={
            "dagster/row_count": snapshot.num_rows,
            "snapshot": snapshot.name,
            "path": dg.MetadataValue.path(str(snapshot.folder)),
            "rows_by_split": snapshot.rows_by_split,
            "funnel": dg.MetadataValue.md(snapshot.funnel_markdown),
            "last_stage": dg.MetadataValue.md(reason_table(snapshot.last_counts)),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name="not_empty",
                passed=snapshot.num_rows > 0,
                description=None if snapshot.num_rows else "no accepted trajectory in these days; `toolwise funnel`",
            ),
            dg.AssetCheckResult(
                check_name="splits_share_no_task",
                passed=not snapshot.shared_tasks,
                metadata={"shared_tasks": snapshot.shared_tasks[:20]},
            ),
            judging_checks.promise(snapshot.promise),
        ],
    )
