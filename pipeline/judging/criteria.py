"""A criterion: one yes/no question, versioned with its prompt in a file of its own."""

import hashlib
from typing import Literal

import orjson
from pydantic import Field

from pipeline.reasons import Reason
from pipeline.strict import StrictModel

Rubric = Literal["trajectories", "prompts"]


class Criterion(StrictModel):
    """One question of a rubric. Yes is always good."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{1,40}$")
    version: int = Field(ge=1)
    """Raised by whoever changes the meaning; any other change of the file changes the hash beside it."""
    rubric: Rubric
    reason: Reason
    """Why a row is out when the answer is no."""
    grain: Literal["row", "call"] = "row"
    """Asked once of the row, or of each of its tool calls; the worst call then speaks for the row."""
    applies: Literal["always", "calls_tools", "has_observations", "has_images"] = "always"
    """Rows it is asked of; the others have no verdict by it, and none is needed."""
    question: str = Field(min_length=10)
    """Answered with yes or no."""
    guidance: str = ""
    """What counts as yes, what as no, with the hard cases."""

    @property
    def rubric_version(self) -> str:
        """`<version>-<hash>` over everything in the file."""
        held = orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)
        return f"{self.version}-{hashlib.sha256(held).hexdigest()[:10]}"
