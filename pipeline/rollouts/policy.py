"""What a policy is: something that continues a dialogue."""

from typing import Protocol

from pipeline.replay.environment import Observation
from pipeline.rollouts.config import Sampling
from pipeline.rollouts.rollout import Completion, Task, Tokens, Turn
from pipeline.schema import ToolCall


class TokenModel(Protocol):
    """Continues tokens: a vLLM server's completions, or a torch model in process."""

    @property
    def identity(self) -> str:
        """Names the weights."""
        ...

    async def sample(self, prompt_ids: list[int], sampling: Sampling, *, max_new_tokens: int) -> Completion:
        """What follows the prompt. Raises PolicyRequestError for this request, PolicyDownError for all to come."""
        ...


class Dialogue(Protocol):
    """One rollout's course as its policy sees it."""

    tokens: Tokens | None
    """What was read and written so far, None where the policy's server shows no tokens."""

    async def turn(self, sampling: Sampling, *, max_tokens: int) -> Turn:
        """Generate the next message; `max_tokens` is what is left of the whole rollout's, prompt included.

        A dialogue that is already as long as that gives a cut turn without a token. Raises PolicyRequestError,
        PolicyDownError.
        """
        ...

    def observe(self, observations: list[tuple[ToolCall, Observation]]) -> None:
        """Append what came back for the calls of the last turn, in order."""
        ...


class Policy(Protocol):
    """Begins dialogues; many are in flight at a time on one event loop."""

    @property
    def identity(self) -> str:
        """Names the weights and the protocol."""
        ...

    def begin(self, task: Task) -> Dialogue:
        """A dialogue that stands before its first generation. Raises PolicyRequestError if it cannot be rendered."""
        ...

    async def close(self) -> None:
        """Close connections; a server that the policy asks stays its owner's."""
        ...
