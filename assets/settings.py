"""Where things are: the only place that reads environment variables."""

import os
from datetime import date
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipeline.config import CurationConfig
from pipeline.errors import ConfigError

HOME = Path(__file__).resolve().parents[1]
"""The checkout: holds dagster.yaml, toolwise.toml and, unless told otherwise, data/."""


class Settings(BaseSettings):
    """The TOOLWISE_* variables."""

    model_config = SettingsConfigDict(env_prefix="TOOLWISE_", env_ignore_empty=True)

    data: Path = HOME / "data"
    """Data root: raw/, tables/, sets/, state/."""
    config: Path | None = None
    """Curation config; default toolwise.toml in the checkout, where it exists."""
    first_day: date = date(2025, 1, 1)
    """First daily partition."""
    nightly_cron: str = Field(default="0 2 * * *", pattern=r"^(@\w+|\S+( +\S+){4})$")
    """When the nightly schedule fires, UTC."""
    quiet_s: float = Field(default=60.0, ge=0)
    """Seconds a landed file must have been left alone before the sensor takes it as whole."""

    judge_base_url: str | None = None
    """OpenAI-compatible server of the judge, ending in /v1; none: a vLLM server of our own for the length of a run."""
    judge_model: str | None = None
    """Its model, None for the only one it serves."""
    judge_api_key: SecretStr | None = None
    """Its key, None where it asks for none."""
    policy_base_url: str | None = None
    """OpenAI-compatible server of the policy that attempts tasks, ending in /v1; none: the one that `attempts.policy`
    configures, and without it nothing is attempted."""
    policy_model: str | None = None
    """Its model, None for the only one it serves."""
    policy_api_key: SecretStr | None = None
    """Its key, None where it asks for none."""
    cache: Path = HOME / ".cache"
    """What is made once for this machine: weights turned into a folder that vLLM loads, the lock of its server."""

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
        faults = "; ".join(
            f"TOOLWISE_{str(e['loc'][0]).upper()}: {e['msg']}, found {e['input']!r}" for e in error.errors()
        )
        raise ConfigError(f"{faults}; unset or mend it") from error
    config = None if settings.config is None else settings.config.expanduser().resolve()
    places = {name: getattr(settings, name).expanduser().resolve() for name in ("data", "cache")}
    return settings.model_copy(update={**places, "config": config})


def load_config(path: Path | None) -> CurationConfig:
    """The curation config in `path`, the defaults where it is None."""
    return CurationConfig() if path is None else CurationConfig.from_toml(path)


def use_config(path: Path) -> None:
    """Let this process, and what it starts, curate under another configuration."""
    os.environ["TOOLWISE_CONFIG"] = str(path)


def ensure_dagster_home() -> Path:
    """DAGSTER_HOME, made if need be; .dagster in the checkout where the environment names none, as `make ui` has it.

    Dagster refuses a relative one, and one that does not exist. A home without a dagster.yaml gets a link to ours:
    Dagster's own defaults send telemetry.
    """
    home = Path(os.environ.get("DAGSTER_HOME") or HOME / ".dagster").expanduser().resolve()
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ.setdefault("DO_NOT_TRACK", "1")
    home.mkdir(parents=True, exist_ok=True)
    settings, ours = home / "dagster.yaml", HOME / "dagster.yaml"
    if not settings.exists() and ours.exists():
        settings.unlink(missing_ok=True)  # a link to a checkout that has moved
        settings.symlink_to(ours)
    return home
