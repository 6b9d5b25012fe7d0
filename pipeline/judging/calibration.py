"""A calibration: how a judge's answers become acceptance, and what is promised of the rows accepted."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import orjson
import polars as pl
from pydantic import ValidationError

from pipeline.errors import CalibrationError, TooFewLabelsError
from pipeline.frames import require_columns
from pipeline.judging.acceptance import AcceptanceModel
from pipeline.judging.certificate import Certificate, Support, certify, supports
from pipeline.judging.classifier import LinearClassifier
from pipeline.judging.config import JudgeConfig
from pipeline.judging.criteria import Criterion, Rubric
from pipeline.judging.drift import Drift, Histogram, drift_of, histogram_of
from pipeline.judging.fitting import fit_model
from pipeline.judging.gold import (
    JOINT,
    answered_labels,
    certifying,
    joint_answers,
    labels_digest,
    other_meanings,
    turns_of,
)
from pipeline.judging.quality import Quality, quality_of
from pipeline.schema import LABELS, VERDICTS
from pipeline.store import write_file

_A_HANDFUL = 5
"""Labelled tasks, of each half, under which nothing is fitted."""


class Calibration(AcceptanceModel):
    """A model of acceptance, the certificate of its threshold, and what both rest on."""

    certificate: Certificate
    reference: Histogram
    """Acceptance of the labelled rows, weighted: what later days are held against."""
    labels: str
    """Digest of the answers it rests on."""
    num_fitted: int
    """Labelled rows that fitted the model."""
    num_unknown: int
    """Labelled rows of certifying tasks that nothing could be certified with: a person could not tell, or a verdict is
    missing."""
    share_sure: float
    """Weighted share of the certifying rows that the classifier decides alone."""
    quality: dict[str, Quality]
    """By criterion, `accept` for acceptance and `classifier` for the classifier alone, on certifying tasks."""

    @property
    def digest(self) -> str:
        """Names it by its content, 12 hex digits."""
        return hashlib.sha256(self._bytes()).hexdigest()[:12]

    def save(self, path: Path) -> None:
        """Write it as JSON, whole or not at all; the same calibration gives the same bytes."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, self._bytes())

    @classmethod
    def load(cls, path: Path) -> Self:
        """The calibration in a file. Raises: CalibrationError where there is none, or another thing."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise CalibrationError(
                f"{path}: want a calibration, found {error.strerror or error}; run `toolwise calibrate`"
            ) from error
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the file"
            raise CalibrationError(
                f"{path}: want a calibration, found {place}: {first['msg']}; run `toolwise calibrate` again"
            ) from error

    def drift(self, acceptance: pl.Series, *, limit: float) -> Drift:
        """How far a day's acceptance lies from that of the labelled rows; nulls are left out."""
        return drift_of(self.reference, acceptance.drop_nulls().to_numpy(), limit=limit)

    def support(self, labels: pl.DataFrame, verdicts: pl.DataFrame, acceptance: pl.DataFrame) -> Support:
        """Whether labels known today still support the promise: those of certifying tasks, on rows still in.

        Reads: labels as LABELS; verdicts as VERDICTS, of the labelled rows; acceptance: subject_id, acceptance.
        """
        sample = certifying_sample(labels, verdicts, acceptance, rubric=self.rubric)
        return supports(
            self.certificate,
            sample["acceptance"].to_numpy(),
            sample["correct"].to_numpy(),
            sample["weight"].to_numpy(),
            target=self.certificate.target,
            confidence=self.certificate.confidence,
            tasks=sample["task_id"].to_numpy(),
            turns=turns_of(sample),
        )

    def _bytes(self) -> bytes:
        return orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2) + b"\n"


def certifying_sample(
    labels: pl.DataFrame, verdicts: pl.DataFrame, acceptance: pl.DataFrame, *, rubric: Rubric
) -> pl.DataFrame:
    """Labelled rows that speak for a promise: `subject_id, task_id, weight, correct, acceptance`, in order of subject.

    Those of certifying tasks, of which both the acceptance and a joint answer are known.

    Reads: labels as LABELS; verdicts as VERDICTS; acceptance: subject_id, acceptance.
    """
    answers = joint_answers(answered_labels(labels, rubric), verdicts)
    known = answers.filter(certifying(pl.col("task_id")), pl.col("correct").is_not_null())
    return (
        known.join(acceptance.select("subject_id", "acceptance"), on="subject_id", maintain_order="left")
        .filter(pl.col("acceptance").is_not_null())
        .sort("subject_id")
    )


