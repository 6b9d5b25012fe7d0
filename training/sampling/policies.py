"""Policies over a folder in Hugging Face form: weights, tokenizer and chat template, one source for every rollout."""

from pathlib import Path
from typing import Literal

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from pipeline.errors import ConfigError
from pipeline.rollouts.chat_format import ChatFormat
from pipeline.rollouts.completions import CompletionsModel
from pipeline.rollouts.config import PolicyConfig
from pipeline.rollouts.token_dialogue import TokenPolicy
from pipeline.serving.endpoint import Endpoint
from pipeline.serving.weights import folder_digest
from training.sampling.torch_model import TorchModel


def torch_policy(
    folder: Path,
    *,
    protocol: Literal["native", "text"] = "native",
    seed: int = 0,
    max_batch: int = 512,
    device: str = "cpu",
    dtype: torch.dtype | None = None,
) -> TokenPolicy:
    """The model of the folder, sampled in process.

    Args:
        folder: config, weights, tokenizer and chat template.
        protocol: how tools are offered, as in PolicyConfig.
        seed: of the draws.
        max_batch: most dialogues that generate at a time.
        device: where the weights go.
        dtype: None leaves them as they were saved.

    Raises ConfigError where a file is missing or the template cannot be continued, ModelServerError without weights.
    """
    identity = _identity(folder)
    tokenizer = _tokenizer(folder)
    chat_format = ChatFormat(tokenizer, protocol=protocol)
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype or "auto", local_files_only=True)
    sampler = TorchModel(
        model.to(device),  # pyright: ignore[reportArgumentType] - its stub describes the decorator
        identity=identity,
        pad_id=tokenizer.pad_token_id if isinstance(tokenizer.pad_token_id, int) else 0,
        stop_ids=chat_format.stop_ids,
        seed=seed,
        max_batch=max_batch,
    )
    return TokenPolicy(sampler, chat_format)


def served_policy(endpoint: Endpoint, folder: Path, config: PolicyConfig | None = None) -> TokenPolicy:
    """The model of the folder, sampled by a vLLM server that serves it; tokens are made and read here.

    Args:
        endpoint: the server, which serves this folder.
        folder: tokenizer and chat template; the weights are the server's.
        config: protocol, concurrency, retries.

    Raises ConfigError, ModelServerError as `torch_policy`.
    """
    config = config or PolicyConfig()
    chat_format = ChatFormat(_tokenizer(folder), protocol=config.protocol)
    model = CompletionsModel(endpoint, config, _identity(folder), stop_ids=chat_format.stop_ids)
    return TokenPolicy(model, chat_format)


def _identity(folder: Path) -> str:
    """As a server of ours names the same folder. Raises ConfigError, ModelServerError."""
    if missing := [name for name in ("config.json", "tokenizer.json") if not (folder / name).is_file()]:
        raise ConfigError(
            f"{folder}: want a model in Hugging Face form, found no {' or '.join(missing)}; save both there"
        )
    return f"{folder.name}@{folder_digest(folder)}"


def _tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)
