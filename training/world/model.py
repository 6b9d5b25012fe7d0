"""The world's model: Qwen3 architecture, under a million parameters."""

import torch
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from training.world.vocabulary import end_id, pad_id

POSITIONS = 512
"""Longest trajectory, in tokens."""


def fresh_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> Qwen3ForCausalLM:
    """A model that knows nothing yet, float32."""
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=POSITIONS,
        tie_word_embeddings=True,
        initializer_range=0.06,
        eos_token_id=end_id(tokenizer),
        pad_token_id=pad_id(tokenizer),
        bos_token_id=None,
        dtype="float32",
    )
    return Qwen3ForCausalLM(config)
