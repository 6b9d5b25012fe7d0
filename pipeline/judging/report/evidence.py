"""All a report is drawn from, and the views of it that figures and tables share."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from pipeline.judging.calibration import Calibration, certifying_sample
from pipeline.judging.certificate import Certificate, certify
from pipeline.judging.config import JudgeConfig
from pipeline.judging.criteria import Criterion
from pipeline.judging.gold import JOINT, certifying, turns_of
from pipeline.judging.labels import Agreement
from pipeline.judging.report.counts import Counts

ANSWERS = {
    "subject_id": pl.String,
    "weight": pl.Float64,
    "answer": pl.Boolean,
    "score": pl.Float64,
    "probability": pl.Float64,
}
"""Rows with a gold answer to one question, what the judge said, and what the calibration makes of it."""


@dataclass(frozen=True)
class Evidence:
    """One calibration with the labels, verdicts and features it was made of; nothing in it quotes a trace."""

    calibration: Calibration
    config: JudgeConfig
    criteria: tuple[Criterion, ...]
    labels: pl.DataFrame
    """As LABELS: the usable ones, one per question."""
    answers: pl.DataFrame
    """As LABELS: one row per answer of a person to these questions."""
    agreement: Agreement
    verdicts: pl.DataFrame
    """As VERDICTS, of the labelled rows."""
    features: pl.DataFrame
    sources: dict[str, int]
    """Labelled rows by source."""
    counts: Counts

    @cached_property
    def certificate(self) -> Certificate:
        """The promise."""
        return self.calibration.certificate

    @cached_property
    def sample(self) -> pl.DataFrame:
        """Certifying rows as `certifying_sample` gives them, by falling acceptance."""
        return self._sample(self.calibration).sort("acceptance", "subject_id", descending=[True, False])

    @cached_property
    def sure(self) -> pl.DataFrame:
        """The certifying rows that the classifier decides alone."""
        return self.sample.join(self.calibration.classify(self.features), on="subject_id", how="semi")

    @property
    def questions_saved(self) -> tuple[int, int]:
        """Questions about certifying rows that the classifier spares the model, and all about them."""
        asked = self.verdicts.join(self.sample, on="subject_id", how="semi")
        return asked.join(self.sure, on="subject_id", how="semi").height, asked.height

    @cached_property
    def without_cascade(self) -> Certificate:
        """What the same labels certify where the judge is asked about every row."""
        asked_all = self.calibration.model_copy(update={"sure": None})
        sample = self._sample(asked_all)
        return certify(
            sample["acceptance"].to_numpy(),
            sample["correct"].to_numpy(),
            sample["weight"].to_numpy(),
            target=self.certificate.target,
            confidence=self.certificate.confidence,
            tasks=sample["task_id"].to_numpy(),
            turns=turns_of(sample),
        )

    @cached_property
    def joint(self) -> pl.DataFrame:
        """ANSWERS for all criteria jointly on certifying tasks: the product of the scores, and the acceptance."""
        product = self._worst().group_by("subject_id").agg(pl.col("score").product())
        told = self.sample.rename({"correct": "answer", "acceptance": "probability"})
        joined = told.join(product, on="subject_id", how="inner", maintain_order="left")
        return joined.sort("subject_id").select(list(ANSWERS))

    def by_criterion(self, name: str) -> pl.DataFrame:
        """ANSWERS for one criterion on certifying tasks; the worst call speaks for the row."""
        told = self.labels.filter(
            pl.col("criterion") == name, pl.col("answer").is_not_null(), certifying(pl.col("task_id"))
        )
        worst = self._worst().filter(pl.col("criterion") == name)
        joined = told.join(worst, on="subject_id", how="inner", maintain_order="left")
        return joined.sort("subject_id").select(list(ANSWERS))

    @cached_property
    def persons(self) -> pl.DataFrame:
        """Who answered: `by, rows, answers, unknown, first, last`, those with most rows first."""
        day = pl.col("at").str.slice(0, 10)
        told = self.answers.group_by("by").agg(
            rows=pl.col("subject_id").n_unique(),
            answers=pl.col("answer").is_not_null().sum(),
            unknown=pl.col("answer").is_null().sum(),
            first=day.min(),
            last=day.max(),
        )
        return told.sort("rows", "by", descending=[True, False])

    @cached_property
    def questions(self) -> pl.DataFrame:
        """What was answered: `criterion, yes, no, certify` (how many certify), in order of name, the whole last."""
        known = self.labels.filter(pl.col("answer").is_not_null())
        told = known.group_by("criterion").agg(
            yes=pl.col("answer").sum(),
            no=(~pl.col("answer")).sum(),
            certify=certifying(pl.col("task_id")).sum(),
        )
        return told.sort(pl.col("criterion") == JOINT, "criterion")

    def _sample(self, calibration: Calibration) -> pl.DataFrame:
        accepted = calibration.accept(self.verdicts, self.features)
        return certifying_sample(self.labels, self.verdicts, accepted, rubric=calibration.rubric)

    def _worst(self) -> pl.DataFrame:
        """subject_id, criterion, score, probability: the lowest over calls."""
        told = self.verdicts.select(
            "subject_id", "criterion", "score", probability=self.calibration.probabilities(self.verdicts)
        )
        return (
            told.group_by("subject_id", "criterion")
            .agg(pl.col("score", "probability").min())
            .sort("subject_id", "criterion")
        )


def arrays(answers: pl.DataFrame, column: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A column of ANSWERS float64 [N], the gold answers bool [N] and the weights float64 [N]."""
    return answers[column].to_numpy(), answers["answer"].to_numpy(), answers["weight"].to_numpy()
