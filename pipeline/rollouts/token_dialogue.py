"""A policy over a model of tokens: what was sampled stays as sampled, and every token is known by who wrote it."""

from dataclasses import replace
from typing import Protocol, runtime_checkable

from pipeline.errors import PolicyRequestError
from pipeline.replay.environment import Observation
from pipeline.rollouts.chat_format import ChatFormat
from pipeline.rollouts.config import Sampling
from pipeline.rollouts.policy import TokenModel
from pipeline.rollouts.rollout import Task, Tokens, Turn
from pipeline.schema import ToolCall


@runtime_checkable
class _Closing(Protocol):
    """A model that holds connections."""

    async def close(self) -> None: ...


class TokenDialogue:
    """One rollout: tokens in, tokens out."""

    def __init__(self, model: TokenModel, chat_format: ChatFormat, task: Task) -> None:
        """Raises PolicyRequestError if the task cannot be rendered."""
        self._model = model
        self._format = chat_format
        self.tokens: Tokens | None = Tokens()
        self._written = self.tokens
        self._written.add_written(chat_format.begin(task))
        self._is_closed = False

    async def turn(self, sampling: Sampling, *, max_tokens: int) -> Turn:
        """Generate the next message within `max_tokens` of the whole rollout; see Dialogue."""
        left = max_tokens - len(self._written)
        if left <= 0:
            self._is_closed = False
            return Turn(content=None, is_cut=True)
        completion = await self._model.sample(
            list(self._written.ids), sampling, max_new_tokens=min(left, sampling.max_new_tokens)
        )
        if len(completion.logprobs) != len(completion.token_ids):
            raise PolicyRequestError(
                f"{self._model.identity}: want a log-probability for each of {len(completion.token_ids)} tokens, "
                f"found {len(completion.logprobs)}"
            )
        self._written.add_sampled(completion)
        turn = self._format.read(completion.token_ids)
        self._is_closed = not turn.is_cut
        return replace(turn, is_cut=completion.is_cut)

    def observe(self, observations: list[tuple[ToolCall, Observation]]) -> None:
        """Append what came back for the calls of the last turn, in order."""
        self._written.add_written(self._format.observed(observations, is_closed=self._is_closed))


class TokenPolicy:
    """Begins dialogues of one model in one chat format."""

    def __init__(self, model: TokenModel, chat_format: ChatFormat) -> None:
        """`close` closes the model too, if it can be."""
        self._model = model
        self._format = chat_format

    @property
    def identity(self) -> str:
        """Names the weights, the protocol and the template."""
        return f"{self._model.identity} {self._format.identity}"

    @property
    def stop_ids(self) -> list[int]:
        """Tokens that end a turn, in order."""
        return sorted(self._format.stop_ids)

    def begin(self, task: Task) -> TokenDialogue:
        """A dialogue that stands before its first generation. Raises PolicyRequestError if it cannot be rendered."""
        return TokenDialogue(self._model, self._format, task)

    async def close(self) -> None:
        """Close the model's connections, where it has any."""
        if isinstance(self._model, _Closing):
            await self._model.close()
