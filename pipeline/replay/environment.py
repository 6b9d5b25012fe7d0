"""What an environment is: somewhere a trajectory's tool calls can be made again, from a fresh state."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol


class Status(StrEnum):
    """How a call ended."""

    RETURNED = "returned"
    """It came back; an exception that the code or the tool raised is a result like any other."""
    MISSING = "missing"
    """A module, file, input or tool that is not there."""
    NETWORK = "network"
    """It wanted a network, which it does not get."""
    TIMEOUT = "timeout"
    """Wall or processor time ran out."""
    MEMORY = "memory"
    """Memory ran out."""
    CAPPED = "capped"
    """Too much output, too many files or processes, or a call that isolation denies."""
    FAILED = "failed"
    """The environment itself broke: nothing is known about the call, and the next run tries again."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What came back for one call."""

    text: str
    """As an agent would have been shown it."""
    status: Status = Status.RETURNED
    detail: str = ""
    """One line on why the status is not `returned`."""
    alternatives: tuple[str, ...] = ()
    """The same result as other agent loops show it: printed output without the echo of the last expression, an
    exception without its traceback. A record that agrees with one of them agrees with the observation."""


@dataclass(frozen=True, slots=True)
class Episode:
    """The trajectory a state is reset for; simulators read their initial state from `metadata`."""

    trajectory_id: str
    source: str = ""
    task_id: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    tools: str | None = None
    """JSON list of OpenAI-style function schemas, as in `trajectories`."""


class Environment(Protocol):
    """Holds the state of one trajectory at a time; instances are not shared between threads."""

    version: str
    """Changes whenever equal calls may give other results: the cache is keyed by it."""

    def reset(self, episode: Episode, seed: int) -> None:
        """Start a trajectory from a fresh state. Another seed is another hash, random and clock start.

        Raises EnvironmentUnavailableError if that cannot be had.
        """
        ...

    def call(self, name: str, arguments: str) -> Observation:
        """Make one call; `arguments` is the JSON as the model emitted it.

        Never raises for anything the call does: a broken environment is an observation of status `failed`, after which
        the caller resets it.
        """
        ...

    def close(self) -> None:
        """End every process and connection; a closed environment can be reset again."""
        ...
