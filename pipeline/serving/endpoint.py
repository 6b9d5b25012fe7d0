"""What is known of a model server before and after it is reached."""

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An OpenAI-compatible server that answers."""

    base_url: str
    """Ends in /v1."""
    model: str
    """The name requests carry."""
    api_key: str = field(default="none", repr=False)
    log: str | None = None
    """Where its log is, None for a server that is not ours."""


class ModelServer(Protocol):
    """A model, and the server that gives it once somebody asks."""

    @property
    def identity(self) -> str:
        """Names the weights, so that what they said can be kept: known without starting anything."""
        ...

    def endpoint(self) -> Endpoint:
        """The server, started if need be. Raises ModelServerError, which says where the log is."""
        ...

    def close(self) -> None:
        """End what was started; nothing of it is left running. May be called twice."""
        ...
