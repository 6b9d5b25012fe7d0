"""From verdicts and cheap features to one number: the probability that a row is right in every criterion."""

from typing import Literal

import numpy as np
import polars as pl

from pipeline.judging.calibrators import DIGITS, Calibrator, expit, logit
from pipeline.judging.classifier import LinearClassifier
from pipeline.strict import StrictModel

ACCEPTED = {"subject_id": pl.String, "acceptance": pl.Float64}
"""Columns of what is accepted, one row per subject, in order."""


class JointModel(StrictModel):
    """Log odds of acceptance: a sum over what judge and classifier say, neither of which may speak against itself."""

    intercept: float = 0.0
    verdicts: float = 1.0
    """Weight of the log odds of the product of the criteria's probabilities."""
    classifier: float = 0.0
    """Weight of the log odds of the classifier's probability."""


class AcceptanceModel(StrictModel):
    """All that turns the verdicts and features of a row into its acceptance."""

    rubric: Literal["trajectories", "prompts"]
    judge: str
    """Identity of the judge whose scores it understands."""
    criteria: dict[str, str]
    """Name to rubric_version."""
    always: tuple[str, ...]
    """Criteria asked of every row: without a verdict by each of them nothing is known of a row."""
    calibrators: dict[str, Calibrator]
    joint: JointModel
    classifier: LinearClassifier | None = None
    classifier_calibrator: Calibrator | None = None
    """What the classifier's probability is worth, learned from tasks it had not seen."""
    sure: tuple[float, float] | None = None
    """The classifier alone decides a row whose probability is at the first or under, or at the second or above; a bound
    beyond 0 or 1 is never met."""

    def probabilities(self, verdicts: pl.DataFrame) -> pl.Series:
        """The probability of yes of each verdict, in order; null where there is no score, or none understood here.

        Reads: verdicts as VERDICTS.
        """
        found = np.full(verdicts.height, np.nan)
        scores = verdicts["score"].cast(pl.Float64).fill_null(np.nan).to_numpy()
        version = pl.col("criterion").replace_strict(self.criteria, default=None, return_dtype=pl.String)
        known = verdicts.select(
            (pl.col("judge") == self.judge) & (pl.col("rubric_version") == version).fill_null(value=False)
        ).to_series()
        for name, calibrator in self.calibrators.items():
            at = (known & (verdicts["criterion"] == name)).fill_null(value=False).to_numpy()
            found[at] = calibrator.apply(scores[at])
        return pl.Series("probability", found, pl.Float64, nan_to_null=True)

    def told_by_verdicts(self, verdicts: pl.DataFrame) -> pl.DataFrame:
        """`subject_id, odds` of every subject whose questions were all answered, in order.

        Odds are the log odds of the product of its criteria's probabilities, the worst call speaking for its criterion.
        """
        by_criterion = (
            verdicts.select("subject_id", "criterion", probability=self.probabilities(verdicts))
            .group_by("subject_id", "criterion")
            .agg(pl.col("probability").min(), failed=pl.col("probability").is_null().any())
            .sort("subject_id", "criterion")
        )
        by_subject = by_criterion.group_by("subject_id", maintain_order=True).agg(
            pl.col("probability").product(),
            pl.col("failed").any(),
            missing=pl.lit(len(self.always)) - pl.col("criterion").is_in(list(self.always)).sum(),
        )
        whole = by_subject.filter(~pl.col("failed"), pl.col("missing") == 0)
        return whole.select("subject_id", odds=pl.Series(logit(whole["probability"].to_numpy())))

    def told_by_features(self, features: pl.DataFrame) -> pl.DataFrame:
        """`subject_id, probability` by the classifier alone, in the order given; no rows without a classifier."""
        if self.classifier is None or features.is_empty():
            return pl.DataFrame(schema={"subject_id": pl.String, "probability": pl.Float64})
        found = self.classifier.predict(features)
        told = (
            np.round(found, DIGITS) if self.classifier_calibrator is None else self.classifier_calibrator.apply(found)
        )
        return features.select("subject_id", probability=pl.Series(told, dtype=pl.Float64))

    def classify(self, features: pl.DataFrame) -> pl.DataFrame:
        """`subject_id, acceptance` of the rows the classifier is sure of, in order of subject: no model is asked."""
        if self.sure is None:
            return pl.DataFrame(schema=ACCEPTED)
        low, high = self.sure
        told = self.told_by_features(features).rename({"probability": "acceptance"})
        return told.filter((pl.col("acceptance") <= low) | (pl.col("acceptance") >= high)).sort("subject_id")

    def accept(self, verdicts: pl.DataFrame, features: pl.DataFrame) -> pl.DataFrame:
        """`subject_id, acceptance` of every row of which enough is known, in order of subject.

        A row the classifier is sure of takes the classifier's probability, whether or not the judge was asked; any
        other one that of the joint model, and is left out where a needed verdict is missing or failed.
        """
        sure = self.classify(features)
        told = self.told_by_verdicts(verdicts).join(sure, on="subject_id", how="anti")
        if self.classifier is not None:
            told = told.join(self.told_by_features(features), on="subject_id", how="inner")
        else:
            told = told.with_columns(probability=pl.lit(0.5))
        joint = self.joint_acceptance(told["odds"].to_numpy(), told["probability"].to_numpy())
        return pl.concat([sure, told.select("subject_id", acceptance=pl.Series(joint, dtype=pl.Float64))]).sort(
            "subject_id"
        )

    def joint_acceptance(self, odds: np.ndarray, probability: np.ndarray) -> np.ndarray:
        """Acceptance float64 [N] of the verdicts' log odds and the classifier's probability, each float64 [N]."""
        joint = self.joint.intercept + self.joint.verdicts * odds + self.joint.classifier * logit(probability)
        return np.round(expit(joint), DIGITS)
