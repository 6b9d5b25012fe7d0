"""Keys and values of the rows that a model continues together, and the two forward passes that fill them.

Rows stand left-aligned in one buffer a layer, each with a length of its own, so a new row joins a running batch
without moving another, and one that leaves is replaced by the last.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface, Cache, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

_ATTENTION = "toolwise_rows"
_COLUMNS = 64
"""Buffers grow by multiples of this many tokens."""


def _grouped_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of one new token a row, its query heads grouped by the key they share; else what transformers does.

    Transformers copies keys and values once for each query head where there is a mask: at 384 rows of 64 tokens, two
    heads a key, that made attention 20 ms a step instead of 3 to 6.
    """
    rows, heads, num_new, width = query.shape
    if num_new > 1 or attention_mask is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **others)
    grouped = query.reshape(rows, key.shape[1], heads // key.shape[1], width)
    attend = torch.nn.functional.scaled_dot_product_attention
    return attend(grouped, key, value, attn_mask=attention_mask, scale=scaling).reshape(rows, 1, heads, -1), None


AttentionInterface.register(_ATTENTION, _grouped_attention)


class _Prompts(Cache):
    """What a forward pass over whole prompts computed, by layer."""

    def __init__(self) -> None:
        super().__init__(layers=[])
        self.held: list[tuple[torch.Tensor, torch.Tensor]] = []

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.held.append((key_states, value_states))
        return key_states, value_states

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return 0


class Rows(Cache):
    """Keys and values of up to `capacity` rows, [capacity, heads, columns, width] a layer."""

    def __init__(self, model: PreTrainedModel, capacity: int) -> None:
        super().__init__(layers=[])
        self._model, self._capacity = model, capacity
        self._held: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._lengths: list[int] = []
        self._index = self._column = torch.empty(0, dtype=torch.long)

    def __len__(self) -> int:
        return len(self._lengths)

    def read(self, prompts: list[list[int]], places: list[int], pad_id: int) -> torch.Tensor:
        """Logits [P, V] after each of the prompts, appended as rows: row i reads `prompts[places[i]]`.

        Shorter prompts are padded on the right, where no token of a causal model looks, so no mask is needed.
        """
        device = self._model.device
        longest = max(map(len, prompts))
        ids = torch.tensor([each + [pad_id] * (longest - len(each)) for each in prompts], device=device)
        ends, which = torch.tensor([len(each) - 1 for each in prompts]).unique(return_inverse=True)
        read = _Prompts()
        with _attention(self._model):
            output = self._model(ids, past_key_values=read, use_cache=True, logits_to_keep=ends.to(device))
        self._append(read.held, [len(prompts[place]) for place in places], places)
        logits = output.logits[torch.arange(len(prompts), device=device), which.to(device)]
        return logits[torch.tensor(places, device=device)]

    def step(self, tokens: list[int]) -> torch.Tensor:
        """Logits [B, V] after one more token in each row."""
        device = self._model.device
        self._reserve(len(tokens), max(self._lengths) + 1)
        self._index = torch.arange(len(tokens), device=device)
        self._column = torch.tensor(self._lengths, device=device)
        self._lengths = [length + 1 for length in self._lengths]
        seen = torch.arange(max(self._lengths), device=device) <= self._column[:, None]
        with _attention(self._model):
            return self._model(
                torch.tensor(tokens, device=device)[:, None],
                attention_mask=seen[:, None, None],
                position_ids=self._column[:, None],
                past_key_values=self,
                use_cache=True,
            ).logits[:, -1]

    def drop(self, row: int) -> None:
        """Forget a row; the last one takes its place."""
        last = len(self._lengths) - 1
        if row != last:
            length = self._lengths[last]
            for key, value in self._held:
                key[row, :, :length] = key[last, :, :length]
                value[row, :, :length] = value[last, :, :length]
        self._lengths[row] = self._lengths[last]
        self._lengths.pop()

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """All keys and values of a layer, with the new token's, as a layer asks for them in `step`."""
        key, value = self._held[layer_idx]
        key[self._index, :, self._column] = key_states[:, :, 0]
        value[self._index, :, self._column] = value_states[:, :, 0]
        rows, columns = len(self._lengths), max(self._lengths)
        return key[:rows, :, :columns], value[:rows, :, :columns]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens of the longest row."""
        return max(self._lengths, default=0)

    def _append(self, read: list[tuple[torch.Tensor, torch.Tensor]], lengths: list[int], places: list[int]) -> None:
        if not self._held:
            self._held = [(key[:0, :, :0], value[:0, :, :0]) for key, value in read]
        begin, end, longest = len(self._lengths), len(self._lengths) + len(lengths), max(lengths)
        self._reserve(end, longest)
        chosen = torch.tensor(places, device=self._model.device)
        for mine, new in zip(self._held, read, strict=True):
            for buffer, states in zip(mine, new, strict=True):
                buffer[begin:end, :, :longest] = states if len(places) == len(states) else states[chosen]
        self._lengths += lengths

    def _reserve(self, rows: int, columns: int) -> None:
        """Make the buffers at least this large, by half again where they must grow."""
        held_rows, _, held_columns, _ = self._held[0][0].shape
        if rows <= held_rows and columns <= held_columns:
            return
        if rows > held_rows:
            held_rows = max(rows, min(self._capacity, held_rows + held_rows // 2))
        if columns > held_columns:
            held_columns = -(-max(columns, held_columns + held_columns // 2) // _COLUMNS) * _COLUMNS
        num, longest = len(self._lengths), max(self._lengths, default=0)
        for layer, pair in enumerate(self._held):
            # zeros: what a mask leaves out is still multiplied by 0, and memory as it comes may hold NaN
            key, value = (each.new_zeros(held_rows, each.shape[1], held_columns, each.shape[3]) for each in pair)
            key[:num, :, :longest], value[:num, :, :longest] = (each[:num, :, :longest] for each in pair)
            self._held[layer] = key, value


@contextmanager
def _attention(model: PreTrainedModel) -> Iterator[None]:
    """Within, the model attends as `_grouped_attention` does; its owner may train it with another implementation."""
    config: Any = model.config
    before = config._attn_implementation
    config._attn_implementation = _ATTENTION
    try:
        yield
    finally:
        config._attn_implementation = before
