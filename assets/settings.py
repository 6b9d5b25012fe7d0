"""Where things are: the only place that reads environment variables."""

import os
from datetime import date
from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipeline.config import CurationConfig
from pipeline.errors import ConfigError

HOME = Path(__file__).resolve().parents[1]
"""The checkout: holds dagster.yaml, toolwise.toml and, unless told otherwise, data/."""


class Settings(BaseSettings):
    """The TOOLWISE_* variables."""

    model_config = SettingsConfigDict(env_prefix="TOOLWISE_")

    data: Path = HOME / "data"
    """Data root: raw/, tables/, sets/, state/."""
    config: Path | None = None
    """Curation config; default toolwise.toml in the checkout, where it exists."""
    first_day: date = date(2025, 1, 1)
    """First daily partition."""
    nightly_cron: str = "0 2 * * *"
    """When the nightly schedule fires, UTC."""
    quiet_s: float = Field(default=60.0, ge=0)
    """Seconds a landed file must have been left alone before the sensor takes it as whole."""

    def config_path(self) -> Path | None:
        """The TOML file in force, None where every value is the default."""
        if self.config is not None:
            return self.config
        default = HOME / "toolwise.toml"
        return default if default.exists() else None


def load_settings() -> Settings:
    """The settings in the environment. Raises ConfigError naming each bad variable."""
    try:
        settings = Settings()
    except ValidationError as error:
        faults = "; ".join(f"TOOLWISE_{str(e['loc'][0]).upper()}: {e['msg']}, found {e['input']!r}" for e in error.errors())
        raise ConfigError(f"{faults}; unset or mend it") from error
    return settings.model_copy(update={"data": settings.data.expanduser().resolve()})


def load_config(path: Path | None) -> CurationConfig:
    """The curation config in `path`, the defaults where it is None."""
    return CurationConfig() if path is None else CurationConfig.from_toml(path)


def ensure_dagster_home() -> Path:
    """DAGSTER_HOME, set to the checkout where the environment has none, so that CLI and UI share one history."""
    home = Path(os.environ.setdefault("DAGSTER_HOME", str(HOME)))
    os.environ.setdefault("DO_NOT_TRACK", "1")
    return home
