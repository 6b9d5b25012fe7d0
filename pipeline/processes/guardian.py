"""Runs a command as `guardian.py GRACE_S KEEP ASK SCRATCH PROGRAM [ARGUMENT ...]`; nothing of it outlives it.

It is run as a script, with `python -I -S`, and imports the standard library only. The command shares its standard input
and output. Once whoever holds the other end of the input closes it, or dies of whatever cause, the command has GRACE_S
seconds to leave; then every process below is killed, those that left the process group too. SIGTERM kills at once.
KEEP is `*`, or the names, parted by commas, of the environment variables that the command gets to see. ASK is the
number of a signal the command gets when its grace begins, 0 for one that heeds the end of its input. SCRATCH, unless
empty, is a folder that is removed after the last process. The end of what the command wrote to its standard error is
passed on when it ends, so that an endless log fills nothing. Descriptors that the guardian was handed, such as a
lock's, stay its own: they are let go when nothing of the command is left.
"""

import ctypes
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

STDERR_BYTES = 4096
"""How much of the end of the standard error is kept; less than a pipe holds, so passing it on never blocks."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LOOK_AGAIN_MS = 1000
_LAST_KILL_S = 5.0
_CLEAN_UP_S = 2.0
_CLEANS_UP = b"multiprocessing.resource_tracker"
"""In the command line of the process in which Python frees the shared memory of the others, once they are gone."""


class _TerminatedError(Exception):
    """We were told to end."""


def _terminated(_signal: int, _frame: FrameType | None) -> None:
    raise _TerminatedError


def guarded(
    command: Sequence[str],
    *,
    grace_s: float,
    keep: Sequence[str] | None = None,
    ask: signal.Signals | None = None,
    scratch: Path | None = None,
) -> list[str]:
    """The command line that runs `command` under a guardian; `keep` None: it sees the whole environment."""
    seen = "*" if keep is None else ",".join(keep)
    return [sys.executable, "-I", "-S", __file__, str(grace_s), seen, str(int(ask or 0)), str(scratch or ""), *command]


def start(command: list[str], environment: dict[str, str]) -> tuple[int, int]:
    """The command's process id and the descriptor its standard error can be read from."""
    libc = ctypes.CDLL(None)
    # Orphans of the command come to us instead of to init, so that they can be found and killed.
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    errors, errors_in = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            # The second line of defence, should somebody kill the guardian itself.
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            hear_signals()
            os.dup2(errors_in, 2)
            os.closerange(3, max(int(held.name) for held in os.scandir("/proc/self/fd")) + 1)
            os.execvpe(command[0], command, environment)
        except OSError as error:
            os.write(2, f"{command[0]}: {error.strerror}\n".encode())
        finally:
            os._exit(127)
    os.close(errors_in)
    os.close(1)  # else the reader would see no end of file when the command ends
    return pid, errors


def hear_signals() -> None:
    """Undo what whoever started us ignores or blocks, which lives on through exec: we ask by signals."""
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def reap(pid: int) -> int | None:
    """The exit status of `pid` if it has ended, -1 if it is not there; orphans that came to us are reaped as well."""
    status = None
    while True:
        try:
            ended, code = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return -1 if status is None else status
        if ended == 0:
            return status
        if ended == pid:
            status = os.waitstatus_to_exitcode(code)


def descendants(root: int) -> list[int]:
    """The process ids below `root`, in no order."""
    children: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                fields = Path(entry.path, "stat").read_text(errors="replace").rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[int] = []
    pending = [root]
    while pending:
        below = children.get(pending.pop(), [])
        found += below
        pending += below
    return found


def kill_all() -> None:
    """Kill whatever is below us; returns once nothing is left or it cannot be killed."""
    begun = time.monotonic()
    while (past_s := time.monotonic() - begun) < _LAST_KILL_S:
        for pid in descendants(os.getpid()):
            try:
                if past_s > _CLEAN_UP_S or _CLEANS_UP not in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.005)


def watch(pid: int, errors: int, grace_s: float, ask: int, tail: bytearray) -> int:
    """The exit status of the command, once it has ended by itself or had to; its last errors are added to `tail`."""
    parent = os.getppid()
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)
    poll = select.poll()
    poll.register(0, 0)  # POLLHUP is always told
    poll.register(errors, select.POLLIN)
    poll.register(woken, select.POLLIN)
    until: float | None = None
    while (status := reap(pid)) is None:
        wait_ms = _LOOK_AGAIN_MS
        if until is not None:
            wait_ms = int((until - time.monotonic()) * 1000)
            if wait_ms <= 0:
                return 128 + signal.SIGKILL
        for descriptor, event in poll.poll(wait_ms):
            if descriptor == 0 and event:
                poll.unregister(0)
                until = time.monotonic() + grace_s
                if ask:
                    os.kill(pid, ask)  # not reaped yet, so the id is still its own
            elif descriptor == woken:
                os.read(woken, 512)
            elif descriptor == errors and not _keep(errors, tail):
                poll.unregister(errors)
        # A forked sibling of ours may hold the input open after the parent is gone.
        if os.getppid() != parent and until is None:
            until = time.monotonic()
    return status


def _keep(errors: int, tail: bytearray) -> bool:
    read = os.read(errors, 65536)
    tail += read
    del tail[:-STDERR_BYTES]
    return bool(read)


def main() -> None:
    """Run the command of the command line."""
    grace_s, keep, ask, scratch, *command = sys.argv[1:]
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    environment = dict(os.environ)
    if keep != "*":
        kept = keep.split(",")
        environment = {name: value for name, value in environment.items() if name in kept}
    pid, errors = start(command, environment)
    tail = bytearray()
    try:
        signal.signal(signal.SIGTERM, _terminated)
        status = watch(pid, errors, float(grace_s), int(ask), tail)
    except _TerminatedError:
        status = 128 + signal.SIGTERM
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    kill_all()
    if scratch:
        shutil.rmtree(scratch, ignore_errors=True)
    os.set_blocking(errors, False)
    try:
        while _keep(errors, tail):
            pass
    except BlockingIOError:
        pass
    os.write(2, tail)
    os._exit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    main()
