"""What the assets are handed: the store, the curation config, the judge, and the policy."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import dagster as dg
from pipeline.rollouts.attempts import Attempts

from assets.model_servers import asking, end_servers
from assets.settings import Settings, load_config, load_settings
from pipeline.config import CurationConfig
from pipeline.curation.attempting import PolicyPlace, open_attempts
from pipeline.curation.judging import JudgePlace, open_judge
from pipeline.curation.summary import Progress, silent
from pipeline.judging.judge import Judge
from pipeline.store import TableStore


class Workspace(dg.ConfigurableResource):
    """One data root under one configuration."""

    data: str
    """Data root."""
    config_path: str | None = None
    """TOML file of the curation config; None for the defaults."""

    @classmethod
    def of(cls, settings: Settings) -> "Workspace":
        """The workspace that the environment names."""
        config = settings.config_path()
        return cls(data=str(settings.data), config_path=None if config is None else str(config))

    def store(self) -> TableStore:
        """The tables under the data root."""
        return TableStore(Path(self.data))

    def config(self) -> CurationConfig:
        """The curation config, read anew at each run, so that an edit needs no restart."""
        return load_config(None if self.config_path is None else Path(self.config_path))


class JudgeService(dg.ConfigurableResource):
    """The judge of a run: the endpoint the environment names, else a vLLM server of our own while the run lasts."""

    base_url: str | None = None
    """Shown in the UI; the key is not, and is read where it is used."""
    model: str | None = None

    @classmethod
    def of(cls, settings: Settings) -> "JudgeService":
        """The judge that the environment names."""
        return cls(base_url=settings.judge_base_url, model=settings.judge_model)

    @contextmanager
    def opened(
        self, store: TableStore, config: CurationConfig, say: Progress = silent, *, read_only: bool = False
    ) -> Iterator[Judge | None]:
        """The judge over the store's verdicts, None where nobody is to be asked; its server starts when asked."""
        if not config.judge.enabled:
            yield None
            return
        place = self._place(store)
        key = repr((place, config.judge.server, config.judge.revision))
        with (
            asking(key, lambda: place.server(config.judge, say)) as server,
            open_judge(store, config.judge, server, read_only=read_only) as judge,
        ):
            yield judge

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """End the server with the run that started it."""
        end_servers()

    def _place(self, store: TableStore) -> JudgePlace:
        settings = load_settings()
        key = settings.judge_api_key
        return JudgePlace(
            cache=settings.cache,
            logs=store.root / "state" / "logs",
            base_url=self.base_url,
            model=self.model,
            api_key=None if key is None else key.get_secret_value(),
        )


class PolicyService(dg.ConfigurableResource):
    """The policy of a run: the endpoint the environment names, else the vLLM server that the configuration does."""

    base_url: str | None = None
    """Shown in the UI; the key is not, and is read where it is used."""
    model: str | None = None

    @classmethod
    def of(cls, settings: Settings) -> "PolicyService":
        """The policy that the environment names."""
        return cls(base_url=settings.policy_base_url, model=settings.policy_model)

    @contextmanager
    def opened(
        self,
        store: TableStore,
        config: CurationConfig,
        judges: JudgeService,
        say: Progress = silent,
        *,
        read_only: bool = False,
    ) -> Iterator[Attempts | None]:
        """The policy's attempts over those the store knows, None where there is no policy or nobody is to be asked."""
        held = config.attempts
        place = self._place(store)
        made = place.server(held.policy, say) if held.enabled else None
        if made is None:
            yield None
            return
        asked = judges.opened(store, config, say, read_only=read_only) if held.judge_answers else nullcontext()
        with (
            asking(repr((place, held.policy.server, held.policy.revision)), lambda: made) as server,
            asked as judge,
            open_attempts(store, config, server, judge=judge, read_only=read_only) as attempts,
        ):
            yield attempts

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """End the server with the run that started it."""
        end_servers()

    def _place(self, store: TableStore) -> PolicyPlace:
        settings = load_settings()
        key = settings.policy_api_key
        return PolicyPlace(
            cache=settings.cache,
            logs=store.root / "state" / "logs",
            base_url=self.base_url,
            model=self.model,
            api_key=None if key is None else key.get_secret_value(),
        )
