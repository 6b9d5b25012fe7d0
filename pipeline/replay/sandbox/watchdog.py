"""A second look, from outside, at the memory that all processes of a sandbox hold together.

The fork server's PID 1 watches its trajectory every few milliseconds and ends just that; this ends the whole sandbox,
should the first look fail. Where /proc cannot be mounted inside (a container that masks it), it is the only one, and
looks as often. One thread for all sandboxes of the process.
"""

import contextlib
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

_FIRST_S, _SECOND_S = 0.015, 0.1
_SECOND_FACTOR = 1.5
"""How far above its cap a sandbox may be that is watched from inside too."""
_PAGES = (b"RssAnon:", b"RssShmem:", b"VmSwap:")
_SHARES = (b"Pss_Anon:", b"Pss_Shmem:", b"SwapPss:")


@dataclass(slots=True, eq=False)
class Watch:
    """One sandbox under watch."""

    pid: int
    pidfd: int
    cap_bytes: int
    """Above what PID 1 itself holds."""
    period_s: float
    overran: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _ended: bool = False

    def end(self) -> None:
        """Look no more; after this the descriptor may be closed."""
        with self._lock:
            self._ended = True
        with _watches_lock:
            _watches.discard(self)

    def look(self) -> None:
        """End the sandbox if it holds too much."""
        held = memory_bytes(self.pid, enough=self.cap_bytes)
        with self._lock:
            if not self._ended and held > self.cap_bytes:
                self.overran = True
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)


_watches: set[Watch] = set()
_watches_lock = threading.Lock()
_thread: threading.Thread | None = None


def watch(pid: int, pidfd: int, cap_bytes: int, *, alone: bool) -> Watch:
    """Watch the sandbox whose PID 1 is `pid` until `end` is called.

    Args:
        pid: PID 1 of the sandbox as this machine numbers it.
        pidfd: a descriptor of it, through which it is ended.
        cap_bytes: what its other processes may hold together.
        alone: whether nobody watches from inside.
    """
    global _thread
    held = Watch(pid, pidfd, cap_bytes if alone else int(cap_bytes * _SECOND_FACTOR), _FIRST_S if alone else _SECOND_S)
    with _watches_lock:
        _watches.add(held)
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_look_on, name="sandbox-watchdog", daemon=True)
            _thread.start()
    return held


def _look_on() -> None:
    global _thread
    while True:
        with _watches_lock:
            watches = list(_watches)
            if not watches:
                _thread = None
                return
        for held in watches:
            held.look()
        time.sleep(min(held.period_s for held in watches))


def memory_bytes(pid: int, *, enough: int = 0) -> int:
    """Memory that all descendants of a process hold together, beyond what they inherited from it.

    A fork shares the pages of its parent but has them in its count, so the parent's count is taken off each. Only where
    that leaves more than `enough` are pages that several share counted once: the kernel then walks the page tables.
    """
    below = descendants(pid)
    own = _held(pid, "status", _PAGES)
    held = sum(max(0, _held(each, "status", _PAGES) - own) for each in below)
    if held <= enough:
        return held
    return sum(_held(each, "smaps_rollup", _SHARES) or _held(each, "status", _PAGES) for each in below)


def descendants(pid: int) -> list[int]:
    """Every process below this one, orphans included: inside a PID namespace they become children of its PID 1."""
    found, waiting = [], [pid]
    while waiting:
        tasks: list[Path] = []
        with contextlib.suppress(OSError):
            tasks += Path(f"/proc/{waiting.pop()}/task").glob("*/children")
        for task in tasks:
            with contextlib.suppress(OSError):  # it ended while we looked
                children = [int(child) for child in task.read_bytes().split()]
                found += children
                waiting += children
    return found


def _held(pid: int, name: str, fields: tuple[bytes, ...]) -> int:
    try:
        lines = Path(f"/proc/{pid}/{name}").read_bytes().splitlines()
    except OSError:
        return 0  # it ended, or hides its pages
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(fields))
