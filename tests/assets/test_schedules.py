"""What runs without anyone asking: the nightly schedule, the sensor on the landing zone, the set that follows."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from assets import schedules
from assets.definitions import defs
from assets.partitions import DAYS
from assets.resources import Workspace
from pipeline.ledger import decisions_of, record
from pipeline.schema import TRAJECTORIES
from pipeline.store import TableStore
from tests.assets.runs import PARTITIONED, materialise
from tests.curating import land_records, price_chat

NIGHT = datetime(2025, 3, 2, 2, 0, tzinfo=UTC)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A history of the test's own."""
    with dg.instance_for_test() as made:
        yield made


def _nightly(data: Path, instance: dg.DagsterInstance) -> list[str] | str:
    """The days that the schedule requests on the night, or why none."""
    context = dg.build_schedule_context(instance=instance, scheduled_execution_time=NIGHT)
    found = schedules.nightly(context, workspace=Workspace(data=str(data)))
    if isinstance(found, dg.SkipReason):
        return str(found.skip_message)
    assert isinstance(found, list)
    assert len({request.run_key for request in found}) == len(found)
    return [str(request.partition_key) for request in found]


def _wait_for_retry(store: TableStore, day: str) -> None:
    """A decision of kind retry, as a stage leaves it whose server failed."""
    marked = pl.DataFrame(
        {"trajectory_id": ["t1"], "reason": ["unreadable"], "evidence": ["{}"]},
        schema_overrides={"reason": TRAJECTORIES["reason"]},
    )
    ledger = decisions_of(marked, stage="trajectories", day=day, config_hash="c", versions={})
    record(store, ledger, stage="trajectories", day=day)


