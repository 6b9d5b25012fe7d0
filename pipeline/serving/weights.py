"""Which weights a folder holds, told by a name that changes with them."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from pipeline.errors import ModelServerError

_WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".gguf"}
_BESIDE = {".json", ".jinja", ".model", ".txt", ".tiktoken"}
_READ_WHOLE_BYTES = 64 * 2**20
_HEAD_BYTES = 2**20
_NUM_SAMPLES = 16
_SAMPLE_BYTES = 64 * 1024
_SAME_ANSWERS = frozenset({
    "api-server-count", "async-scheduling", "block-size", "compilation-config", "cpu-offload-gb", "data-parallel-size",
    "disable-custom-all-reduce", "disable-uvicorn-access-log", "distributed-executor-backend", "download-dir",
    "enable-chunked-prefill", "enable-log-requests", "enable-lora", "enable-prefix-caching", "enforce-eager",
    "gpu-memory-utilization", "kv-cache-memory-bytes", "load-format", "long-prefill-token-threshold", "max-cpu-loras",
    "max-log-len", "max-logprobs", "max-lora-rank", "max-loras", "max-model-len", "max-num-batched-tokens",
    "max-num-seqs", "no-enable-chunked-prefill", "no-enable-prefix-caching", "num-gpu-blocks-override",
    "pipeline-parallel-size", "prefix-caching-hash-algo", "scheduling-policy", "swap-space", "tensor-parallel-size",
    "trust-remote-code", "uvicorn-log-level",
})  # fmt: skip
"""Flags that change where and how fast a model runs. Any other is taken to change what it answers."""


def folder_digest(folder: Path) -> str:
    """Twelve hex digits over a folder of weights; a large file counts by its name, its size and samples of it.

    Raises ModelServerError if the folder holds no weights.
    """
    files = sorted(path for path in folder.iterdir() if path.suffix in _WEIGHTS | _BESIDE and path.is_file())
    if not any(path.suffix in _WEIGHTS for path in files):
        raise ModelServerError(f"{folder}: want weights (*.safetensors), found none; name the folder they lie in")
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as file:
            if path.suffix in _BESIDE and size <= _READ_WHOLE_BYTES:
                digest.update(file.read())
                continue
            digest.update(file.read(_HEAD_BYTES))
            # Fine-tuning may leave the embeddings alone, which often come first.
            for index in range(1, _NUM_SAMPLES + 1):
                file.seek(max(0, size - _SAMPLE_BYTES) * index // _NUM_SAMPLES)
                digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()[:12]


def telling_flags(flags: Mapping[str, Any]) -> str:
    """The flags that may change answers, as a suffix to a model's name; of a file that one names the content counts."""
    told: dict[str, Any] = {}
    for name, value in flags.items():
        if name in _SAME_ANSWERS or value is False:
            continue
        path = Path(value) if isinstance(value, str) and len(value) < 1024 else None
        is_file = path is not None and path.is_file()
        told[name] = hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path is not None and is_file else value
    return "".join(f";{name}={orjson.dumps(value).decode()}" for name, value in sorted(told.items()))
