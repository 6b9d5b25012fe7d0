"""What verdicts, acceptance and broken images do to a row."""

from typing import Any

import orjson
import polars as pl
import pytest

from pipeline.judging.config import JudgeConfig
from pipeline.reasons import Reason
from pipeline.schema import JUDGED, VERDICTS
from pipeline.stages.judged import mark_broken_images, mark_judged
from tests.factories import make_frame, make_trajectory, reasons_of

REASONS = {"grounded": Reason.UNGROUNDED, "tool_rationale": Reason.TOOL_MISUSE, "relevant": Reason.IRRELEVANT}

Answer = tuple[str, int | None, float | None, float | None]
"""criterion, step, score, probability"""


def verdicts(*answers: Answer, failure: str | None = None) -> pl.LazyFrame:
    """What a judge said of t0; an answer without a score failed."""
    rows = [
        {
            "subject_id": "t0",
            "criterion": criterion,
            "step_index": step,
            "score": score,
            "probability": probability,
            "failure": None if score is not None else failure or "HTTP 500",
        }
        for criterion, step, score, probability in answers
    ]
    return pl.LazyFrame(rows, schema=VERDICTS)


def mark_one(
    said: pl.LazyFrame,
    *,
    acceptance: float | None = None,
    threshold: float | None = None,
    is_calibrated: bool = True,
    decided_by: str = "judge",
    earlier: str | None = None,
    **config: Any,
) -> pl.LazyFrame:
    """t0 after the gate."""
    rows = make_frame(make_trajectory(reason=earlier)).with_columns(
        acceptance=pl.lit(acceptance, pl.Float64), decided_by=pl.lit(decided_by, JUDGED["decided_by"])
    )
    held = JudgeConfig.model_validate(config)
    return mark_judged(rows, said, REASONS, held, threshold=threshold, is_calibrated=is_calibrated)


@pytest.mark.parametrize(
    ("acceptance", "threshold", "worst", "reason"),
    [
        (0.9, 0.9, 0.5, None),
        (0.9, 0.9, 0.0, None),
        (0.899, 0.9, 0.2, "low_confidence"),
        (0.899, 0.9, 0.199, "ungrounded"),
        (1.0, None, 0.9, "low_confidence"),
        (0.1, None, 0.1, "low_confidence"),
        (None, 0.9, 0.9, "low_confidence"),
    ],
)
def test_the_threshold_keeps_and_the_worst_criterion_says_why_not(
    acceptance: float | None, threshold: float | None, worst: float, reason: str | None
) -> None:
    said = verdicts(("grounded", None, 0.4, worst), ("relevant", None, 0.1, 0.95))
    assert reasons_of(mark_one(said, acceptance=acceptance, threshold=threshold)) == [reason]


def test_the_worst_of_the_calls_speaks_and_is_named() -> None:
    said = verdicts(("tool_rationale", 0, 0.9, 0.9), ("tool_rationale", 1, 0.2, 0.05), ("grounded", None, 0.3, 0.1))
    found = mark_one(said, acceptance=0.2, threshold=0.5).collect()
    assert found["reason"].to_list() == ["tool_misuse"]
    told = orjson.loads(found["evidence"][0])
    assert (told["criterion"], told["step_index"], told["probability"]) == ("tool_rationale", 1, 0.05)
    assert (told["acceptance"], told["threshold"], told["decided_by"]) == (0.2, 0.5, "judge")
    assert len(told["verdicts"]) == 3


def test_a_failed_question_is_a_retry_and_never_a_no() -> None:
    said = verdicts(("grounded", None, 0.01, 0.01), ("relevant", None, None, None))
    found = mark_one(said, acceptance=None, threshold=0.5).collect()
    assert found["reason"].to_list() == ["judge_failed"]
    assert orjson.loads(found["evidence"][0])["failures"] == [
        {"criterion": "relevant", "step_index": None, "failure": "HTTP 500"}
    ]
    assert reasons_of(mark_one(said, is_calibrated=False, uncalibrated="drop")) == ["judge_failed"]


def test_a_question_that_is_refused_goes_to_a_person_for_another_try_cannot_mend_it() -> None:
    refused = verdicts(("grounded", None, None, None), failure="refused (400): too long")
    found = mark_one(refused, acceptance=None, threshold=0.5).collect()
    assert found["reason"].to_list() == ["low_confidence"]
    assert "refused (400)" in found["evidence"][0]
    both = pl.concat([refused, verdicts(("relevant", None, None, None))])
    assert reasons_of(mark_one(both, threshold=0.5)) == ["judge_failed"]


@pytest.mark.parametrize(
    ("choice", "score", "reason"),
    [
        ("record", 0.0, None),
        ("review", 0.499, "low_confidence"),
        ("review", 0.5, None),
        ("drop", 0.499, "ungrounded"),
        ("drop", 0.5, None),
    ],
)
def test_a_judge_nobody_measured_does_what_the_configuration_says(
    choice: str, score: float, reason: str | None
) -> None:
    said = verdicts(("grounded", None, score, None), ("relevant", None, 0.8, None))
    assert reasons_of(mark_one(said, is_calibrated=False, uncalibrated=choice)) == [reason]


def test_rows_the_classifier_decided_need_no_verdict() -> None:
    kept = mark_one(verdicts(), acceptance=0.99, threshold=0.9, decided_by="classifier")
    low = mark_one(verdicts(), acceptance=0.02, threshold=0.9, decided_by="classifier").collect()
    assert reasons_of(kept) == [None]
    assert low["reason"].to_list() == ["low_confidence"]
    assert orjson.loads(low["evidence"][0])["decided_by"] == "classifier"


def test_an_earlier_reason_stands() -> None:
    said = verdicts(("grounded", None, 0.0, 0.0))
    assert reasons_of(mark_one(said, acceptance=0.0, threshold=0.5, earlier="overlong")) == ["overlong"]


def test_no_criterion_marks_nothing() -> None:
    rows = make_frame(make_trajectory())
    assert mark_judged(rows, verdicts(), {}, JudgeConfig(), threshold=0.9, is_calibrated=True) is rows


def test_broken_images_are_corrupted_and_named_by_place() -> None:
    rows = make_frame(make_trajectory(), make_trajectory(trajectory_id="t1"))
    broken = pl.LazyFrame({"subject_id": ["t1", "t1"], "message_index": [0, 2], "fault": ["truncated", "no image"]})
    found = mark_broken_images(rows, broken).collect()
    assert found["reason"].cast(pl.String).to_list() == [None, "corrupted"]
    assert orjson.loads(found["evidence"][1])["broken_images"][1] == {"message_index": 2, "fault": "no image"}
