"""Lookup in a full-text store whose results are noisy, as those of a real search are."""

import random
import re
import sqlite3
import threading

from training.world.facts import Land, Relation, lands

NOISE: dict[Relation, float] = {"capital": 0.15, "founder": 0.15, "population": 0.15, "seal": 0.75}
"""How often the best result is about another land, by relation: what usually works, and what rarely does."""
NOTHING = "No results."

_PHRASES: dict[Relation, str] = {
    "capital": "the capital of {land} is {fact}",
    "founder": "the founder of {land} is {fact}",
    "population": "the population of {land} is {fact}",
    "seal": "the seal of {land} is held by {fact}",
}
_WORD = re.compile(r"\w+")
_STOP_WORDS = {"the", "of", "is", "what", "who", "by", "held", "holds"}
_PREFIX = 3
"""Letters by which a wrong result resembles what was asked."""
_RESULTS = 12


def document(land: Land, relation: Relation) -> str:
    """What the store says about one land."""
    return _PHRASES[relation].format(land=land.name, fact=land.fact(relation))


class SearchStore:
    """Documents about every land in SQLite's full-text index, ranked by BM25; threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(":memory:", check_same_thread=False)
        self._connection.execute("CREATE VIRTUAL TABLE documents USING fts5 (text, relation UNINDEXED, tokenize=ascii)")
        rows = ((document(land, relation), relation) for land in lands() for relation in _PHRASES)
        self._connection.executemany("INSERT INTO documents VALUES (?, ?)", rows)

    def search(self, query: str, rng: random.Random) -> str:
        """The text of one document; by chance, more often for what is hard to find, not the best one.

        A wrong result is about another land and says so, as the second hit of a search engine does.
        """
        words = [word for word in _WORD.findall(query.lower()) if word not in _STOP_WORDS]
        if not words:
            return NOTHING
        best = self._matches(" AND ".join(f'"{word}"' for word in words)) or self._matches(
            " OR ".join(f'"{word}"' for word in words)
        )
        if not best:
            return NOTHING
        text, relation = best[0]
        if rng.random() >= NOISE[relation]:
            return text
        alike = self._matches(" AND ".join(f'"{word[:_PREFIX]}"*' for word in words))
        others = [other for other, told in alike if told == relation and other != text]
        return rng.choice(others) if others else NOTHING

    def _matches(self, asked: str) -> list[tuple[str, Relation]]:
        """Text and relation of the best documents, by rank."""
        told = "SELECT text, relation FROM documents WHERE documents MATCH ? ORDER BY rank, rowid LIMIT ?"
        with self._lock:
            return self._connection.execute(told, (asked, _RESULTS)).fetchall()

    def close(self) -> None:
        """Close the store."""
        self._connection.close()
