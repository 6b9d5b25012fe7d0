"""What the assets are handed: the store and the curation config, by path."""

from pathlib import Path

import dagster as dg

from assets.settings import Settings, load_config
from pipeline.config import CurationConfig
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
