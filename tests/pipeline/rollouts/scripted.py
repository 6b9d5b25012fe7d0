"""A model that says what it is told to."""

from collections.abc import Iterable

from pipeline.rollouts.config import Sampling
from pipeline.rollouts.rollout import Completion


class ScriptedModel:
    """Gives its completions in turn, however long the prompt; keeps the prompts it was given."""

    identity = "scripted"

    def __init__(self, turns: Iterable[list[int]], *, is_cut: Iterable[bool] = ()) -> None:
        """`turns`: the tokens of each completion; `is_cut`: whether it ran into its limit, by default not."""
        self._turns = list(turns)
        self._is_cut = [*is_cut, *[False] * len(self._turns)]
        self.prompts: list[list[int]] = []
        self.max_new_tokens: list[int] = []

    async def sample(self, prompt_ids: list[int], sampling: Sampling, *, max_new_tokens: int) -> Completion:
        """The next completion; the n-th token of the k-th has log-probability -(k + n / 1000) - 1."""
        place = len(self.prompts)
        self.prompts.append(list(prompt_ids))
        self.max_new_tokens.append(max_new_tokens)
        ids = self._turns[place]
        return Completion(tuple(ids), tuple(-1.0 - place - n / 1000 for n in range(len(ids))), self._is_cut[place])
