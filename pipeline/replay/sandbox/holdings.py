"""What the processes of a sandbox hold: memory and files. Runs inside: standard library alone, Python from 3.9 on."""

# ruff: noqa: PTH101, PTH106, PTH108, PTH116, PTH208  # system calls by their own names

from __future__ import annotations

import os
import stat

_FEW_FILES = 500
"""More are not wiped but go with the sandbox."""


def memory_bytes(*, exact: bool) -> int:
    """Bytes of anonymous and shared memory that all processes hold.

    Args:
        exact: count a page that several share once. Slow: the kernel walks the page tables.
    """
    name, fields = ("smaps_rollup", (b"Pss_Anon:", b"Pss_Shmem:")) if exact else ("status", (b"RssAnon:", b"RssShmem:"))
    total = 0
    try:
        processes = [entry for entry in os.listdir("/proc") if entry.isdigit()]
    except OSError:
        return 0
    for process in processes:
        total += _fields(f"/proc/{process}/{name}", fields) or (
            # one that hides its pages is counted whole
            _fields(f"/proc/{process}/status", (b"RssAnon:", b"RssShmem:")) if exact else 0
        )
    return total


def _fields(path: str, names: tuple[bytes, ...]) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return 0
    try:
        text = os.read(descriptor, 4096)
    except OSError:
        return 0  # it ended while we looked
    finally:
        os.close(descriptor)
    total = 0
    for name in names:
        at = text.find(name)
        if at >= 0:
            total += int(text[at + len(name) :].split(None, 1)[0]) * 1024
    return total


def num_files(folder: str) -> int:
    """Inodes in use on the folder's file system."""
    used = os.statvfs(folder)
    return used.f_files - used.f_ffree


def emptied(folder: str, before: int) -> bool:
    """Whether the folder could quickly be made as it was."""
    try:
        if os.stat(folder).st_mode & 0o7777 != 0o755:
            os.chmod(folder, 0o755)
        for name in os.listxattr(folder):
            os.removexattr(folder, name)
        left = num_files(folder) - before
        if left > _FEW_FILES:
            return False
        if left or not os.statvfs(folder).f_files:
            _remove_below(folder)
        return num_files(folder) == before
    except (OSError, RecursionError):
        return False


def _remove_below(folder: str) -> None:
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            os.chmod(entry.path, stat.S_IRWXU)
            _remove_below(entry.path)
            os.rmdir(entry.path)
        else:
            os.unlink(entry.path)
