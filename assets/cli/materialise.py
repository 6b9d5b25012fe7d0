"""Running assets in this process, as the UI would: same history, same checks, quiet unless something is wrong."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import click

from assets.settings import ensure_dagster_home, load_config, load_settings
from pipeline.config import CurationConfig
from pipeline.store import TableStore

STAGES = ("trajectories", "screened", "replayed", "attempted", "judged", "prompts", "prompts_judged", "sft_set")
"""What `curate` runs, in order; `--until` names the last."""


_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Every step at DEBUG drowns the terminal; the run's own history keeps all of it."""


class MaterialiseError(click.ClickException):
    """A partition did not materialise; the message carries the cause and the next move."""


class ChecksFailedError(MaterialiseError):
    """The tables were written, and a blocking check did not pass."""


def open_store() -> TableStore:
    """The store of the data root in force."""
    return TableStore(load_settings().data)


def require_config() -> CurationConfig:
    """The configuration in force. Raises ConfigError, before anything is touched, if no run could start under it."""
    config = load_config(load_settings().config_path())
    config.content_hash()  # reads the files it names
    return config


def materialise_day(day: str, until: str, say: Callable[[str], None]) -> None:
    """Materialise one day's partition up to a stage. Raises MaterialiseError with what failed."""
    stages = [stage for stage in STAGES[: STAGES.index(until) + 1] if stage != "sft_set"]
    _run(stages, partition=day, say=say)


def materialise_set(say: Callable[[str], None]) -> None:
    """Write the SFT set anew over all days. Raises MaterialiseError with what failed."""
    _run(["sft_set"], partition=None, say=say)


def _run(names: Sequence[str], *, partition: str | None, say: Callable[[str], None]) -> None:
    ensure_dagster_home()
    with dagster_at_work():
        import dagster as dg

        from assets.abandoned import fail_abandoned_runs
        from assets.definitions import ASSETS
        from assets.resources import JudgeService, PolicyService, Workspace

        settings = load_settings()
        with dg.DagsterInstance.get() as instance:
            fail_abandoned_runs(instance)
            say(f"materialising {', '.join(names)}" + (f" for {partition}" if partition else ""))
            result = dg.materialize(
                ASSETS,
                selection=dg.AssetSelection.assets(*names),
                partition_key=partition,
                instance=instance,
                resources={
                    "workspace": Workspace.of(settings),
                    "judge": JudgeService.of(settings),
                    "policy": PolicyService.of(settings),
                },
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
        raise ChecksFailedError("; ".join(failed))
    if not result.success:
        causes = [_cause(event) for event in result.all_events if event.is_step_failure]
        raise MaterialiseError("; ".join(causes) or f"run {result.run_id} failed; `make ui` shows its log")


def _cause(event: object) -> str:
    """What a failed step says: the library's own error where there is one, which names the next move, else the root."""
    error = event.step_failure_data.error  # pyright: ignore[reportAttributeAccessIssue]
    while error is not None and error.cause is not None and not error.message.startswith("pipeline."):
        error = error.cause
    if error is None:
        return "step failed"
    told = " ".join(error.message.split())
    return told.partition(": ")[2] if told.startswith("pipeline.") else told


def require_partitions(days: Iterable[str]) -> None:
    """Raise MaterialiseError naming the days that are no partitions."""
    with dagster_at_work():
        from assets.partitions import DAYS

        foreign = [day for day in days if not DAYS.has_partition_key(day)]
        if foreign:
            first, last = DAYS.get_first_partition_key(), DAYS.get_last_partition_key()
            held = f"{first} to {last}" if first else "there are (none yet)"
            raise MaterialiseError(
                f"outside the partitions {held}: {', '.join(foreign)}; choose another --day, or set TOOLWISE_FIRST_DAY"
            )


@contextmanager
def dagster_at_work() -> Iterator[None]:
    """Dagster's warnings kept from the terminal, and what keeps it from starting told in one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from dagster import DagsterError
        from yaml import YAMLError

        try:
            yield
        except (DagsterError, YAMLError) as error:
            told = " ".join(str(error).split())
            place = "DAGSTER_HOME, its dagster.yaml, or a TOOLWISE_ variable"
            raise MaterialiseError(f"Dagster does not start: {told[:400]}; mend {place}") from error
