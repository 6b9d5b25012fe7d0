"""How a model server of our own is started."""

import re
from typing import Self

from pydantic import Field, field_validator, model_validator

from pipeline.strict import StrictModel

EMBEDDED = "embedded"
"""The model that ships as a package: SmolLM2-135M-Instruct. It exercises the real path and is at chance as a judge."""
SERVED_NAME = "served"
"""What requests call the model of a server of our own."""

Flag = str | int | float | bool | list[str]

_OURS = ("model", "host", "port", "uds", "api-key", "served-model-name", "root-path", "ssl-keyfile", "ssl-certfile")
_FLAG = re.compile(r"[a-z][a-z0-9]*([-.][a-z0-9]+)*")


class ServerConfig(StrictModel):
    """A vLLM server that lives as long as the run; not used where a base URL names one that exists."""

    model: str = EMBEDDED
    """A folder of weights in Hugging Face form, a name vLLM can resolve, or `embedded`."""
    max_model_len: int = Field(default=4096, gt=0)
    """Longest prompt with its reply, in tokens."""
    flags: dict[str, Flag] = Field(default_factory=dict)
    """Any other vLLM flag by its name without dashes, such as `tensor-parallel-size = 2` or `quantization = "fp8"`.

    True is a flag without a value, false one that is left out, a list gives the values one after the other.
    """
    env: dict[str, str] = Field(default_factory=dict)
    """Environment variables of the server, beside ours."""
    adapters: dict[str, str] = Field(default_factory=dict)
    """LoRA adapters to serve: name to folder."""
    served: str | None = None
    """Which of the served names is asked: an adapter's; None: the model itself."""
    start_timeout_s: float = Field(default=900.0, gt=0)
    """How long it may take until it answers; large weights load for minutes."""

    @field_validator("flags")
    @classmethod
    def _named_as_vllm_does(cls, flags: dict[str, Flag]) -> dict[str, Flag]:
        named = {name.replace("_", "-"): value for name, value in flags.items()}
        if bad := sorted(name for name in named if not _FLAG.fullmatch(name)):
            raise ValueError(f"flags are named without leading dashes, as in tensor-parallel-size; found {bad}")
        if taken := sorted(set(named) & set(_OURS)):
            raise ValueError(f"{taken} are ours to set: the run starts the server and must find it; leave them out")
        return named

    @model_validator(mode="after")
    def _asks_a_served_name(self) -> Self:
        if SERVED_NAME in self.adapters:
            raise ValueError(f"no adapter may be called {SERVED_NAME}: the model itself is")
        if self.served is not None and self.served not in self.adapters:
            raise ValueError(f"served: want one of the adapters {sorted(self.adapters)}, found {self.served!r}")
        return self
