"""How a model server of our own is started."""

from pydantic import Field

from pipeline.strict import StrictModel

EMBEDDED = "embedded"
"""The model that ships as a package: SmolLM2-135M-Instruct. It exercises the real path and is at chance as a judge."""

Flag = str | int | float | bool | list[str]


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
