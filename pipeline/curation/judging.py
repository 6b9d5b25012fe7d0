"""Where a judge is to be had, and one opened with the store's cache of verdicts."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.curation.summary import Progress, silent
from pipeline.judging.config import JudgeConfig
from pipeline.judging.judge import Judge
from pipeline.judging.verdict_cache import VerdictCache
from pipeline.serving.endpoint import ModelServer
from pipeline.serving.existing import ExistingServer
from pipeline.serving.own import OwnServer
from pipeline.store import TableStore


@dataclass(frozen=True, slots=True)
class JudgePlace:
    """Which server is asked: the one at `base_url`, or one of our own."""

    cache: Path
    """Where weights made for this machine lie."""
    logs: Path
    """Where a server of our own writes its log."""
    base_url: str | None = None
    model: str | None = None
    """None: the only one the server has."""
    api_key: str | None = field(default=None, repr=False)

    def server(self, config: JudgeConfig, say: Progress = silent) -> ModelServer:
        """The server, not started yet."""
        if self.base_url is not None:
            return ExistingServer(self.base_url, model=self.model, api_key=self.api_key, revision=config.revision)
        return OwnServer(config.server, cache=self.cache, logs=self.logs, say=say)


@contextmanager
def open_judge(
    store: TableStore, config: JudgeConfig, server: ModelServer, *, read_only: bool = False
) -> Iterator[Judge]:
    """A judge over the store's verdicts; read-only, the store keeps nothing of it. The server stays its owner's."""
    path = verdicts_path(store)
    cache = None
    if config.cache_bytes and (path.exists() or not read_only):
        cache = VerdictCache(path, max_bytes=config.cache_bytes, read_only=read_only)
    try:
        with Judge(server, config, cache) as judge:
            yield judge
    finally:
        if cache is not None:
            cache.close()


def verdicts_path(store: TableStore) -> Path:
    """Where a store keeps what judges said."""
    return store.root / "state" / "verdicts.sqlite"
