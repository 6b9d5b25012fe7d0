"""What judges said, on disk: no question is paid for twice."""

from collections.abc import Iterable, Sequence

from pipeline.sqlite_cache import SqliteCache


class VerdictCache(SqliteCache):
    """Scores by the key of their question; every one is durable as soon as it is put."""

    def get_many(self, keys: Sequence[str], subject_ids: Sequence[str] | None = None) -> dict[str, float]:
        """The scores of the keys that are known; the subjects, one a key, become their owners."""
        return self._find(keys, subject_ids)

    def put(self, key: str, subject_id: str | Iterable[str], score: float) -> None:
        """Keep what was said about one subject, or about several of which the same was asked."""
        self._keep(key, [subject_id] if isinstance(subject_id, str) else subject_id, float(score))
