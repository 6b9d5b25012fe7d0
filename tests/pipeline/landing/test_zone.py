"""What lies in the landing zone, and putting files there."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import LandingError
from pipeline.landing.zone import (
    answers_files,
    day_fingerprint,
    is_settled,
    land,
    landed_days,
    list_days,
    partition_files,
    source_of,
)

DAY = "2025-01-02"


def _put(path: Path, text: str = "{}") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_days_are_those_of_every_source_and_nothing_else(tmp_path: Path) -> None:
    for name in (
        "b/2025-01-03/x",
        "a/2025-01-02/x",
        "b/2025-01-02/x",
        "a/2025-02-30/x",
        "a/notes/x",
        ".old/2025-01-09/x",
    ):
        _put(tmp_path / name)
    _put(tmp_path / "a" / "2025-01-04")
    assert list_days(tmp_path) == ["2025-01-02", "2025-01-03"]
    assert list_days(tmp_path / "nowhere") == []


def test_a_partition_is_its_finished_files_in_order(tmp_path: Path) -> None:
    finished = ("b/{}/z.json", "a/{}/deep/er/y.txt", "a/{}/x.jsonl", "a/{}/answers.csv", "a/{}/deep/answers.jsonl.gz")
    passed_over = ("a/{}/.x.jsonl.1.tmp", "a/{}/x.tmp", "a/{}/x.part", "a/{}/x.crdownload", "a/{}/.hidden/x")
    for name in (*finished, *passed_over):
        _put(tmp_path / name.format(DAY))
    os.mkfifo(tmp_path / "a" / DAY / "pipe")
    (tmp_path / "a" / DAY / "broken").symlink_to("nowhere")
    (tmp_path / "a" / DAY / "circle").symlink_to(tmp_path / "a")
    names = [str(path.relative_to(tmp_path)) for path in partition_files(tmp_path, DAY)]
    inside = [name for name in names if "circle" not in name]
    assert inside == [
        f"a/{DAY}/broken",
        f"a/{DAY}/deep/er/y.txt",
        f"a/{DAY}/pipe",
        f"a/{DAY}/x.jsonl",
        f"b/{DAY}/z.json",
    ]
    answers = [path.relative_to(tmp_path / "a" / DAY) for path in answers_files(tmp_path, DAY)]
    assert [str(path) for path in answers if "circle" not in str(path)] == ["answers.csv", "deep/answers.jsonl.gz"]
    assert source_of(tmp_path, tmp_path / "b" / DAY / "z.json") == "b"


@pytest.mark.parametrize(("age_s", "settled"), [(10.0, True), (9.9, False), (0.0, False)])
def test_a_file_is_settled_once_left_alone_for_long_enough(tmp_path: Path, age_s: float, settled: bool) -> None:  # noqa: FBT001
    path = _put(tmp_path / "x")
    os.utime(path, (1000.0, 1000.0))
    assert is_settled(path, 1000.0 + age_s, 10.0) is settled


def test_a_file_stamped_in_the_future_is_told_by_its_entry(tmp_path: Path) -> None:
    path = _put(tmp_path / "x")
    far = time.time() + 1e7
    os.utime(path, (far, far))
    assert not is_settled(path, time.time(), 60.0)
    assert is_settled(path, time.time() + 61.0, 60.0)
    assert not is_settled(tmp_path / "gone", time.time(), 0.0)


def test_the_fingerprint_of_a_day_changes_with_its_files(tmp_path: Path) -> None:
    path = _put(tmp_path / "a" / DAY / "x", "one")
    assert day_fingerprint(tmp_path, DAY, quiet_s=60.0) is None
    first = day_fingerprint(tmp_path, DAY, quiet_s=0.0)
    assert first == day_fingerprint(tmp_path, DAY, quiet_s=0.0)
    path.write_text("three")
    second = day_fingerprint(tmp_path, DAY, quiet_s=0.0)
    path.rename(path.with_name("y"))
    third = day_fingerprint(tmp_path, DAY, quiet_s=0.0)
    assert len({first, second, third, None}) == 4


def test_files_and_folders_land_with_their_relative_paths(tmp_path: Path) -> None:
    mine, zone = tmp_path / "mine", tmp_path / "raw"
    _put(mine / "a" / "x.jsonl", "1")
    _put(mine / "y.txt", "2")
    _put(mine / ".DS_Store")
    single = _put(tmp_path / "z.json", "3")
    landed = land([mine, single], zone, "agents", DAY)
    folder = zone / "agents" / DAY
    assert landed == [folder / "mine" / "a" / "x.jsonl", folder / "mine" / "y.txt", folder / "z.json"]
    assert [path.read_text() for path in landed] == ["1", "2", "3"]
    assert partition_files(zone, DAY) == landed
    assert land([mine, single], zone, "agents", DAY) == landed
    assert land([mine], zone, "other", DAY, contents=True)[0] == zone / "other" / DAY / "a" / "x.jsonl"
    assert land([single], zone, "other", DAY, rename="answers.json") == [zone / "other" / DAY / "answers.json"]


def test_a_landed_copy_does_not_change_with_its_origin(tmp_path: Path) -> None:
    origin = _put(tmp_path / "x", "one")
    (copy,) = land([origin], tmp_path / "raw", "s", DAY)
    with origin.open("a") as handle:
        handle.write(" more")
    assert copy.read_text() == "one"


def test_nothing_is_copied_unless_everything_can_be(tmp_path: Path) -> None:
    zone = tmp_path / "raw"
    with pytest.raises(LandingError, match="does not exist"):
        land([_put(tmp_path / "x"), tmp_path / "gone"], zone, "s", DAY)
    assert not zone.exists()


def _folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def _pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def _dangling(path: Path) -> Path:
    _folder(path).joinpath("link").symlink_to("nowhere")
    return path


REFUSED = [
    (lambda tmp: tmp / "gone", "s", DAY, "does not exist; name a file or folder"),
    (lambda tmp: _folder(tmp / "empty"), "s", DAY, "holds no finished file"),
    (lambda tmp: _pipe(tmp / "pipe"), "s", DAY, "want a regular file"),
    (lambda tmp: _dangling(tmp / "links"), "s", DAY, "a link to nothing"),
    (lambda tmp: _put(tmp / "raw" / "s" / DAY / "x"), "s", DAY, "lies inside the landing zone"),
    (lambda tmp: _put(tmp / "raw" / "s" / DAY / "x").parents[3], "s", DAY, "holds the landing zone"),
    (lambda tmp: _put(tmp / "x.part"), "s", DAY, "unfinished names are passed over"),
    (lambda tmp: _put(tmp / ".x"), "s", DAY, "hidden and unfinished"),
    (lambda tmp: _put(tmp / "x"), "../s", DAY, "source '../s': want letters"),
    (lambda tmp: _put(tmp / "x"), "", DAY, "source '': want letters"),
    (lambda tmp: _put(tmp / "x"), "s", "2025-13-01", "day '2025-13-01': want a date"),
    (lambda tmp: _put(tmp / "x"), "s", "20250101", "day '20250101': want a date"),
]


@pytest.mark.parametrize(("make", "source", "day", "message"), REFUSED)
def test_what_cannot_be_landed_is_refused_with_the_reason(
    tmp_path: Path, make: Callable[[Path], Path], source: str, day: str, message: str
) -> None:
    with pytest.raises(LandingError, match=message):
        land([make(tmp_path)], tmp_path / "raw", source, day)


def test_a_different_file_in_the_place_is_never_overwritten(tmp_path: Path) -> None:
    zone = tmp_path / "raw"
    (copy,) = land([_put(tmp_path / "one" / "x", "1")], zone, "s", DAY)
    other = _put(tmp_path / "two" / "x", "2")
    with pytest.raises(LandingError, match=r"a different file lies at .* already; rename yours"):
        land([other], zone, "s", DAY)
    with pytest.raises(LandingError, match="would land at the same place"):
        land([tmp_path / "one" / "x", other], zone, "t", DAY)
    assert copy.read_text() == "1"


def test_a_folder_shaped_as_a_landing_zone_keeps_sources_and_days(tmp_path: Path) -> None:
    one, two = (
        _put(tmp_path / "in" / "a" / DAY / "x").parent,
        _put(tmp_path / "in" / "b" / "2025-01-03" / "d" / "y").parents[1],
    )
    assert landed_days([tmp_path / "in"]) == [("a", DAY, one), ("b", "2025-01-03", two)]
    assert landed_days([one]) is None
    assert landed_days([one / "x"]) is None
    assert landed_days([]) is None
    _put(tmp_path / "in" / "stray.jsonl")
    with pytest.raises(LandingError, match="stands outside the"):
        landed_days([tmp_path / "in"])
