"""What calls gave when they were last made, on disk: a killed run goes on where it was, a backfill repeats nothing.

An entry is the observations of one run of one trajectory's calls in one environment, written the moment the run has
ended.
"""

import hashlib
from collections.abc import Iterable, Sequence

import orjson
import zstandard

from pipeline.replay.environment import Observation, Status
from pipeline.sqlite_cache import SqliteCache


def run_key(version: str, settings: str, calls: Sequence[tuple[str, str]], seed: int, state: str) -> str:
    """The hash of what a run's observations depend on: environment, limits, calls in order, seed, initial state."""
    told = orjson.dumps([version, settings, calls, seed, state])
    return hashlib.sha256(told).hexdigest()


class ObservationCache(SqliteCache):
    """Runs by key; a trajectory owns those it asked for."""

    def get(self, key: str, trajectory_id: str) -> list[Observation] | None:
        """The observations of the run, None where it is not known; the trajectory becomes one of its owners."""
        held = self._find([key], [trajectory_id]).get(key)
        if held is None:
            return None
        return [
            Observation(text, Status(status), detail, tuple(alternatives))
            for text, status, detail, alternatives in orjson.loads(zstandard.decompress(held))
        ]

    def put(self, key: str, trajectory_id: str, observations: Iterable[Observation]) -> None:
        """Keep a run that has ended."""
        told = [[each.text, each.status.value, each.detail, each.alternatives] for each in observations]
        self._keep(key, [trajectory_id], zstandard.compress(orjson.dumps(told)))
