"""From screened rows to the prompts reinforcement learning can use."""

from functools import partial

import dagster as dg

from assets import checks, judging_checks
from assets.model_servers import MODEL_SERVER
from assets.partitions import DAYS
from assets.resources import JudgeService, Workspace
from assets.writing import materialise_days
from pipeline.curation.prompts import write_prompts
from pipeline.curation.prompts_judged import write_prompts_judged
from pipeline.schema import PROMPTS, PROMPTS_JUDGED


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


@dg.asset(
    deps=["prompts"],
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    check_specs=[*checks.specs("prompts_judged"), judging_checks.drift_spec("prompts_judged")],
    group_name="curation",
    kinds={"python", "parquet"},
    pool=MODEL_SERVER,
)
def prompts_judged(
    context: dg.AssetExecutionContext, workspace: Workspace, judge: JudgeService
) -> dg.MaterializeResult:
    """Prompts with the judge's verdicts: ambiguous, unanswerable, corrupted and unverifiable ones are out."""
    with judge.opened(workspace.store(), workspace.config(), context.log.info) as asked:
        write = partial(write_prompts_judged, judge=asked)
        return materialise_days(
            context, workspace, write, PROMPTS_JUDGED, key="task_id", more_checks=judging_checks.drift
        )
