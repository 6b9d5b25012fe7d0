"""Rows through a rubric, trajectories and prompts alike: images, the sure classifier, the judge, the threshold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from pipeline.config import CurationConfig
from pipeline.curation.calibrations import InForce, keep_calibration, read_calibration
from pipeline.curation.summary import Progress, silent
from pipeline.errors import JudgeUnavailableError
from pipeline.judging.config import JudgeConfig
from pipeline.judging.criteria import Criterion, Rubric
from pipeline.judging.features import trajectory_features
from pipeline.judging.images import broken_images
from pipeline.judging.judge import Judge
from pipeline.judging.prompt_features import prompt_features
from pipeline.judging.questions import Question
from pipeline.judging.rendering import prompt_questions_of, questions_of
from pipeline.judging.rubric import load_rubric
from pipeline.judging.verdicts import verdicts_frame
from pipeline.schema import JUDGED, VERDICTS
from pipeline.stages.judged import mark_broken_images, mark_judged
from pipeline.store import TableStore

_CLASSIFIER, _JUDGE = "classifier", "judge"


@dataclass(frozen=True, slots=True)
class _Subject:
    """What differs between the rubrics."""

    key: str
    ask: Callable[[pl.DataFrame, Sequence[Criterion], JudgeConfig], list[Question]]
    describe: Callable[[pl.DataFrame], pl.DataFrame]


_SUBJECTS: dict[Rubric, _Subject] = {
    "trajectories": _Subject("trajectory_id", questions_of, trajectory_features),
    "prompts": _Subject("task_id", prompt_questions_of, prompt_features),
}


@dataclass(slots=True)
class Judging:
    """One rubric over the shards of a day, by one judge; None: nobody is asked."""

    rubric: Rubric
    config: JudgeConfig
    judge: Judge | None
    criteria: tuple[Criterion, ...] = ()
    in_force: InForce = field(default_factory=lambda: InForce(None))
    versions: dict[str, str] = field(default_factory=dict)
    num_rows: int = 0
    num_sure: int = 0
    num_questions: int = 0
    num_failed: int = 0
    scores: list[pl.Series] = field(default_factory=list)

    @classmethod
    def of(cls, store: TableStore, rubric: Rubric, config: CurationConfig, judge: Judge | None) -> "Judging":
        """The rubric as the configuration and the store have it now.

        Raises RubricError, CalibrationError, ModelServerError where the judge's name is only known to its server.
        """
        if judge is None or not config.judge.enabled:
            return cls(rubric, config.judge, None, versions={"judge": "none"})
        criteria = load_rubric(rubric, config.judge)
        identity = judge.identity
        in_force = read_calibration(store, config.judge, rubric, identity, criteria)
        versions = {f"rubric {each.name}": each.rubric_version for each in criteria}
        held = in_force.calibration
        if held is not None:
            keep_calibration(store, held)
        versions |= {"judge": identity, "calibration": "none" if held is None else held.digest}
        return cls(rubric, config.judge, judge, criteria, in_force, versions)

    def mark(self, rows: pl.DataFrame, progress: Progress = silent) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The rows with acceptance, decided_by, reason and evidence, and a row per question as VERDICTS has it.

        Rows that came in with a reason keep it, and nothing is asked about them.
        """
        subject = _SUBJECTS[self.rubric]
        fresh = rows.with_columns(
            evidence=pl.lit(None, pl.String),
            acceptance=pl.lit(None, pl.Float64),
            decided_by=pl.lit(None, JUDGED["decided_by"]),
        )
        if self.judge is None:
            return fresh, pl.DataFrame(schema=VERDICTS)
        wanted = rows.filter(pl.col("reason").is_null())
        broken = broken_images(wanted)
        whole = wanted.join(broken, left_on=subject.key, right_on="subject_id", how="anti", maintain_order="left")
        accepted, verdicts = self._decide(self.judge, whole, subject, progress)
        marked = (
            fresh.drop("acceptance", "decided_by")
            .join(accepted, left_on=subject.key, right_on="subject_id", how="left", maintain_order="left")
            .lazy()
        )
        marked = mark_broken_images(marked, broken.lazy(), key=subject.key)
        calibration = self.in_force.calibration
        marked = mark_judged(
            marked,
            verdicts.lazy(),
            {each.name: each.reason for each in self.criteria},
            self.config,
            threshold=None if calibration is None else calibration.certificate.threshold,
            is_calibrated=calibration is not None,
            key=subject.key,
        )
        self.num_rows += wanted.height
        return marked.collect(), verdicts

    def _decide(
        self, judge: Judge, rows: pl.DataFrame, subject: _Subject, progress: Progress
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """subject_id, acceptance and decided_by of every row, and the verdicts of those the judge was asked about."""
        calibration = self.in_force.calibration
        features = subject.describe(rows) if calibration is not None else None
        sure = pl.DataFrame(schema={"subject_id": pl.String, "acceptance": pl.Float64})
        if calibration is not None and features is not None and self.config.cascade:
            sure = calibration.classify(features)
        doubtful = rows.join(sure, left_on=subject.key, right_on="subject_id", how="anti", maintain_order="left")
        questions = subject.ask(doubtful, self.criteria, self.config)
        replies = judge.ask(questions, progress=progress)
        verdicts = verdicts_frame(questions, replies, judge.identity)
        asked = doubtful.select(subject_id=subject.key, acceptance=pl.lit(None, pl.Float64))
        if calibration is not None and features is not None:
            verdicts = verdicts.with_columns(probability=calibration.probabilities(verdicts))
            known = calibration.accept(verdicts, features)
            asked = asked.drop("acceptance").join(known, on="subject_id", how="left", maintain_order="left")
        self.num_sure += sure.height
        self.num_questions += len(questions)
        self.num_failed += verdicts.height - verdicts["failure"].null_count()
        by = JUDGED["decided_by"]
        accepted = pl.concat(
            [
                sure.select("subject_id", "acceptance", decided_by=pl.lit(_CLASSIFIER, by)),
                asked.select("subject_id", "acceptance", decided_by=pl.lit(_JUDGE, by)),
            ]
        )
        self.scores.append(accepted["acceptance"].drop_nulls())
        return accepted, verdicts

    def facts(self) -> dict[str, Any]:
        """What a person wants to know of the run, without a word of any trace."""
        if self.judge is None:
            return {"judge": "none: judge.enabled is false"}
        told: dict[str, Any] = {
            "promise": told_of(self.in_force),
            "rows_judged": self.num_rows,
            "decided_by_classifier": self.num_sure,
            "questions": self.num_questions,
            "questions_failed": self.num_failed,
            "model_calls": self.judge.num_requests,
            "verdicts_from_cache": self.judge.num_cached,
        }
        return told | self.versions

    def require_alive(self, day: str, stage: str) -> None:
        """Raise JudgeUnavailableError if the judge died on the way; what it had judged is written by then."""
        if self.judge is not None and self.judge.down is not None:
            raise JudgeUnavailableError(
                f"{stage} {day}: {self.judge.down}; {self.num_questions - self.num_failed:,} of "
                f"{self.num_questions:,} questions are answered and kept, the rows of the others wait as judge_failed; "
                f"mend the server, then `toolwise curate --day {day}` asks only what is missing"
            )


def told_of(in_force: InForce) -> str:
    """The promise under which rows are kept, in a sentence; or why there is none."""
    calibration = in_force.calibration
    if calibration is None:
        return f"none: {in_force.why_not}; verdicts are uncalibrated"
    held = calibration.certificate
    if held.threshold is None:
        return f"none: no threshold keeps {held.target:.0%} at {held.confidence:.0%}; every row waits for a person"
    return (
        f"at least {held.target:.0%} of the kept rows are right, with {held.confidence:.0%} confidence: "
        f"acceptance from {held.threshold:.3f} on, calibration {calibration.digest}"
    )