def test_the_night_curates_the_day_before_and_only_it(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    for day in ("2025-02-28", "2025-03-01", "2025-03-02"):
        land_records(TableStore(tmp_path), day, [price_chat(1, 1)])
    assert _nightly(tmp_path, instance) == ["2025-03-01"]


def test_a_night_without_files_or_retries_says_so(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    land_records(TableStore(tmp_path), "2025-02-28", [price_chat(1, 1)])
    assert _nightly(tmp_path, instance) == "no file landed for 2025-03-01, and no row waits for a retry"


def test_the_night_takes_up_days_with_rows_to_retry(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    store = TableStore(tmp_path)
    land_records(store, "2025-03-01", [price_chat(1, 1)])
    _wait_for_retry(store, "2025-02-03")
    assert _nightly(tmp_path, instance) == ["2025-02-03", "2025-03-01"]


def test_a_retried_day_that_was_read_this_time_is_not_asked_for_again(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    store = TableStore(tmp_path)
    land_records(store, "2025-02-03", [price_chat(1, 1)])
    _wait_for_retry(store, "2025-02-03")
    assert _nightly(tmp_path, instance) == ["2025-02-03"]
    assert materialise(tmp_path, *PARTITIONED, day="2025-02-03").success
    assert "no row waits" in _nightly(tmp_path, instance)


class _Landing:
    """The landed_files sensor over its ticks."""

    def __init__(self, data: Path, instance: dg.DagsterInstance) -> None:
        self._workspace, self._instance, self._cursor = Workspace(data=str(data)), instance, None

    def tick(self) -> list[str] | str:
        """The days requested, or why none."""
        context = dg.build_sensor_context(instance=self._instance, cursor=self._cursor)
        found = schedules.landed_files(context, workspace=self._workspace)
        if isinstance(found, dg.SkipReason):
            return str(found.skip_message)
        assert isinstance(found, dg.SensorResult)
        self._cursor = found.cursor
        return [str(request.partition_key) for request in found.run_requests or ()]


def _age(path: Path, seconds: float) -> None:
    changed = path.stat().st_mtime - seconds
    os.utime(path, (changed, changed))


def test_files_are_asked_for_once_they_have_been_left_alone(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    store, landing = TableStore(tmp_path), _Landing(tmp_path, instance)
    path = land_records(store, "2025-03-01", [price_chat(1, 1)])
    assert landing.tick() == "nothing new; still being written: 2025-03-01"
    _age(path, 61)
    assert landing.tick() == ["2025-03-01"]
    assert landing.tick() == "nothing new; still being written: none"


def test_a_day_is_asked_for_again_when_a_file_changes_comes_or_goes(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    store, landing = TableStore(tmp_path), _Landing(tmp_path, instance)
    first = land_records(store, "2025-03-01", [price_chat(1, 1)])
    other = land_records(store, "2025-03-02", [price_chat(2, 2)])
    for path in (first, other):
        _age(path, 100)
    assert landing.tick() == ["2025-03-01", "2025-03-02"]
    first.write_bytes(first.read_bytes() * 2)
    _age(first, 90)
    assert landing.tick() == ["2025-03-01"]
    second = land_records(store, "2025-03-02", [price_chat(3, 3)], name="fair/b.jsonl")
    assert "still being written: 2025-03-02" in landing.tick()
    _age(second, 90)
    assert landing.tick() == ["2025-03-02"]
    second.unlink()
    assert landing.tick() == ["2025-03-02"]  # back to an earlier state, and asked for all the same
    assert "nothing new" in landing.tick()


def test_a_day_outside_the_partitions_is_told_and_not_asked_for(
    tmp_path: Path, instance: dg.DagsterInstance, capfd: pytest.CaptureFixture[str]
) -> None:
    landing = _Landing(tmp_path, instance)
    _age(land_records(TableStore(tmp_path), "2019-03-01", [price_chat(1, 1)]), 100)
    outside = "days outside the partitions are not curated: 2019-03-01"
    assert landing.tick() == f"nothing new; still being written: none; {outside}"
    _age(land_records(TableStore(tmp_path), "2025-03-01", [price_chat(1, 1)]), 100)
    capfd.readouterr()
    assert landing.tick() == ["2025-03-01"]
    assert outside in capfd.readouterr().err


def test_an_empty_landing_zone_is_no_fault(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    assert _Landing(tmp_path, instance).tick() == "nothing new; still being written: none"
    assert "no file landed" in _nightly(tmp_path, instance)


def _requested(instance: dg.DagsterInstance, cursor: Any = None) -> tuple[bool, Any]:
    """Whether the automation asks for the set, and its cursor."""
    found = dg.evaluate_automation_conditions(defs, instance=instance, cursor=cursor)
    return bool(found.get_requested_partitions(dg.AssetKey("sft_set"))), found.cursor


def test_the_set_follows_screened_days_once(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    land_records(TableStore(tmp_path), "2025-03-01", [price_chat(1, 1)])
    land_records(TableStore(tmp_path), "2025-03-02", [price_chat(2, 2)])
    requested, cursor = _requested(instance)
    assert not requested
    assert materialise(tmp_path, *PARTITIONED, day="2025-03-01", instance=instance).success
    requested, cursor = _requested(instance, cursor)
    assert requested
    assert materialise(tmp_path, "sft_set", instance=instance).success
    requested, cursor = _requested(instance, cursor)
    assert not requested
    assert materialise(tmp_path, *PARTITIONED, day="2025-03-02", instance=instance).success
    assert _requested(instance, cursor)[0]


def test_the_set_does_not_follow_a_day_that_failed_its_checks(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    store = TableStore(tmp_path)
    land_records(store, "2025-03-01", [price_chat(1, good) for good in range(4)])
    cursor = _requested(instance)[1]
    assert materialise(tmp_path, *PARTITIONED[:5], day="2025-03-01", instance=instance).success
    requested, cursor = _requested(instance, cursor)
    assert requested
    assert materialise(tmp_path, "sft_set", instance=instance).success
    cursor = _requested(instance, cursor)[1]
    bad = [price_chat(2, good) for good in range(80)]
    for row in bad:
        row["messages"] = row["messages"][:2]
    land_records(store, "2025-03-02", bad)
    assert not materialise(tmp_path, *PARTITIONED[:5], day="2025-03-02", instance=instance).success
    requested, cursor = _requested(instance, cursor)
    assert not requested
    land_records(store, "2025-03-02", [price_chat(2, good) for good in range(80)])
    assert materialise(tmp_path, *PARTITIONED[:5], day="2025-03-02", instance=instance).success
    assert _requested(instance, cursor)[0]


def test_the_nightly_tick_makes_requests_that_the_job_takes(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    land_records(TableStore(tmp_path), "2025-03-01", [price_chat(1, 1)])
    with dg.build_schedule_context(instance=instance, scheduled_execution_time=NIGHT) as context:
        ticked = defs.get_repository_def().get_schedule_def("nightly")
        job = defs.resolve_job_def(ticked.job_name)
        found = schedules.nightly(context, workspace=Workspace(data=str(tmp_path)))
    assert isinstance(found, list)
    done = job.execute_in_process(
        partition_key=found[0].partition_key,
        instance=instance,
        resources={"workspace": Workspace(data=str(tmp_path))},
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    assert done.success
    assert DAYS.has_partition_key(str(found[0].partition_key))
    assert TableStore(tmp_path).days("prompts") == ["2025-03-01"]
