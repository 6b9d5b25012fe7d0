"""A Hugging Face causal language model in process that continues the tokens of many dialogues at a time.

Requests that wait are collected, read together and then generated together, one token a row and step; a row that ends
leaves at once, and new ones join the running batch. All of it happens on the event loop, in the thread that asked:
the loop is held for one forward pass at a time (of at most `read_tokens` prompt tokens, or of one token a row) and
runs whatever else is ready between two. A thread of its own would gain nothing on one core, would not keep the
caller's `torch.set_num_threads`, and would make the batches depend on the clock.
"""

import asyncio
import math
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from pipeline.errors import PolicyRequestError
from pipeline.rollouts.config import Sampling
from pipeline.rollouts.rollout import Completion
from training.sampling.drawing import draw, uniforms
from training.sampling.rows import Rows

_PASSES = 4
"""Turns of the event loop between two forward passes, so that what hangs on a finished row by several tasks goes on."""


@dataclass(eq=False, slots=True)
class _Request:
    """One generation, from its question to its end."""

    prompt: list[int]
    sampling: Sampling
    limit: int
    seed: int
    done: asyncio.Future[Completion]
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)


class TorchModel:
    """A TokenModel over a model in process, float32 on CPU or whatever it is where it is.

    A request's draws come from a stream of its own, begun with the generator's next number when it is made: the same
    seed and order of requests give the same tokens whoever shares their batches (up to rounding: logits of a row
    differ by about 1e-6 with the batch around it). The weights may change between requests, not while one is in
    flight; who changes them sets `identity`.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        identity: str,
        pad_id: int,
        stop_ids: frozenset[int],
        seed: int = 0,
        max_batch: int = 512,
        read_tokens: int = 2048,
    ) -> None:
        """Sample `model`, at most `max_batch` rows at a time.

        Args:
            model: a causal language model whose layers all attend to everything before them.
            identity: names the weights.
            pad_id: fills up shorter prompts; nothing attends to it.
            stop_ids: tokens that end a generation, as its last.
            seed: of the generator.
            max_batch: rows in the batch; memory for keys and values is this many times the longest row's.
            read_tokens: most prompt tokens read in one forward pass, a longer prompt alone.
        """
        kinds = set(getattr(model.config, "layer_types", None) or []) - {"full_attention"}
        if kinds or model.config.is_encoder_decoder:
            raise ValueError(f"{type(model).__name__}: want full attention in every layer, found {sorted(kinds)}")
        self.identity = identity
        self.generator = torch.Generator().manual_seed(seed)
        self._model, self._pad_id, self._stop_ids = model, pad_id, stop_ids
        self._max_batch, self._read_tokens = max_batch, read_tokens
        self._waiting: deque[_Request] = deque()
        self._running: list[_Request] = []
        self._driver: asyncio.Task[None] | None = None

    async def sample(self, prompt_ids: list[int], sampling: Sampling, *, max_new_tokens: int) -> Completion:
        """What the model generates after the prompt, cut at its last position if that comes first.

        Raises PolicyRequestError for a prompt that it cannot read.
        """
        limit = self._limit(prompt_ids, max_new_tokens)
        seed = int(torch.randint(2**63 - 1, (), generator=self.generator))
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Completion] = loop.create_future()
        if self._driver is not None and self._driver.get_loop() is not loop:
            self._driver = None
            self._waiting.clear()  # a loop that was closed midway takes its requests along
            self._running.clear()
        self._waiting.append(_Request(list(prompt_ids), sampling, limit, seed, done))
        if self._driver is None or self._driver.done():
            self._driver = asyncio.create_task(self._drive(), name="torch-model")
        return await done

    def state_dict(self) -> dict[str, Any]:
        """Where the generator stands; requests made after `load_state_dict` draw what those made now would."""
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put the generator where it stood."""
        self.generator.set_state(state["generator"])

    def _limit(self, prompt: list[int], max_new_tokens: int) -> int:
        config = self._model.config.get_text_config()
        positions: int = config.max_position_embeddings
        if not 0 < len(prompt) < positions:
            raise PolicyRequestError(
                f"{self.identity}: prompt: want 1 to {positions - 1} tokens, one of the model's {positions} positions "
                f"being for the answer, found {len(prompt)}; shorten it or lower Limits.max_tokens"
            )
        if not 0 <= min(prompt) <= max(prompt) < config.vocab_size:
            raise PolicyRequestError(
                f"{self.identity}: prompt: want tokens 0 to {config.vocab_size - 1}, found {min(prompt)} to "
                f"{max(prompt)}; use the tokenizer that belongs to the model"
            )
        if max_new_tokens < 1:
            raise PolicyRequestError(f"{self.identity}: max_new_tokens: want at least 1, found {max_new_tokens}")
        return min(max_new_tokens, positions - len(prompt))

    async def _drive(self) -> None:
        """Work until nobody waits; keys and values are kept no longer, for the weights may change then."""
        rows = Rows(self._model, self._max_batch)
        try:
            while True:
                for _ in range(_PASSES):
                    await asyncio.sleep(0)
                with _sampling(self._model):
                    self._forget_cancelled(rows)
                    if not self._waiting and not self._running:
                        return
                    if self._waiting and len(self._running) < self._max_batch:
                        self._read(rows)
                    else:
                        self._step(rows)
        except BaseException as error:
            self._fail(error)
            if not isinstance(error, Exception):
                raise

    def _read(self, rows: Rows) -> None:
        """Take in whoever waits, in the order they came, one forward pass long; equal prompts are read once."""
        taken: list[_Request] = []
        prompts: dict[tuple[int, ...], int] = {}
        longest = 0
        while self._waiting and len(self._running) + len(taken) < self._max_batch:
            prompt = tuple(self._waiting[0].prompt)
            longest = max(longest, len(prompt))
            num_read = len(prompts) + (prompt not in prompts)
            if prompts and num_read * longest > self._read_tokens:
                break
            prompts.setdefault(prompt, len(prompts))
            taken.append(self._waiting.popleft())
        logits = rows.read([*map(list, prompts)], [prompts[tuple(each.prompt)] for each in taken], self._pad_id)
        self._running += taken
        self._extend(rows, logits, taken)

    def _step(self, rows: Rows) -> None:
        self._extend(rows, rows.step([each.tokens[-1] for each in self._running]), self._running)

    def _extend(self, rows: Rows, logits: torch.Tensor, requests: list[_Request]) -> None:
        """Draw one token for each of `requests`, the last rows, and let go of those that end."""
        seeds = np.array([each.seed for each in requests], np.uint64)
        indices = np.array([len(each.tokens) for each in requests], np.uint64)
        drawn = draw(
            logits,
            torch.from_numpy(uniforms(seeds, indices)).to(logits.device),
            [each.sampling.temperature for each in requests],
            [each.sampling.top_p for each in requests],
        )
        tokens, logprobs = (each.tolist() for each in drawn)
        ended: list[int] = []
        begin = len(self._running) - len(requests)
        for row, (request, token, logprob) in enumerate(zip(requests, tokens, logprobs, strict=True), begin):
            request.tokens.append(token)
            request.logprobs.append(logprob)
            if token in self._stop_ids or len(request.tokens) == request.limit or not math.isfinite(logprob):
                ended.append(row)
        for row in reversed(ended):
            self._finish(self._running[row])
            self._let_go(rows, row)

    def _finish(self, request: _Request) -> None:
        if request.done.done():
            return
        if not math.isfinite(request.logprobs[-1]):
            request.done.set_exception(
                PolicyRequestError(
                    f"{self.identity}: want finite logits, found {request.logprobs[-1]} after "
                    f"{len(request.prompt) + len(request.tokens) - 1} tokens; the weights are broken"
                )
            )
            return
        is_cut = request.tokens[-1] not in self._stop_ids
        request.done.set_result(Completion(tuple(request.tokens), tuple(request.logprobs), is_cut))

    def _let_go(self, rows: Rows, row: int) -> None:
        rows.drop(row)
        last = self._running.pop()
        if row < len(self._running):
            self._running[row] = last

    def _forget_cancelled(self, rows: Rows) -> None:
        """Drop requests whose dialogue gave up."""
        self._waiting = deque(each for each in self._waiting if not each.done.done())
        for row in range(len(self._running) - 1, -1, -1):
            if self._running[row].done.done():
                self._let_go(rows, row)

    def _fail(self, error: BaseException) -> None:
        """End every request with what ended the driver."""
        for request in (*self._running, *self._waiting):
            if not request.done.done():
                if isinstance(error, Exception):
                    request.done.set_exception(error)
                else:
                    request.done.cancel()
        self._running.clear()
        self._waiting.clear()


@contextmanager
def _sampling(model: PreTrainedModel) -> Iterator[None]:
    """Within, no gradient is kept and no neuron dropped."""
    was_training = model.training
    if was_training:
        model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        if was_training:
            model.train()
