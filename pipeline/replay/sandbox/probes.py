"""Attempts to get out, made inside a fresh sandbox before anything else is run there; each must fail.

Runs in the sandbox in the worker's place, so it has the standard library alone. Reads what to try from argv[1], writes
one JSON object to descriptor 3: for each probe, null if it failed as it must, else what it achieved.
"""

import ctypes
import errno
import json
import os
import resource
import socket
import sys
import time
from pathlib import Path

_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
_CAPABILITIES_V3, _NUM_CAPABILITIES, _READ_BOUND = 0x20080522, 41, 23
_GET_NO_NEW_PRIVILEGES, _GET_SECCOMP, _FILTERED = 39, 21, 2
_HOLD_S = 5.0


def read_host_file(told: dict) -> str | None:
    """A file that anybody on the machine may read."""
    found = [path for path in (told["secret"], "/etc/passwd", "/proc/1/root/etc/passwd") if os.access(path, os.R_OK)]
    return f"could read {found}" if found else None


def see_other_processes(told: dict) -> str | None:
    """Their environment, and so their secrets."""
    if os.getpid() != 1:
        return f"is process {os.getpid()}, not 1"
    seen = sorted(folder.name for folder in Path("/proc").glob("[0-9]*") if folder.name != "1")
    return f"could see processes {seen[:5]}" if seen else None


def have_environment(told: dict) -> str | None:
    """Variables of the process that started the sandbox."""
    extra = sorted(set(os.environ) - set(told["environment"]))
    return f"has {extra}" if extra else None


def write_outside(told: dict) -> str | None:
    """Anywhere but the scratch folder and shared memory."""
    for folder in ("/", "/opt", "/opt/py", "/opt/site", "/dev", "/usr", "/lib"):
        try:
            Path(folder, "probe").touch()
        except OSError:
            continue
        return f"could write in {folder}"
    return None


def connect(told: dict) -> str | None:
    """A listener of ours on the machine's loopback."""
    try:
        with socket.create_connection(("127.0.0.1", told["port"]), timeout=1):
            return "connected to a port of the machine"
    except OSError:
        pass
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
    except OSError:
        return None
    return "could make an internet socket"


def make_namespace(told: dict) -> str | None:
    """With which it would be root of a kind, and reach more of the kernel."""
    libc = ctypes.CDLL(None, use_errno=True)
    for flag in (_NEW_USER, _NEW_NETWORK):
        if libc.unshare(flag) == 0:
            return f"could unshare {flag:#x}"
    return None


def mount(told: dict) -> str | None:
    """A file system over another."""
    libc = ctypes.CDLL(None, use_errno=True)
    return "could mount" if libc.mount(b"none", b"/work", b"tmpfs", 0, None) == 0 else None


def have_rights(told: dict) -> str | None:
    """Capabilities, a way to gain some, or a process without the system call filter."""
    libc = ctypes.CDLL(None, use_errno=True)
    held = (ctypes.c_uint32 * 6)()
    libc.capget((ctypes.c_uint32 * 2)(_CAPABILITIES_V3, 0), held)
    if any(held):
        return "has capabilities"
    if any(libc.prctl(_READ_BOUND, capability, 0, 0, 0) == 1 for capability in range(_NUM_CAPABILITIES)):
        return "could gain capabilities"
    if libc.prctl(_GET_NO_NEW_PRIVILEGES, 0, 0, 0, 0) != 1:
        return "could gain privileges"
    return None if libc.prctl(_GET_SECCOMP, 0, 0, 0, 0) == _FILTERED else "has no system call filter"


def hide_memory(told: dict) -> str | None:
    """Hold memory that belongs to no process."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(ctypes.c_long(319), b"probe", 0) >= 0:
        return "could make a memfd"
    return "could make System V shared memory" if libc.shmget(0, 4096, 0o1600) >= 0 else None


def fork_freely(told: dict) -> str | None:
    """More processes than the limit. Those it makes stay while the machine looks whether it sees them."""
    limit = told["rlimits"].get("RLIMIT_NPROC", told["num_processes"])
    if "RLIMIT_NPROC" in told["rlimits"]:
        resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))
    made = 0
    for made in range(limit + 8):
        try:
            if os.fork() == 0:
                time.sleep(_HOLD_S)
                os._exit(0)
        except OSError as error:
            refused = errno.errorcode.get(error.errno or 0, "?")
            return None if refused == "EAGAIN" and made >= 2 else f"made {made} processes, then {refused}"
    return f"made {made + 1} processes"


PROBES = (
    read_host_file, see_other_processes, have_environment, write_outside, connect, make_namespace, mount, have_rights,
    hide_memory, fork_freely,
)  # fmt: skip
"""In order; the one that forks comes last, since its processes then stay."""


def main() -> None:
    """Try everything, tell, wait to be ended."""
    channel = socket.socket(fileno=3)
    told = json.loads(sys.argv[1])
    achieved = {}
    for probe in PROBES:
        try:
            achieved[probe.__name__] = probe(told)
        except Exception as error:  # a probe that breaks has shown nothing, and that is told
            achieved[probe.__name__] = f"broke: {error!r}"
    channel.sendall(json.dumps(achieved).encode())
    channel.shutdown(socket.SHUT_WR)
    channel.recv(1)


if __name__ == "__main__":
    main()
