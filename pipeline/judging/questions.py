"""What goes to a judge and what comes back: one yes/no question, one reply."""

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Question:
    """One criterion asked of one trajectory, call or prompt."""

    subject_id: str
    """trajectory_id, or the task_id of a prompt."""
    criterion: str
    rubric_version: str
    """The criterion's version, with a hash over all that shapes its prompt."""
    messages: list[dict[str, Any]]
    """As the chat API takes them: the rubric first and equal for every row, the untrusted trace last."""
    step_index: int | None = None
    """The tool call asked about, None for the whole."""

    def key(self, identity: str) -> str:
        """Names the verdict: hash over rubric version, criterion, judge and rendered prompt."""
        told = [self.rubric_version, self.criterion, identity, self.messages]
        return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of a question: a score, or why there is none; never both, never neither."""

    score: float | None
    """Probability of yes, 0 to 1."""
    failure: str | None = None
    is_cached: bool = False
    num_attempts: int = 0
    """Requests made for it."""
