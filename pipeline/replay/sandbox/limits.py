"""How much of each resource untrusted code gets."""

import os
from pathlib import Path

from pipeline.replay.config import PythonSandbox

NUM_PROCESSES = 24
"""Processes and threads of a trajectory together."""
SCRATCH_BYTES = 64 * 2**20
SHARED_BYTES = 16 * 2**20
"""Of /dev/shm, where semaphores and shared memory live."""
NUM_FILES = 20_000
"""Inodes of the writable file systems together; bwrap cannot set this, so the worker watches it."""
_COUNTED_BY_NAMESPACE = (5, 14)
"""The kernel since which RLIMIT_NPROC counts the processes of a user namespace, not all of the user's."""


def resource_limits(config: PythonSandbox) -> dict[str, int]:
    """Values for `resource.setrlimit` by name, soft and hard alike, of each process of a trajectory."""
    return {
        # per process; what they hold together is watched, and address space is more than memory
        "RLIMIT_AS": config.memory_bytes + 2**30,
        "RLIMIT_CPU": config.cpu_s,
        "RLIMIT_NPROC": process_limit(os.uname().release, sandbox_uid()),
        "RLIMIT_FSIZE": SHARED_BYTES,
        "RLIMIT_NOFILE": 256,
        "RLIMIT_CORE": 0,
        "RLIMIT_STACK": 8 * 2**20,
        "RLIMIT_SIGPENDING": 1024,
        "RLIMIT_MSGQUEUE": 0,
        "RLIMIT_MEMLOCK": 2**16,
    }


def process_limit(release: str, uid: int) -> int:
    """RLIMIT_NPROC under this kernel: as it is, or on top of what the user runs already where that counts too."""
    if tuple(int(part) for part in release.split("-")[0].split(".")[:2]) >= _COUNTED_BY_NAMESPACE:
        return NUM_PROCESSES
    return NUM_PROCESSES + _threads_of(uid)


def sandbox_uid() -> int:
    """The user that sandboxes run as: nobody where we are root, for whom RLIMIT_NPROC would not hold."""
    return os.getuid() or 65534


def _threads_of(uid: int) -> int:
    threads = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.stat().st_uid == uid:
                threads += len(list((process / "task").iterdir()))
        except OSError:
            continue  # it ended while we looked
    return threads
