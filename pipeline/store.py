"""Tables on disk: whole partitions of Parquet shards, swapped in at once, never half written.

A partition is a folder `tables/<asset>/day=<D>/` of shards and a `manifest.json`. A writer fills a folder aside under
`tables/.staging/` and swaps it in with one rename, so that a reader sees the old partition or the new one, and a
killed run leaves nothing but a folder that the next writer clears.
"""

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from pipeline.errors import MissingTableError

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@dataclass(slots=True)
class Writer:
    """Collects the shards of one partition until it is published."""

    folder: Path
    shards: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    """What the manifest says besides the shards: config hash, versions of inputs."""

    def write_shard(self, frame: pl.DataFrame, *, row_group_size: int = 4096) -> None:
        """Add a shard; its name carries its number, its bytes depend on nothing but the rows."""
        path = self.folder / f"part-{len(self.shards):05d}.parquet"
        frame.write_parquet(path, compression="zstd", row_group_size=row_group_size, statistics=True)
        self.shards.append({"name": path.name, "rows": frame.height, "sha256": file_hash(path)})

    @property
    def num_rows(self) -> int:
        """Rows written so far."""
        return sum(shard["rows"] for shard in self.shards)


class TableStore:
    """The tables under one data root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tables = root / "tables"

    def folder(self, asset: str, day: str) -> Path:
        """Where a partition lies, whether or not it exists."""
        return self.tables / asset / f"day={day}"

    def days(self, asset: str) -> list[str]:
        """The days an asset has been written for, ascending."""
        return sorted(path.name.removeprefix("day=") for path in (self.tables / asset).glob("day=*"))

    def has(self, asset: str, day: str) -> bool:
        """Whether the partition has been written."""
        return (self.folder(asset, day) / "manifest.json").exists()

    def shards(self, asset: str, day: str) -> list[Path]:
        """The partition's shards in order. Raises MissingTableError if it was never written."""
        if not self.has(asset, day):
            raise MissingTableError(
                f"{asset}/day={day}: want a written partition, found none under {self.folder(asset, day)}; "
                f"run `toolwise curate --day {day} --until {asset}` first"
            )
        return sorted(self.folder(asset, day).glob("part-*.parquet"))

    def scan(self, asset: str, day: str) -> pl.LazyFrame:
        """The partition as a lazy frame, shards in order."""
        return pl.scan_parquet(self.shards(asset, day))

    def scan_days(self, asset: str, days: list[str]) -> pl.LazyFrame | None:
        """The named partitions with a `day` column, None where none of them exists."""
        frames = [self.scan(asset, day).with_columns(day=pl.lit(day)) for day in days if self.has(asset, day)]
        return pl.concat(frames) if frames else None

    def manifest(self, asset: str, day: str) -> dict[str, Any] | None:
        """What was recorded when the partition was written, None if it was not."""
        path = self.folder(asset, day) / "manifest.json"
        return orjson.loads(path.read_bytes()) if path.exists() else None

    def version(self, asset: str, day: str) -> str | None:
        """Twelve hex digits over the bytes of the partition's shards, None if it was never written."""
        manifest = self.manifest(asset, day)
        if manifest is None:
            return None
        return hashlib.sha256("".join(shard["sha256"] for shard in manifest["shards"]).encode()).hexdigest()[:12]

    def remove(self, asset: str, day: str) -> None:
        """Take a partition away in one step, as if it had never been written."""
        with self.lock(f"{asset}-{day}"):
            folder, aside = self.folder(asset, day), self.tables / ".staging" / f"{asset}-{day}"
            shutil.rmtree(aside, ignore_errors=True)
            if folder.exists():
                aside.parent.mkdir(parents=True, exist_ok=True)
                folder.rename(aside)
                shutil.rmtree(aside)

    def sweep(self) -> None:
        """Clear what killed writers left; a living one is waited for."""
        for left in sorted((self.tables / ".staging").glob("*")):
            with self.lock(left.name.removesuffix(".old")):
                shutil.rmtree(left, ignore_errors=True)

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold `name` against every other process; a killed holder lets go."""
        path = self.tables / ".locks" / f"{name}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def writing(self, asset: str, day: str) -> Iterator[Writer]:
        """A writer whose shards become the partition when the block ends without an error."""
        with self.lock(f"{asset}-{day}"):
            staging = self.tables / ".staging" / f"{asset}-{day}"
            shutil.rmtree(staging, ignore_errors=True)  # what a killed writer left; the lock says none is alive
            staging.mkdir(parents=True)
            try:
                writer = Writer(staging)
                yield writer
                manifest = {
                    "asset": asset,
                    "day": day,
                    "rows": writer.num_rows,
                    **writer.facts,
                    "shards": writer.shards,
                }
                write_file(staging / "manifest.json", orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
                publish_folder(staging, self.folder(asset, day))
            finally:
                shutil.rmtree(staging, ignore_errors=True)


def publish_folder(staging: Path, target: Path) -> None:
    """Make `staging` the folder `target` in one step; afterwards `staging` holds what stood there, if anything."""
    for path in staging.rglob("*"):
        if path.is_file():
            with path.open("rb") as handle:
                os.fsync(handle.fileno())
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        staging.rename(target)
        return
    libc = ctypes.CDLL(None, use_errno=True)
    swapped = libc.renameat2(
        _AT_FDCWD, os.fsencode(staging), _AT_FDCWD, os.fsencode(target), ctypes.c_uint(_RENAME_EXCHANGE)
    )
    if swapped == 0:
        return
    code = ctypes.get_errno()
    if code not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        raise OSError(code, os.strerror(code), str(target))
    # A file system without exchange (NFS, some overlays): between two renames the partition is absent, never mixed.
    aside = staging.with_name(f"{staging.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    target.rename(aside)
    staging.rename(target)
    shutil.rmtree(aside)


def write_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: aside, flushed, renamed."""
    aside = _aside(path)
    with aside.open("wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())
    aside.replace(path)


def write_frame(path: Path, frame: pl.DataFrame) -> None:
    """Write a small Parquet file whole or not at all."""
    aside = _aside(path)
    frame.write_parquet(aside, compression="zstd")
    with aside.open("rb") as handle:
        os.fsync(handle.fileno())
    aside.replace(path)


def _aside(path: Path) -> Path:
    """Where this process writes the next content of `path`; what killed writers left of it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        if not is_alive(int(left.name.rsplit(".", 2)[1])):
            left.unlink(missing_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def is_alive(process: int) -> bool:
    """Whether the process exists, whosever it is."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OverflowError, PermissionError):
        return True
    return True


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
