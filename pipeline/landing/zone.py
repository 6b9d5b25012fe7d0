"""The landing zone `<root>/<source>/<YYYY-MM-DD>/`: what lies in it, and putting files there.

`root` is the zone's own folder, `raw` under the data root.
"""

import filecmp
import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path

from pipeline.errors import LandingError

_SOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_UNFINISHED = (".tmp", ".part", ".crdownload")


def list_days(root: Path) -> list[str]:
    """The days that any source has a folder for, ascending."""
    return sorted({folder.name for source in _sources(root) for folder in _subfolders(source) if is_day(folder.name)})


def partition_files(root: Path, day: str) -> list[Path]:
    """The files of a day over all sources, in order of their paths.

    Without hidden and unfinished files (`.x`, `x.tmp`, `x.part`, `x.crdownload`) and without `answers.*`. A folder
    that cannot be listed stands for its files, so that reading it says so.
    """
    return [path for path in _day_files(root, day) if not _is_answers(path)]


def answers_files(root: Path, day: str) -> list[Path]:
    """The `answers.*` files of a day, in order of their paths."""
    return [path for path in _day_files(root, day) if _is_answers(path)]


def source_of(root: Path, path: Path) -> str:
    """The source a file of the landing zone belongs to."""
    return path.relative_to(root).parts[0]


def is_day(name: str) -> bool:
    """Whether the name is a date as a landing folder spells it."""
    if not _DAY.fullmatch(name):
        return False
    try:
        date.fromisoformat(name)
    except ValueError:
        return False
    return True


def is_settled(path: Path, now: float, quiet_s: float) -> bool:
    """Whether the file has been left alone for `quiet_s` seconds; `now` is in seconds since 1970.

    A file stamped in the future is told by when its entry last changed, which no copying tool sets.
    """
    try:
        status = path.stat()
    except OSError:
        return False
    changed = status.st_mtime if status.st_mtime <= now else status.st_ctime
    return now - changed >= quiet_s


def day_fingerprint(root: Path, day: str, *, quiet_s: float) -> str | None:
    """Twelve hex digits that change whenever a file of the day does; None while one is still being written."""
    now = time.time()
    digest = hashlib.sha256()
    for path in _day_files(root, day):
        if path.exists():
            if not is_settled(path, now, quiet_s):
                return None
            status = path.stat()
            digest.update(f"{status.st_size} {status.st_mtime_ns} ".encode())
        digest.update(os.fsencode(path.relative_to(root)) + b"\0")
    return digest.hexdigest()[:12]


def landed_days(paths: Iterable[Path]) -> list[tuple[str, str, Path]] | None:
    """Source, day and folder of each part of folders shaped as a landing zone; None if any path is not so shaped.

    Raises: LandingError if a folder has that shape but for a file that stands outside of it.
    """
    found: list[tuple[str, str, Path]] = []
    for path in paths:
        parts = [
            (source.name, folder.name, folder)
            for source in _sources(path)
            for folder in _subfolders(source)
            if is_day(folder.name) and any(_walk(folder))
        ]
        if not parts:
            return None
        folders = [folder for _, _, folder in parts]
        for file in _walk(path):
            if not any(file.is_relative_to(folder) for folder in folders):
                raise LandingError(
                    f"{file}: stands outside the <source>/<YYYY-MM-DD>/ folders of {path}; move it, or name --source "
                    "and --day for all of it"
                )
        found += parts
    return found or None


def land(
    paths: Iterable[Path], root: Path, source: str, day: str, *, contents: bool = False, rename: str | None = None
) -> list[Path]:
    """Where each file now lies in the landing zone: a copy of it, whole or not there at all.

    A folder keeps its name and what lies in it its relative path; with `contents`, only the latter. `rename` is the
    name that a single file gets. Hidden and unfinished files in a folder stay behind. A file that is there already
    with the same content is left alone. Everything is checked before anything is copied.

    Raises: LandingError naming the path and what to do: it does not exist, is no file or folder, holds nothing, lies
    inside the landing zone or around it, or a different file has its place; or the source or day is malformed.
    """
    if not _SOURCE.fullmatch(source):
        raise LandingError(
            f"source {source!r}: want letters, digits, dot, dash and underscore, beginning with a letter or digit; "
            "name another with --source"
        )
    if not is_day(day):
        raise LandingError(f"day {day!r}: want a date as YYYY-MM-DD; name one with --day")
    folder = root / source / day
    places: dict[Path, Path] = {}
    for path in paths:
        for origin, name in _planned(path, root, contents=contents):
            place = folder / (rename or name)
            if place in places and not _same(places[place], origin):
                raise LandingError(f"{origin}: {places[place]} would land at the same place {place}; rename one")
            if place.exists() and not _same(origin, place):
                raise LandingError(
                    f"{origin}: a different file lies at {place} already; rename yours, or name another --source "
                    "or --day"
                )
            places[place] = origin
    for place, origin in places.items():
        _copy(origin, place)
    return list(places)


