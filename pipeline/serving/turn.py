"""One server of our own at a time on a machine: whoever comes second waits."""

import fcntl
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from pipeline.errors import ModelServerError

_LOOK_AGAIN_S = 0.2
_SAY_AGAIN_S = 300.0
_TOLD_BYTES = 1000
_WANTED_S = 2.0
"""A wish this old is nobody's any more."""


def take_turn(lock: Path, what: str, say: Callable[[str], None], cancelled: threading.Event) -> int:
    """A descriptor that holds the lock for as long as anybody has it open; the kernel lets go for a killed one.

    Raises ModelServerError if `cancelled` is set while another holds the lock.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    held = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _wait(lock, held, say, cancelled)
        os.ftruncate(held, 0)
        os.pwrite(held, f"process {os.getpid()}, {what}, since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC".encode(), 0)
    except BaseException:
        os.close(held)
        raise
    return held


def is_wanted(lock: Path) -> bool:
    """Whether another process waits for its turn right now."""
    try:
        return time.time() - _wish(lock).stat().st_mtime < _WANTED_S
    except FileNotFoundError:
        return False


def _wish(lock: Path) -> Path:
    return lock.with_suffix(".wanted")


def _wait(lock: Path, held: int, say: Callable[[str], None], cancelled: threading.Event) -> None:
    said = None
    while not _is_free(held):
        _wish(lock).touch()
        if said is None or time.monotonic() - said > _SAY_AGAIN_S:
            said = time.monotonic()
            told = os.pread(held, _TOLD_BYTES, 0).decode(errors="replace").strip()
            say(f"another run has a model server of its own on this machine ({told}); waiting for its end")
        if cancelled.wait(_LOOK_AGAIN_S):
            raise ModelServerError("model server: closed while it waited for another run's to end")


def _is_free(held: int) -> bool:
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
