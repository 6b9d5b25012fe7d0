"""Rows through the attempts of a policy: which tasks are asked, what is sent, what becomes of the rows."""

from dataclasses import dataclass, field
from typing import Any

import polars as pl

from pipeline.config import CurationConfig
from pipeline.curation.summary import Progress, silent
from pipeline.errors import PolicyDownError
from pipeline.privacy.redaction import redact_strings
from pipeline.rollouts.attempts import Attempts
from pipeline.rollouts.necessity import MEASURED
from pipeline.schema import ATTEMPTED, ATTEMPTS
from pipeline.stages.attempted import mark_attempted
from pipeline.stages.attempted_tasks import TASK_INPUTS, group_attempted_tasks

NO_POLICY = "no policy: nothing attempted"


@dataclass(slots=True)
class Attempting:
    """The attempts at a day's tasks by one policy; None: there is none, and nobody is asked."""

    config: CurationConfig
    attempts: Attempts | None
    versions: dict[str, str] = field(default_factory=dict)
    num_tasks: int = 0
    num_unknown: int = 0
    """Tasks whose answer nobody knows."""
    num_with_images: int = 0
    num_attempts: int = 0
    num_failed: int = 0

    @classmethod
    def of(cls, config: CurationConfig, attempts: Attempts | None) -> "Attempting":
        """The attempts under a configuration. Raises ModelServerError where only its server knows the policy's name."""
        if attempts is None or not config.attempts.enabled:
            return cls(config, None, {"policy": "none"})
        return cls(config, attempts, {"policy": attempts.identity})

    def ask(self, rows: pl.LazyFrame, progress: Progress = silent) -> pl.DataFrame:
        """A row per attempt as ATTEMPTS has it, at every task of the rows that can be attempted and graded.

        A task with an image is not: the policy reads none. What holds a secret or personal datum is redacted before it
        is sent; an answer that does is no reference.
        """
        if self.attempts is None:
            return pl.DataFrame(schema=ATTEMPTS)
        tasks = group_attempted_tasks(rows.select(TASK_INPUTS)).collect(engine="streaming")
        clean = redact_strings(tasks["reference"])
        tasks = tasks.with_columns(
            redact_strings(tasks["prompt"]).alias("prompt"), reference=pl.when(clean == tasks["reference"]).then(clean)
        )
        wanted = tasks.filter(pl.col("reference").is_not_null() & ~pl.col("has_images"))
        asked = self.attempts.ask(wanted.select("task_id", "prompt", "reference"), progress=progress)
        self.num_tasks += wanted.height
        self.num_with_images += tasks.filter("has_images").height
        self.num_unknown += tasks.filter(~pl.col("has_images"))["reference"].null_count()
        self.num_attempts += asked.height
        self.num_failed += asked.height - asked["failure"].null_count()
        return asked.select(pl.col(name).cast(dtype) for name, dtype in ATTEMPTS.items())

    def mark(self, rows: pl.DataFrame, asked: pl.DataFrame) -> pl.DataFrame:
        """The rows with the columns of ATTEMPTED, reason and evidence; those that came in with a reason keep it."""
        fresh = rows.with_columns(evidence=pl.lit(None, pl.String))
        if self.attempts is None:
            return fresh.with_columns(pl.lit(None, ATTEMPTED[name]).alias(name) for name in MEASURED)
        return mark_attempted(fresh.lazy(), asked.lazy(), self.config.attempts).collect()

    def facts(self) -> dict[str, Any]:
        """What a person wants to know of the run, without a word of any trace."""
        if self.attempts is None:
            is_off = not self.config.attempts.enabled
            return {"policy": "attempts.enabled is false: nothing attempted" if is_off else NO_POLICY}
        return {
            "tasks_attempted": self.num_tasks,
            "tasks_without_known_answer": self.num_unknown,
            "tasks_with_images": self.num_with_images,
            "attempts": self.num_attempts,
            "attempts_failed": self.num_failed,
            "model_calls": self.attempts.num_requests,
            "attempts_from_cache": self.attempts.num_cached,
            **self.versions,
        }

    def require_alive(self, day: str) -> None:
        """Raise PolicyDownError if the policy died on the way; what it had answered is written by then."""
        if self.attempts is not None and self.attempts.down is not None:
            raise PolicyDownError(
                f"attempted {day}: {self.attempts.down}; {self.num_attempts - self.num_failed:,} of "
                f"{self.num_attempts:,} attempts are answered and kept, the rows of the others wait as attempt_failed; "
                f"mend the server, then `toolwise curate --day {day}` asks only what is missing"
            )
