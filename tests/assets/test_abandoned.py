"""A killed run gives its place back; a living one keeps it."""

import os
import subprocess
import sys
import time

import dagster as dg
import pytest
from dagster._core.events import EngineEventData

from assets.abandoned import fail_abandoned_runs, lives


@dg.asset
def thing() -> None:
    """An asset to have a run of."""


def _started_run(instance: dg.DagsterInstance, process: int) -> dg.DagsterRun:
    """A run that has told which process it is in, and no more."""
    run = instance.create_run_for_job(dg.Definitions(assets=[thing]).resolve_implicit_global_asset_job_def())
    instance.report_engine_event("executing", run, EngineEventData.in_process(process))
    instance.handle_run_event(run.run_id, dg.DagsterEvent(event_type_value="PIPELINE_START", job_name=run.job_name))
    return run


def _status(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


def test_a_run_in_a_living_process_is_left_alone() -> None:
    with dg.instance_for_test() as instance:
        run = _started_run(instance, os.getpid())
        assert fail_abandoned_runs(instance) == []
        assert _status(instance, run) is dg.DagsterRunStatus.STARTED


def test_a_run_that_has_not_named_its_process_is_left_alone() -> None:
    with dg.instance_for_test() as instance:
        run = instance.create_run_for_job(dg.Definitions(assets=[thing]).resolve_implicit_global_asset_job_def())
        instance.handle_run_event(run.run_id, dg.DagsterEvent(event_type_value="PIPELINE_START", job_name=run.job_name))
        assert fail_abandoned_runs(instance) == []


@pytest.mark.parametrize("waited_for", [True, False], ids=["gone", "zombie"])
def test_a_run_whose_process_ended_is_reported_as_failed_once(waited_for: bool) -> None:  # noqa: FBT001  # a parameter
    child = subprocess.Popen([sys.executable, "-c", ""])
    with dg.instance_for_test() as instance:
        run = _started_run(instance, child.pid)
        if waited_for:
            child.wait()
        else:
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert fail_abandoned_runs(instance) == [run.run_id]
        assert _status(instance, run) is dg.DagsterRunStatus.FAILURE
        assert fail_abandoned_runs(instance) == []
    child.wait()


def test_another_process_under_the_number_of_the_killed_one_does_not_count() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        assert lives(child.pid, since=time.time())
        assert not lives(child.pid, since=time.time() - 60)
        child.kill()
