"""Runs whose process was killed: Dagster has them as started, and they would hold a place in the queue for ever."""

import os
from pathlib import Path

import dagster as dg

_CLOCK_S = 2.0
"""Two clocks are compared, one of them counted in ticks since boot."""


def fail_abandoned_runs(instance: dg.DagsterInstance) -> list[str]:
    """Report every started run as failed whose process is no more; the ids of those runs.

    A run worker of a living daemon is watched by its code server; this is for all others: a command that was killed, a
    daemon that went down with its workers, a machine that lost power. Reported as failed, a run is taken up once more
    by the daemon if it was the daemon's (`run_retries`).
    """
    failed = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        run = record.dagster_run
        process = _process_of(instance, run.run_id)
        if process is not None and not lives(*process):
            instance.report_run_failed(
                run, f"process {process[0]} of this run is gone: killed, or the machine went down"
            )
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)  # its place in a pool, too
            failed.append(run.run_id)
    return failed


def _process_of(instance: dg.DagsterInstance, run_id: str) -> tuple[int, float] | None:
    """The process that the run was started in, and when it said so; None while it has not."""
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        told = entry.get_dagster_event().engine_event_data.metadata.get("pid")
        if told is not None:
            return int(str(told.value)), entry.timestamp
    return None


def lives(process: int, since: float) -> bool:
    """Whether a process of this number is there that had begun by `since`, in seconds since 1970."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
    except FileNotFoundError:
        return False
    state, begun_ticks = fields[0], int(fields[19])
    begun = int(boot.split()[1]) + begun_ticks / os.sysconf("SC_CLK_TCK")
    return state != "Z" and begun <= since + _CLOCK_S