def calibrate(
    *,
    rubric: Rubric,
    judge: str,
    criteria: Sequence[Criterion],
    labels: pl.DataFrame,
    verdicts: pl.DataFrame,
    features: pl.DataFrame,
    config: JudgeConfig,
    distilled: LinearClassifier | None = None,
) -> Calibration:
    """The calibration that labels speak for; its certificate has no threshold where they cannot promise anything.

    Half of the tasks fit the model, the other half certify what it accepts, cascade included. A criterion nobody
    labelled keeps the judge's raw score; the joint model weighs it against the answers for all. A classifier
    `distilled` from other tasks than the labelled ones is taken in place of one fitted here.

    Reads: labels as LABELS; verdicts as VERDICTS, of every labelled row; features: subject_id, then Float64.
    Raises: CalibrationError where labels, verdicts and criteria do not belong together, TooFewLabelsError where they
        are under a handful.
    """
    held = _joined(rubric, judge, criteria, labels, verdicts)
    asked = verdicts.filter(pl.col("criterion").is_in([each.name for each in criteria]))
    asked = asked.sort("subject_id", "criterion", "step_index")
    features = features.sort("subject_id")
    answers = joint_answers(held, asked)
    fits = answers.filter(~certifying(pl.col("task_id")))
    _at_least_a_handful(rubric, answers)
    model = fit_model(
        rubric=rubric,
        judge=judge,
        criteria=criteria,
        labels=held.filter(~certifying(pl.col("task_id"))),
        answers=fits,
        verdicts=asked,
        features=features,
        config=config,
        distilled=distilled,
    )
    accepted = model.accept(asked, features)
    sample = certifying_sample(held, asked, accepted, rubric=rubric)
    weights = sample["weight"].to_numpy()
    certificate = certify(
        sample["acceptance"].to_numpy(),
        sample["correct"].to_numpy(),
        weights,
        target=config.target_precision,
        confidence=config.confidence,
        tasks=sample["task_id"].to_numpy(),
        turns=turns_of(sample),
    )
    weighted = accepted.join(answers.select("subject_id", "weight"), on="subject_id", maintain_order="left")
    sure = sample.join(model.classify(features), on="subject_id", how="semi")
    return Calibration(
        **dict(model),
        certificate=certificate,
        reference=histogram_of(weighted["acceptance"].to_numpy(), weighted["weight"].to_numpy()),
        labels=labels_digest(held),
        num_fitted=fits.height,
        num_unknown=answers.height - fits.height - sample.height,
        share_sure=round(float(sure["weight"].sum() / weights.sum()), 6) if len(weights) else 0.0,
        quality=_quality(model, held, sample, asked, features),
    )


def _joined(
    rubric: Rubric, judge: str, criteria: Sequence[Criterion], labels: pl.DataFrame, verdicts: pl.DataFrame
) -> pl.DataFrame:
    """The labels that can be used, checked against what was asked."""
    where = f"calibrating {rubric}"
    require_columns(labels.lazy(), LABELS, where=f"{where}, labels")
    require_columns(verdicts.lazy(), VERDICTS, where=f"{where}, verdicts")
    versions = {each.name: each.rubric_version for each in criteria}
    held = answered_labels(labels, rubric).filter(pl.col("criterion").is_in([JOINT, *versions]))
    if held.is_empty():
        raise CalibrationError(
            f"{where}: want labels of {', '.join([JOINT, *versions])}, found none among {labels.height:,} labels; "
            f"label some with `toolwise label --rubric {rubric}`"
        )
    moved = other_meanings(held, versions)
    if moved:
        raise CalibrationError(f"{where}: labels: {'; '.join(moved)}; label again, or raise no version")
    said = verdicts.select("criterion", "rubric_version", "judge").unique().sort("criterion", "rubric_version", "judge")
    faults = [
        f"{criterion}: want {versions[criterion]} by {judge}, found {version} by {by}"
        for criterion, version, by in said.iter_rows()
        if criterion in versions and (version, by) != (versions[criterion], judge)
    ]
    if faults:
        raise CalibrationError(f"{where}: verdicts: {'; '.join(faults)}; judge the labelled rows again")
    joined = held.join(verdicts.select("subject_id").unique(), on="subject_id", how="semi", maintain_order="left")
    if joined.is_empty():
        raise CalibrationError(
            f"{where}: want verdicts on labelled rows, found none for any of {held['subject_id'].n_unique():,}; "
            "check that the labels' subject_id are those of the rows judged"
        )
    return joined


def _at_least_a_handful(rubric: Rubric, answers: pl.DataFrame) -> None:
    known = answers.filter(pl.col("correct").is_not_null()).unique("task_id")
    certify_ = known.select(certifying(pl.col("task_id"))).to_series()
    found = {"fit": int((~certify_).sum()), "certify": int(certify_.sum())}
    if min(found.values()) < _A_HANDFUL:
        raise TooFewLabelsError(
            f"calibrating {rubric}: want labelled tasks, at least {_A_HANDFUL} that fit and {_A_HANDFUL} that certify "
            f"(a hash of the task deals them), found {found['fit']} and {found['certify']} whose rows as a whole are "
            f"known to be right or wrong; label more with `toolwise label --rubric {rubric}`"
        )


def _quality(
    model: AcceptanceModel, labels: pl.DataFrame, sample: pl.DataFrame, verdicts: pl.DataFrame, features: pl.DataFrame
) -> dict[str, Quality]:
    """Figures on the certifying tasks, by criterion."""
    told = (
        verdicts.select("subject_id", "criterion", probability=model.probabilities(verdicts))
        .group_by("subject_id", "criterion")
        .agg(pl.col("probability").min(), failed=pl.col("probability").is_null().any())
    )
    answered = (
        labels.filter(certifying(pl.col("task_id")), pl.col("answer").is_not_null())
        .join(told.filter(~pl.col("failed")), on=["subject_id", "criterion"], maintain_order="left")
        .sort("criterion", "subject_id")
    )
    frames = {name: answered.filter(pl.col("criterion") == name) for name in sorted(model.criteria)}
    known = sample.rename({"correct": "answer"})
    frames[JOINT] = known.rename({"acceptance": "probability"})
    frames["classifier"] = known.join(model.told_by_features(features), on="subject_id", maintain_order="left")
    found = {
        name: quality_of(held["probability"].to_numpy(), held["answer"].to_numpy(), held["weight"].to_numpy())
        for name, held in frames.items()
    }
    return {name: each for name, each in found.items() if each is not None}
