"""Looking at processes from outside."""

import time
from collections.abc import Callable
from pathlib import Path

from pipeline.replay.sandbox.watchdog import descendants


def state_of(pid: int) -> str | None:
    """The letter the kernel has for it (R runs, T is stopped, Z waits to be noticed), None if it is not there."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None


def lives(pid: int) -> bool:
    """Whether the process is there, and not just waiting for its parent to notice its end."""
    return state_of(pid) not in (None, "Z")


def is_gone(pid: int, within_s: float = 5.0) -> bool:
    """Whether the process ends in time."""
    until = time.monotonic() + within_s
    while lives(pid):
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def living_below(pid: int) -> set[int]:
    """Every descendant that lives."""
    return {each for each in descendants(pid) if lives(each)}


def num_descriptors() -> int:
    """Our own open descriptors, the watch's apart: it opens and closes files of its own meanwhile."""
    return min(len(list(Path("/proc/self/fd").iterdir())) for _ in range(50))


def wait_until(holds: Callable[[], bool], within_s: float = 10.0) -> None:
    """Fail unless it soon holds."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)
