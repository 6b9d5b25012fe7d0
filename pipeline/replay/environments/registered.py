"""An environment that is a Python class of the user's, in a process of its own."""

import importlib.metadata
from dataclasses import asdict
from typing import Any

from pipeline.errors import EnvironmentUnavailableError
from pipeline.replay.config import RegisteredClass
from pipeline.replay.environment import Episode, Observation, Status
from pipeline.replay.environments.calls import Crashes, lost, no_object, read_arguments, refused, returned
from pipeline.replay.environments.channel import BrokenChannelError
from pipeline.replay.environments.registered_process import LoadError, RegisteredProcess

GROUP = "toolwise.environments"
"""The entry point group that environment classes are registered under."""


class RegisteredEnvironment:
    """Speaks to the class through its process: a call that hangs is killed with it, and the next reset starts another.

    The class has `reset(episode, seed)`, `call(name, arguments) -> str or anything JSON can say`, `close()` and perhaps
    `version`. What `call` raises is a result, but for NotImplementedError: there is no such tool.
    """

    def __init__(self, name: str, config: RegisteredClass) -> None:
        self.version = ""
        self._name = name
        self._config = config
        self._process: RegisteredProcess | None = None
        self._crashes = Crashes()
        self._no_state: Observation | None = Observation("", Status.FAILED, "not reset yet")

    def start(self) -> None:
        """Load the class, unless its tools are never called again."""
        if self._config.repeat != "never" and self._process is None:
            self._process = self._load(0)

    def reset(self, episode: Episode, seed: int) -> None:
        """Give the class a new trajectory; where it raises, every call of the trajectory says so."""
        self._crashes.begin(episode.trajectory_id)
        if self._config.repeat == "never":
            return
        # A process has one order of its sets, so another seed takes another process.
        if self._process is not None and self._process.hash_seed != seed % 2**32:
            self.close()
        if self._process is None:
            self._process = self._load(seed % 2**32)
        told = self._ask(self._process, {"op": "reset", "episode": asdict(episode), "seed": seed}, "reset")
        if isinstance(told, Observation):
            self._no_state = self._crashes.observe(told.detail) if told.status is Status.FAILED else told
        elif "text" in told:
            self._no_state = None
        else:
            found = told.get("raised") or told.get("missing") or "out of memory"
            self._no_state = Observation("", Status.MISSING, f"reset: {found}"[:500])

    def call(self, name: str, arguments: str) -> Observation:
        """What the class gives back, or what it raises as `Type: message`."""
        self._crashes.enter(name, arguments)
        if (refusal := refused(self._config, name) or self._no_state) is not None:
            return refusal
        if self._process is None:
            return Observation("", Status.FAILED, "closed")
        if (read := read_arguments(arguments)) is None:
            return no_object()
        told = self._ask(self._process, {"op": "call", "name": name, "arguments": read}, f"tool {name}")
        if isinstance(told, Observation):
            broken = self._crashes.observe(told.detail) if told.status is Status.FAILED else told
            self._no_state = lost(broken)
            return broken
        if "missing" in told:
            return Observation("", Status.MISSING, f"tool {name}")
        if "memory" in told:
            return Observation("", Status.MEMORY, f"tool {name}: out of memory")
        if "raised" in told:
            return returned(told["raised"], (told["message"],))
        return returned(told["text"])

    def close(self) -> None:
        """Let the class close what it holds, then end its process."""
        if self._process is not None:
            self._process.close()
        self._process = None
        self._no_state = Observation("", Status.FAILED, "closed")

    def _ask(self, process: RegisteredProcess, asked: dict[str, Any], what: str) -> dict[str, Any] | Observation:
        """The answer of the process, or why there is none; then the process is gone."""
        try:
            return process.ask(asked, self._config.timeout_s)
        except TimeoutError:
            process.kill()
            broken = Observation("", Status.TIMEOUT, f"{what}: more than {self._config.timeout_s:g} s")
        except BrokenChannelError as error:
            broken = Observation("", Status.FAILED, f"{what}: its process {error}{process.kill()}")
        self._process = None
        return broken

    def _load(self, hash_seed: int) -> RegisteredProcess:
        known = importlib.metadata.entry_points(group=GROUP).names
        if self._config.name not in known:
            raise self._unavailable(
                f"want an entry point {self._config.name!r} in the group {GROUP}, found {', '.join(sorted(known))}",
                "install the package that registers it, or mend `name`",
            )
        try:
            process = RegisteredProcess(GROUP, self._config.name, self._config.options, hash_seed)
        except LoadError as error:
            raise self._unavailable(
                f"want the class registered as {self._config.name!r} to load, found {error}",
                "mend the class or `options`",
            ) from error
        self.version = process.version
        return process

    def _unavailable(self, found: str, mend: str) -> EnvironmentUnavailableError:
        return EnvironmentUnavailableError(f"replay.environments.{self._name}: {found}; {mend}")
