"""Judged and labelled rows whose truth is known, as the tables that a calibration is made of."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from pipeline.judging.criteria import Criterion
from pipeline.reasons import Reason
from pipeline.schema import LABELS, VERDICTS

JUDGE = "judge-a"


def criterion(name: str, **columns: object) -> Criterion:
    """A criterion of trajectories."""
    held = {"version": 1, "rubric": "trajectories", "reason": Reason.UNGROUNDED, "question": f"Is the row {name}?"}
    return Criterion.model_validate({"name": name, **held, **columns})


GROUNDED = criterion("grounded")
TOOL_USE = criterion("tool_use", grain="call", applies="calls_tools", reason=Reason.TOOL_MISUSE)
CRITERIA = (GROUNDED, TOOL_USE)


@dataclass(frozen=True)
class Labelled:
    """The three tables, and the truth."""

    labels: pl.DataFrame
    verdicts: pl.DataFrame
    features: pl.DataFrame
    truth: pl.DataFrame


def label(subject_id: str, answer: bool | None, **columns: object) -> dict[str, object]:  # noqa: FBT001 (as LABELS has it)
    """One row of LABELS; unnamed columns hold a joint answer of weight 1."""
    row = {
        "subject_id": subject_id,
        "task_id": f"task-{subject_id}",
        "rubric": "trajectories",
        "criterion": "accept",
        "answer": answer,
        "weight": 1.0,
        "rubric_version": None,
        "by": "ann",
        "at": "2025-01-01T00:00:00Z",
    }
    return row | columns


def verdict(subject_id: str, score: float | None, **columns: object) -> dict[str, object]:
    """One row of VERDICTS; unnamed columns hold what the judge says of `grounded`."""
    row = {
        "subject_id": subject_id,
        "criterion": "grounded",
        "step_index": None,
        "rubric_version": GROUNDED.rubric_version,
        "judge": JUDGE,
        "score": score,
        "probability": None,
        "failure": None if score is not None else "timeout",
    }
    return row | columns


def labels_of(*rows: dict[str, object]) -> pl.DataFrame:
    """Rows as LABELS."""
    return pl.DataFrame(rows, schema=LABELS, orient="row")


def verdicts_of(*rows: dict[str, object]) -> pl.DataFrame:
    """Rows as VERDICTS."""
    return pl.DataFrame(rows, schema=VERDICTS, orient="row")


def make_labelled(
    num_rows: int, *, seed: int = 0, share: float = 0.8, judge: float = 2.0, features: float = 1.0, joint: bool = True
) -> Labelled:
    """Rows of one task each, with a judge and a feature that separate right from wrong by so many standard deviations.

    Every other row calls a tool twice and is asked about both calls. `joint`: labelled as a whole, else by criterion.
    """
    rng = np.random.default_rng(seed)
    right = rng.random(num_rows) < share
    subjects = [f"row-{seed}-{k:05d}" for k in range(num_rows)]
    labels, verdicts = [], []
    for k, subject in enumerate(subjects):
        odds = judge * (1.0 if right[k] else -1.0) / 2 + rng.standard_normal(3)
        scores = 1 / (1 + np.exp(-odds - 1))
        verdicts.append(verdict(subject, float(scores[0])))
        if k % 2:
            for step in (0, 1):
                told = {"criterion": "tool_use", "step_index": step, "rubric_version": TOOL_USE.rubric_version}
                verdicts.append(verdict(subject, float(scores[1 + step]), **told))
        if joint:
            labels.append(label(subject, bool(right[k])))
        else:
            version = GROUNDED.rubric_version
            labels.append(label(subject, bool(right[k]), criterion="grounded", rubric_version=version))
            if k % 2:
                version = TOOL_USE.rubric_version
                labels.append(label(subject, True, criterion="tool_use", rubric_version=version))
    found = rng.standard_normal((2, num_rows))
    found[0] += features * (right - 0.5)
    return Labelled(
        labels_of(*labels),
        verdicts_of(*verdicts),
        pl.DataFrame({"subject_id": subjects, "length": found[0], "noise": found[1]}),
        pl.DataFrame({"subject_id": subjects, "correct": right}),
    )
