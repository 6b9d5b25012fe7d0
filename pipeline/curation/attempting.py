"""Where a policy is to be had, and its unaided attempts opened with the store's cache of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.config import CurationConfig
from pipeline.curation.summary import Progress, silent
from pipeline.judging.judge import Judge
from pipeline.rollouts.attempt_cache import AttemptCache
from pipeline.rollouts.attempts import Attempts
from pipeline.rollouts.config import PolicyConfig
from pipeline.serving.endpoint import ModelServer
from pipeline.serving.existing import ExistingServer
from pipeline.serving.own import OwnServer
from pipeline.serving.role import POLICY
from pipeline.store import TableStore


@dataclass(frozen=True, slots=True)
class PolicyPlace:
    """Which server is asked: the one at `base_url`, one of our own, or none where neither is configured."""

    cache: Path
    """Where weights made for this machine lie."""
    logs: Path
    """Where a server of our own writes its log."""
    base_url: str | None = None
    model: str | None = None
    """None: the only one the server has."""
    api_key: str | None = field(default=None, repr=False)

    def server(self, config: PolicyConfig, say: Progress = silent) -> ModelServer | None:
        """The server, not started yet; None: there is no policy."""
        if self.base_url is not None:
            return ExistingServer(
                self.base_url, model=self.model, api_key=self.api_key, revision=config.revision, role=POLICY
            )
        if config.server is None:
            return None
        return OwnServer(config.server, cache=self.cache, logs=self.logs, say=say, role=POLICY)


@contextmanager
def open_attempts(
    store: TableStore,
    config: CurationConfig,
    server: ModelServer,
    *,
    judge: Judge | None = None,
    read_only: bool = False,
) -> Iterator[Attempts]:
    """A policy's attempts over those the store knows; read-only, the store keeps nothing of them.

    The server stays its owner's, and so does the judge.
    """
    path = attempts_path(store)
    held = config.attempts
    cache = None
    if held.cache_bytes and (path.exists() or not read_only):
        cache = AttemptCache(path, max_bytes=held.cache_bytes, read_only=read_only)
    try:
        yield Attempts(server, held, config.answer, cache, judge)
    finally:
        if cache is not None:
            cache.close()


def attempts_path(store: TableStore) -> Path:
    """Where a store keeps what policies answered."""
    return store.root / "state" / "attempts.sqlite"
