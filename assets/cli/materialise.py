"""Running assets in this process, as the UI would: same history, same checks, quiet unless something is wrong."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from assets.settings import ensure_dagster_home, load_settings
from pipeline.store import TableStore

STAGES = ("trajectories", "screened", "prompts", "sft_set")
"""What `curate` runs, in order; `--until` names the last."""


_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Every step at DEBUG drowns the terminal; the run's own history keeps all of it."""


class MaterialiseError(click.ClickException):
    """A partition did not materialise; the message carries the cause and the next move."""

    exit_code = 1


def open_store() -> TableStore:
    """The store of the data root in force."""
    return TableStore(load_settings().data)


def materialise_day(day: str, until: str, say: Callable[[str], None]) -> None:
    """Materialise one day's partition up to a stage. Raises MaterialiseError with what failed."""
    stages = [stage for stage in STAGES[: STAGES.index(until) + 1] if stage != "sft_set"]
    _run(stages, partition=day, say=say)


def materialise_set(say: Callable[[str], None]) -> None:
    """Write the SFT set anew over all days. Raises MaterialiseError with what failed."""
    _run(["sft_set"], partition=None, say=say)


def _run(names: Sequence[str], *, partition: str | None, say: Callable[[str], None]) -> None:
    home = ensure_dagster_home()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import dagster as dg

        from assets.definitions import ASSETS, defs

        Path(home).mkdir(parents=True, exist_ok=True)
        with dg.DagsterInstance.get() as instance:
            if partition is not None:
                _require_partition(partition)
            say(f"materialising {', '.join(names)}" + (f" for {partition}" if partition else ""))
            result = dg.materialize(
                ASSETS,
                selection=dg.AssetSelection.assets(*names),
                partition_key=partition,
                instance=instance,
                resources=defs.resources,
                raise_on_error=False,
                run_config=_QUIET,
                tags={"toolwise/by": "cli"},
            )
    failed = [
        f"check {check.check_name} of {check.asset_key.to_user_string()}: {check.description or 'failed'}"
        for check in result.get_asset_check_evaluations()
        if not check.passed
    ]
    if failed:
        raise MaterialiseError("; ".join(failed))
    if not result.success:
        causes = [_cause(event) for event in result.all_events if event.is_step_failure]
        raise MaterialiseError("; ".join(causes) or f"run {result.run_id} failed; `make ui` shows its log")


def _cause(event: object) -> str:
    """The innermost error of a failed step, in one line."""
    error = event.step_failure_data.error  # pyright: ignore[reportAttributeAccessIssue]
    while error is not None and error.cause is not None:
        error = error.cause
    return "step failed" if error is None else error.message.strip().removeprefix("pipeline.errors.")


def _require_partition(day: str) -> None:
    from assets.partitions import DAYS

    if not DAYS.has_partition_key(day):
        first, last = DAYS.get_first_partition_key(), DAYS.get_last_partition_key()
        raise MaterialiseError(
            f"day {day} is outside the partitions {first} to {last}; choose another --day, or set TOOLWISE_FIRST_DAY"
        )
