"""What the fitting half of the labels teaches: calibrators, classifier, joint model, where the classifier is sure."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from pipeline.judging.acceptance import AcceptanceModel, JointModel
from pipeline.judging.calibrators import RAW, Calibrator, fit_calibrator, fit_logistic, logit, share_of_yes
from pipeline.judging.certificate import certify
from pipeline.judging.classifier import LinearClassifier, cross_predict, fit_classifier
from pipeline.judging.config import JudgeConfig
from pipeline.judging.criteria import Criterion, Rubric
from pipeline.judging.gold import turns_of

_LEAST_OF_EACH = 10
"""Right and wrong rows from which a classifier is fitted; under that it learns which rows these were."""
_LIKELIER_THAN_NOT = 0.5
"""Confidence of the bound under which the classifier drops alone: a row lost there is lost to nobody's promise."""
_NEVER = (-1.0, 2.0)
"""Bounds that no probability is beyond."""


def fit_model(
    *,
    rubric: Rubric,
    judge: str,
    criteria: Sequence[Criterion],
    labels: pl.DataFrame,
    answers: pl.DataFrame,
    verdicts: pl.DataFrame,
    features: pl.DataFrame,
    config: JudgeConfig,
    distilled: LinearClassifier | None = None,
) -> AcceptanceModel:
    """The model of acceptance that labels of fitting tasks speak for.

    A classifier `distilled` from other tasks is taken as it is, and only what its probability is worth is learned here.

    Reads: labels as `answered_labels`, answers as `joint_answers`, both of fitting tasks only; verdicts as VERDICTS;
        features: subject_id, then Float64.
    """
    model = AcceptanceModel(
        rubric=rubric,
        judge=judge,
        criteria={each.name: each.rubric_version for each in criteria},
        always=tuple(sorted(each.name for each in criteria if each.applies == "always")),
        calibrators={each.name: _calibrator(each.name, labels, verdicts) for each in criteria},
        joint=JointModel(),
    )
    known = answers.filter(pl.col("correct").is_not_null())
    classifier = _fit_classifier(known, features, distilled)
    told = model.told_by_verdicts(verdicts)
    if classifier is None:
        return _with(model, joint=_fit_joint(known.join(told, on="subject_id", maintain_order="left")))
    fitted, calibrator, crossed = classifier
    both = crossed.join(told, on="subject_id", maintain_order="left")
    return _with(
        model,
        classifier=fitted,
        classifier_calibrator=calibrator,
        joint=_fit_joint(both),
        sure=_sure(crossed, config) if config.cascade else None,
    )


def _with(model: AcceptanceModel, **changed: Any) -> AcceptanceModel:
    return AcceptanceModel(**{**dict(model), **changed})


def _calibrator(criterion: str, labels: pl.DataFrame, verdicts: pl.DataFrame) -> Calibrator:
    """The calibrator of one criterion, of the score of its worst call; raw where nobody labelled it."""
    own = verdicts.filter(pl.col("criterion") == criterion)
    worst = own.group_by("subject_id").agg(pl.col("score").min(), failed=pl.col("score").is_null().any())
    held = (
        labels.filter(pl.col("criterion") == criterion, pl.col("answer").is_not_null())
        .join(worst.filter(~pl.col("failed")), on="subject_id", maintain_order="left")
        .sort("subject_id")
    )
    if held.is_empty():
        return RAW
    return fit_calibrator(held["score"].to_numpy(), held["answer"].to_numpy(), held["weight"].to_numpy())


def _fit_classifier(
    known: pl.DataFrame, features: pl.DataFrame, distilled: LinearClassifier | None
) -> tuple[LinearClassifier, Calibrator, pl.DataFrame] | None:
    """The classifier, what its probability is worth, and `known` with what classifiers new to the task say of it.

    None where there are too few rows to learn from, or where what was learned tells nothing of tasks not seen.
    """
    held = known.join(features, on="subject_id", maintain_order="left")
    correct = held["correct"].to_numpy()
    is_enough = min(int(correct.sum()), int((~correct).sum())) >= _LEAST_OF_EACH
    if features.width < 2 or not (is_enough or distilled):
        return None
    told, weights = held.select(features.columns), held["weight"].to_numpy()
    groups = np.unique(held["task_id"].to_numpy(), return_inverse=True)[1]
    crossed = cross_predict(told, correct, groups, weights) if distilled is None else distilled.predict(told)
    calibrator = fit_calibrator(crossed, correct, weights)
    if calibrator.kind == "flat":
        return None
    probability = pl.Series("probability", calibrator.apply(crossed), pl.Float64)
    return (
        distilled or fit_classifier(told, correct, weights, groups=groups),
        calibrator,
        held.select(known.columns).with_columns(probability),
    )


def _fit_joint(held: pl.DataFrame) -> JointModel:
    """The joint model; flat where all labels say the same, the bare product where there are none.

    Reads: correct, weight, odds; probability, where there is a classifier.
    """
    if held.is_empty():
        return JointModel()
    correct, weights = held["correct"].to_numpy(), held["weight"].to_numpy() / held["weight"].mean()
    if correct.all() or not correct.any():
        return JointModel(intercept=share_of_yes(correct, weights), verdicts=0.0)
    columns = [held["odds"].to_numpy()]
    if "probability" in held.columns:
        columns.append(logit(held["probability"].to_numpy()))
    coefficients, intercept = fit_logistic(np.column_stack(columns), correct, weights)
    found = [float(each) for each in coefficients]
    return JointModel(intercept=intercept, verdicts=found[0], classifier=found[1] if len(found) > 1 else 0.0)


def _sure(crossed: pl.DataFrame, config: JudgeConfig) -> tuple[float, float] | None:
    """Bounds beyond which the classifier alone is right as often as the target asks, on rows it had not seen."""
    correct, probability = crossed["correct"].to_numpy(), crossed["probability"].to_numpy()
    told = {
        "weights": crossed["weight"].to_numpy(),
        "tasks": crossed["task_id"].to_numpy(),
        "turns": turns_of(crossed),
        "target": config.target_precision,
    }
    keep = certify(probability, correct, confidence=config.confidence, **told).threshold
    drop = certify(-probability, ~correct, confidence=_LIKELIER_THAN_NOT, **told).threshold
    low, high = _NEVER[0] if drop is None else -drop, _NEVER[1] if keep is None else keep
    if low >= high:  # either side reaches beyond the other: the classifier decides every row
        low = high = (low + high) / 2
    return None if (low, high) == _NEVER else (low, high)
