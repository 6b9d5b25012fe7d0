"""What a judge is asked, of whom, and what its answers do to a row."""

from typing import Literal

from pydantic import Field

from pipeline.serving.config import ServerConfig
from pipeline.strict import StrictModel


class JudgeConfig(StrictModel):
    """The judge of trajectories and prompts."""

    enabled: bool = True
    """False: `judged` and `prompts_judged` ask nothing and pass every row on, which the set's card says."""
    server: ServerConfig = ServerConfig()
    """The server of our own, where TOOLWISE_JUDGE_BASE_URL names none."""
    revision: str = ""
    """Names the weights behind an existing endpoint; raise it when they change under the same name."""
    rubrics: str | None = None
    """Folder with further criteria, `trajectories/*.toml` and `prompts/*.toml`; a shipped name there replaces ours."""
    skip: tuple[str, ...] = ()
    """Criteria that are not asked."""
    vision: bool = False
    """Whether the judge reads images; without, criteria on images are not asked."""
    constrain: Literal["choice", "json_schema", "none"] = "choice"
    """How the reply is held to yes or no: vLLM's structured outputs, a JSON schema, or not at all."""
    logprobs: bool = True
    """Score by the probability of yes; False, for servers without logprobs: a yes is 1 and a no 0."""
    concurrency: int = Field(default=64, gt=0)
    """Requests in flight."""
    timeout_s: float = Field(default=120.0, gt=0)
    """Wall time of one request."""
    max_attempts: int = Field(default=4, gt=0)
    """Tries of one question; then it is `judge_failed`."""
    backoff_s: float = Field(default=0.5, gt=0)
    """Wait before the second try, doubled for each further one, with jitter; a server's Retry-After counts more."""
    max_message_chars: int = Field(default=1500, gt=0)
    """Longest message the judge is shown; the middle of a longer one is left out."""
    max_prompt_chars: int = Field(default=6000, gt=0)
    """Longest trace the judge is shown; the middle of a longer one is left out. Signs, digits and other alphabets count
    for more than one (pipeline/judging/shortening.py), so that twice the tokens left beside a rubric is always safe."""
    target_precision: float = Field(default=0.95, gt=0, lt=1)
    """The promise: this share of the kept rows is right, all criteria jointly."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """How sure the promise is, over the draw of the labels."""
    drop_below: float = Field(default=0.2, ge=0, le=1)
    """Calibrated probability of yes under which a criterion drops a row; from there to the threshold it is reviewed."""
    uncalibrated: Literal["record", "review", "drop"] = "record"
    """A judge that no labels speak for: its verdicts are recorded and put nothing out; or a score under one half sends
    the row to review; or drops it."""
    cascade: bool = True
    """Let the calibrated classifier decide the rows it is sure of, and ask the model about the rest."""
    labels: tuple[str, ...] = ()
    """Files of gold labels (JSON Lines), beside those that `toolwise label` collects."""
    calibration: str | None = None
    """A calibration made elsewhere; None: the latest of `toolwise calibrate` in this data root."""
    max_drift: float = Field(default=0.25, gt=0)
    """Population stability index of the scores, against those calibrated on, above which a day warns."""
    cache_bytes: int = Field(default=4 * 2**30, ge=0)
    """Largest size of the cache of verdicts; those longest unused go first. 0: no cache."""
