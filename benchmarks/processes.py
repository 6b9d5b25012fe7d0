"""What a child process cost: its CPU time, its peak memory and the CPU time of each of its stages."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

REPORT = "report.json"
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run of a program took; user and system time, descendants that ended included."""

    cpu_s: float
    peak_rss_mib: float
    stages_s: dict[str, float]


def run_measured(module: str, *arguments: str, out: Path) -> Cost:
    """The cost of `python -m module OUT ARGUMENTS`, a program that ends with `Stages.write_report`.

    Raises subprocess.CalledProcessError with the end of what the program said.
    """
    out.mkdir(parents=True)
    command = [sys.executable, "-m", module, str(out), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    with (out / "log.txt").open("wb") as log:
        child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT, env=environment)
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        said = (out / "log.txt").read_text(errors="replace")[-3000:]
        raise subprocess.CalledProcessError(child.returncode, command, said)
    report: dict[str, Any] = orjson.loads((out / REPORT).read_bytes())
    return Cost(round(usage.ru_utime + usage.ru_stime, 3), report["peak_rss_mib"], report["stages_s"])


@dataclass(slots=True)
class Stages:
    """CPU time by stage, kept by the measured program itself; `start` is what importing took."""

    taken: dict[str, float] = field(default_factory=lambda: {"start": round(_cpu_s(), 3)})

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what happens inside under `name`."""
        before = _cpu_s()
        yield
        self.taken[name] = round(_cpu_s() - before, 3)

    def write_report(self, out: Path) -> None:
        """Write the stages and the peak memory for `run_measured`."""
        report = {"stages_s": self.taken, "peak_rss_mib": round(_peak_rss_kib() / 1024, 1)}
        (out / REPORT).write_bytes(orjson.dumps(report))


def _cpu_s() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _peak_rss_kib() -> int:
    """The largest resident memory of this process or of a child. ru_maxrss of self would count its parent's as well."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    own = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
