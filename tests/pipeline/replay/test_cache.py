"""What the cache of observations promises: nothing half written, nothing kept past a purge, nothing beyond its size."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.replay.cache import ObservationCache, run_key
from pipeline.replay.environment import Observation, Status
from pipeline.sqlite_cache import ENTRY_BYTES

SEEN = [Observation("1", alternatives=("one",)), Observation("", Status.TIMEOUT, "10 s")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "observations.sqlite"


def test_what_was_put_comes_back_as_it_was(path: Path) -> None:
    cache = ObservationCache(path)
    cache.put("k", "t0", SEEN)
    cache.close()
    assert ObservationCache(path).get("k", "t1") == SEEN
    assert ObservationCache(path).get("other", "t1") is None


@pytest.mark.parametrize(
    "other",
    [
        ("v2", "s", [("python", "a")], 1, ""),
        ("v1", "t", [("python", "a")], 1, ""),
        ("v1", "s", [("python", "b")], 1, ""),
        ("v1", "s", [("python", "a"), ("python", "a")], 1, ""),
        ("v1", "s", [("python", "a")], 2, ""),
        ("v1", "s", [("python", "a")], 1, "state"),
    ],
)
def test_a_key_changes_with_everything_the_observations_depend_on(other: tuple) -> None:
    assert run_key(*other) != run_key("v1", "s", [("python", "a")], 1, "")


def test_a_purge_takes_the_runs_of_a_trajectory_and_their_bytes(path: Path) -> None:
    cache = ObservationCache(path)
    cache.put("mine", "t0", [Observation("a sentence nobody else says")])
    (held,) = sqlite3.connect(path).execute("SELECT value FROM entries").fetchone()
    assert any(held in each.read_bytes() for each in path.parent.iterdir())
    cache.put("other", "t1", [Observation("x")])
    assert cache.get("mine", "t2") is not None
    assert cache.forget(["t2"]) == 1
    assert cache.get("mine", "t0") is None
    assert cache.get("other", "t1") is not None
    cache.close()
    assert not any(held in each.read_bytes() for each in path.parent.iterdir())


def test_the_longest_unused_runs_go_first_when_it_is_too_large(path: Path) -> None:
    cache = ObservationCache(path)
    for number in range(10):
        cache.put(f"k{number}", "t", [Observation(f"{number}")])
    cache.close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE entries SET used = cast(substr(key, 2) AS integer)")
    connection.commit()
    sizes = [size for (size,) in connection.execute("SELECT length(value) FROM entries ORDER BY used")]
    connection.close()
    smaller = ObservationCache(path, max_bytes=sum(sizes[-4:]) + 4 * ENTRY_BYTES)
    assert [smaller.get(f"k{number}", "t") is not None for number in range(10)] == [False] * 6 + [True] * 4


def test_a_read_only_cache_remembers_nothing(path: Path) -> None:
    ObservationCache(path).put("k", "t0", SEEN)
    before = sqlite3.connect(path).execute("SELECT * FROM entries, owners").fetchall()
    cache = ObservationCache(path, read_only=True)
    assert cache.get("k", "t9") == SEEN
    cache.put("new", "t9", SEEN)
    assert cache.get("new", "t9") is None
    assert sqlite3.connect(path).execute("SELECT * FROM entries, owners").fetchall() == before


def test_a_file_that_is_no_database_is_set_aside(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database, by any means " * 100)
    cache = ObservationCache(path)
    cache.put("k", "t", SEEN)
    assert len(cache) == 1
    assert path.with_suffix(".broken").exists()


def test_a_killed_process_loses_nothing_it_had_put(path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from pipeline.replay.cache import ObservationCache; from pipeline.replay.environment import Observation\n"
        "cache = ObservationCache(Path(sys.argv[1]))\n"
        "for number in range(50): cache.put(f'k{number}', 't', [Observation(str(number))])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert done.returncode == -9
    cache = ObservationCache(path)
    assert [cache.get(f"k{number}", "t") for number in range(50)] == [[Observation(str(n))] for n in range(50)]


def test_a_file_of_an_older_form_is_emptied_to_its_last_byte(path: Path) -> None:
    path.parent.mkdir()
    older = sqlite3.connect(path)
    older.executescript("CREATE TABLE runs (key TEXT PRIMARY KEY, observations BLOB); CREATE TABLE owners (a, b)")
    older.execute("INSERT INTO runs VALUES ('k', 'a sentence nobody else says')")
    older.commit()
    older.close()
    assert len(ObservationCache(path, read_only=True)) == 0
    cache = ObservationCache(path)
    cache.put("new", "t", SEEN)
    assert cache.get("new", "t") == SEEN
    cache.close()
    assert b"nobody else says" not in b"".join(each.read_bytes() for each in path.parent.iterdir())
