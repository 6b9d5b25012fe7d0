"""What calls gave when they were last made, on disk: a killed run goes on where it was, a backfill repeats nothing.

One SQLite file. An entry is the observations of one run of one trajectory's calls in one environment, under a key that
covers everything they depend on; it is written the moment the run has ended, so that kill -9 loses the run in flight
and no other. Entries know which trajectories asked for them, so that a purge finds them.
"""

import hashlib
import sqlite3
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import orjson
import zstandard

from pipeline.replay.environment import Observation, Status

_TABLES = """
CREATE TABLE IF NOT EXISTS runs (key TEXT PRIMARY KEY, observations BLOB NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS owners (trajectory_id TEXT, key TEXT, PRIMARY KEY (trajectory_id, key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS owners_of ON owners (key);
CREATE INDEX IF NOT EXISTS runs_by_age ON runs (used);
"""


def run_key(version: str, settings: str, calls: Sequence[tuple[str, str]], seed: int, state: str) -> str:
    """The hash of what a run's observations depend on: environment, limits, calls in order, seed, initial state."""
    told = orjson.dumps([version, settings, calls, seed, state])
    return hashlib.sha256(told).hexdigest()


class ObservationCache:
    """Runs by key; threads of one process share it, and several processes may have it open."""

    def __init__(self, path: Path, *, max_bytes: int = sys.maxsize, read_only: bool = False) -> None:
        """Open or create the file; one that SQLite cannot read is set aside as `.broken` and begun anew.

        A read-only cache answers and remembers nothing.
        """
        self._read_only = read_only
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        try:
            self._connection = _open(path)
        except sqlite3.DatabaseError:
            path.replace(path.with_suffix(".broken"))
            self._connection = _open(path)
        if not read_only:
            self._evict(max_bytes)

    def get(self, key: str, trajectory_id: str) -> list[Observation] | None:
        """The observations of the run, None where it is not known; the trajectory becomes one of its owners."""
        with self._lock:
            row = self._connection.execute("SELECT observations FROM runs WHERE key = ?", (key,)).fetchone()
            if row is None:
                return None
            if not self._read_only:
                self._connection.execute("UPDATE runs SET used = ? WHERE key = ?", (int(time.time()), key))
                self._connection.execute("INSERT OR IGNORE INTO owners VALUES (?, ?)", (trajectory_id, key))
                self._connection.commit()
        return [
            Observation(text, Status(status), detail, tuple(alternatives))
            for text, status, detail, alternatives in orjson.loads(zstandard.decompress(row[0]))
        ]

    def put(self, key: str, trajectory_id: str, observations: Iterable[Observation]) -> None:
        """Keep a run that has ended."""
        if self._read_only:
            return
        told = [[each.text, each.status.value, each.detail, each.alternatives] for each in observations]
        held = zstandard.compress(orjson.dumps(told))
        with self._lock:
            self._connection.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?)", (key, held, int(time.time())))
            self._connection.execute("INSERT OR IGNORE INTO owners VALUES (?, ?)", (trajectory_id, key))
            self._connection.commit()

    def forget(self, trajectory_ids: Iterable[str]) -> int:
        """Remove every run the trajectories asked for, overwriting its bytes; the number of runs removed."""
        removed = 0
        with self._lock:
            self._connection.execute("PRAGMA secure_delete = ON")
            for trajectory_id in trajectory_ids:
                owned = "SELECT key FROM owners WHERE trajectory_id = ?"
                removed += self._connection.execute(
                    f"DELETE FROM runs WHERE key IN ({owned})", (trajectory_id,)
                ).rowcount
                self._connection.execute("DELETE FROM owners WHERE trajectory_id = ?", (trajectory_id,))
            self._connection.commit()
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the log holds the rows as they were
        return removed

    def __len__(self) -> int:
        with self._lock:
            return self._connection.execute("SELECT count(*) FROM runs").fetchone()[0]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _evict(self, max_bytes: int) -> None:
        """Remove runs, the longest unused first, until those left fit."""
        with self._lock:
            held = self._connection.execute("SELECT coalesce(sum(length(observations)), 0) FROM runs").fetchone()[0]
            if held <= max_bytes:
                return
            rows = self._connection.execute("SELECT key, length(observations) FROM runs ORDER BY used, key").fetchall()
            gone = []
            for key, size in rows:
                if held <= max_bytes:
                    break
                gone.append((key,))
                held -= size
            self._connection.executemany("DELETE FROM runs WHERE key = ?", gone)
            self._connection.executemany("DELETE FROM owners WHERE key = ?", gone)
            self._connection.commit()


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=60, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")  # a killed process loses nothing; a power cut the last runs
    connection.executescript(_TABLES)
    return connection
