"""What policies answered without tools, on disk: no attempt is paid for twice.

Texts are kept, not grades: a better answer checker grades them anew and asks nobody.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import zstandard

from pipeline.rollouts.config import Sampling
from pipeline.sqlite_cache import SqliteCache


@dataclass(frozen=True, slots=True)
class Attempt:
    """One answer as the policy gave it."""

    text: str
    is_cut: bool
    """Whether it ran into the limit of new tokens rather than ending itself."""
    num_tokens: int | None
    """Tokens generated; None where the server does not say."""


def attempt_keys(policy: str, sampling: Sampling, messages: Sequence[Mapping[str, Any]], num: int) -> list[str]:
    """The keys of the first attempts: hashes of all that an answer depends on, and of its place among them."""
    told = [policy, sampling.model_dump(mode="json"), messages]
    asked = hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS))
    keys = []
    for index in range(num):
        key = asked.copy()
        key.update(b" %d" % index)
        keys.append(key.hexdigest())
    return keys


class AttemptCache(SqliteCache):
    """Attempts by key; they are durable as soon as they are put. A task owns those it asked for."""

    def get_many(self, keys: Sequence[str], subject_ids: Sequence[str] | None = None) -> dict[str, Attempt]:
        """The attempts of the keys that are known; the subjects, one a key, become their owners."""
        return {key: _read(value) for key, value in self._find(keys, subject_ids).items()}

    def put_many(self, attempts: Mapping[str, Attempt], subject_ids: Iterable[str]) -> None:
        """Keep attempts by their keys, owned by the subjects whose task it is."""
        told = {key: orjson.dumps([each.text, each.is_cut, each.num_tokens]) for key, each in attempts.items()}
        self._keep_all({key: zstandard.compress(value) for key, value in told.items()}, subject_ids)


def _read(value: bytes) -> Attempt:
    text, is_cut, num_tokens = orjson.loads(zstandard.decompress(value))
    return Attempt(text, is_cut, num_tokens)