def _sources(root: Path) -> list[Path]:
    return [folder for folder in _subfolders(root) if not folder.name.startswith(".")]


def _subfolders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _day_files(root: Path, day: str) -> list[Path]:
    folders = [source / day for source in _sources(root)]
    return sorted((path for folder in folders for path in _walk(folder)), key=lambda path: path.as_posix())


def _walk(folder: Path) -> Iterator[Path]:
    """Everything under a folder that is no folder and has a finished name; a link that runs in a circle ends."""
    unlisted: list[Path] = []
    seen: set[tuple[int, int]] = set()
    for parent, names, files in os.walk(folder, followlinks=True, onerror=lambda error: unlisted.append(_named(error))):
        status = Path(parent).stat()
        if (status.st_dev, status.st_ino) in seen:
            names.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        names[:] = sorted(name for name in names if not name.startswith("."))
        yield from (Path(parent, name) for name in files if _is_finished(name))
    yield from (path for path in unlisted if path.exists())


def _named(error: OSError) -> Path:
    return Path(os.fsdecode(error.filename))


def _is_finished(name: str) -> bool:
    return not name.startswith(".") and not name.endswith(_UNFINISHED)


def _is_answers(path: Path) -> bool:
    return path.name.startswith("answers.")


def _planned(path: Path, root: Path, *, contents: bool) -> Iterator[tuple[Path, Path]]:
    """Each file of a path the user named, and its name in the landing zone, with the folders it keeps."""
    if not path.exists():
        raise LandingError(f"{path}: does not exist; name a file or folder of traces")
    real, zone = path.resolve(), root.resolve()
    if real.is_relative_to(zone):
        raise LandingError(f"{path}: lies inside the landing zone {root}; run with --day instead of a path")
    if zone.is_relative_to(real):
        raise LandingError(f"{path}: holds the landing zone {root} itself; name the folders of traces in it")
    if path.is_dir():
        files = sorted(_walk(path))
        if not files:
            raise LandingError(f"{path}: holds no finished file (hidden, .tmp, .part and .crdownload do not count)")
        for file in files:
            _require_file(file)
            yield file, (Path() if contents else Path(real.name)) / file.relative_to(path)
        return
    _require_file(path)
    if not _is_finished(path.name):
        raise LandingError(f"{path}: hidden and unfinished names are passed over in the landing zone; rename it")
    yield path, Path(path.name)


def _require_file(path: Path) -> None:
    if not path.exists():
        raise LandingError(f"{path}: a link to nothing; mend or remove it")
    if not path.is_file():
        raise LandingError(f"{path}: want a regular file or a folder that can be listed; remove it or leave it out")


def _same(one: Path, other: Path) -> bool:
    try:
        return filecmp.cmp(one, other, shallow=False)
    except OSError as error:
        raise LandingError(f"{error.filename or one}: cannot be read ({error.strerror}); check its rights") from error


def _copy(origin: Path, place: Path) -> None:
    """Copy a file aside, flush it and rename it into place; one that is there already is the same."""
    if place.exists():
        return
    aside = place.with_name(f".{place.name[:200]}.{os.getpid()}.tmp")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            with origin.open("rb") as reader, aside.open("wb") as writer:
                shutil.copyfileobj(reader, writer, 1 << 20)
                writer.flush()
                os.fsync(writer.fileno())
            aside.replace(place)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise LandingError(
            f"{origin}: cannot be copied to {place} ({error.strerror}); mend that and run again"
        ) from error
