"""From labels to a threshold, and from verdicts to acceptance."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.errors import CalibrationError
from pipeline.judging.acceptance import JointModel
from pipeline.judging.calibration import Calibration, calibrate, certifying_sample
from pipeline.judging.calibrators import RAW
from pipeline.judging.config import JudgeConfig
from pipeline.judging.gold import certifying
from pipeline.schema import VERDICTS
from tests.pipeline.judging.labelled import (
    CRITERIA,
    JUDGE,
    TOOL_USE,
    Labelled,
    criterion,
    label,
    labels_of,
    make_labelled,
    verdict,
    verdicts_of,
)


def calibrated(held: Labelled, config: JudgeConfig | None = None, **changed: object) -> Calibration:
    """The calibration of what `make_labelled` made, with some of it changed."""
    told = {
        "rubric": "trajectories",
        "judge": JUDGE,
        "criteria": CRITERIA,
        "labels": held.labels,
        "verdicts": held.verdicts,
        "features": held.features,
        "config": config or JudgeConfig(),
    }
    return calibrate(**(told | changed))  # pyright: ignore[reportArgumentType]


@pytest.fixture(scope="module")
def held() -> Labelled:
    """Enough labels by criterion, a good judge, a feature that helps."""
    return make_labelled(1000, joint=False, judge=3.0, features=2.0)


@pytest.fixture(scope="module")
def calibration(held: Labelled) -> Calibration:
    """Theirs, without the cascade."""
    return calibrated(held, JudgeConfig(cascade=False))


def test_what_is_kept_is_as_right_as_promised(held: Labelled, calibration: Calibration) -> None:
    certificate = calibration.certificate
    assert certificate.threshold is not None
    fresh = make_labelled(4000, seed=9, joint=False, judge=3.0, features=2.0)
    accepted = calibration.accept(fresh.verdicts, fresh.features).join(fresh.truth, on="subject_id")
    kept = accepted.filter(pl.col("acceptance") >= certificate.threshold)
    assert kept["correct"].mean() >= 0.95
    assert kept.height > 0.6 * fresh.truth["correct"].sum()


def test_labels_that_fit_never_certify(held: Labelled, calibration: Calibration) -> None:
    deals = held.labels.unique("task_id").select(certifying(pl.col("task_id"))).to_series()
    assert calibration.certificate.num_labels == deals.sum()
    assert calibration.num_fitted == (~deals).sum()
    turned = held.labels.with_columns(
        answer=pl.when(certifying(pl.col("task_id"))).then(~pl.col("answer")).otherwise("answer")
    )
    other = calibrated(held, JudgeConfig(cascade=False), labels=turned)
    same = ("calibrators", "joint", "classifier", "classifier_calibrator", "reference")
    assert [getattr(other, name) for name in same] == [getattr(calibration, name) for name in same]
    assert other.certificate.threshold is None


def test_a_criterion_without_labels_keeps_its_raw_score(held: Labelled) -> None:
    only = held.labels.with_columns(pl.lit("accept").alias("criterion")).unique("subject_id", maintain_order=True)
    found = calibrated(held, labels=only)
    assert {each.kind for each in found.calibrators.values()} == {"raw"}
    probabilities = found.probabilities(held.verdicts)
    assert probabilities.to_list() == pytest.approx(held.verdicts["score"].to_list(), abs=1e-9)


def test_the_worst_call_speaks_and_criteria_multiply(calibration: Calibration) -> None:
    call = {"criterion": "tool_use", "rubric_version": TOOL_USE.rubric_version}
    told = calibration.model_copy(update={"joint": JointModel(), "classifier": None, "calibrators": {}})
    told = told.model_copy(update={"calibrators": dict.fromkeys(("grounded", "tool_use"), RAW)})
    verdicts = verdicts_of(
        verdict("a", 0.8),
        verdict("a", 0.9, step_index=0, **call),
        verdict("a", 0.5, step_index=1, **call),
        verdict("b", 0.8),
    )
    held = told.accept(verdicts, pl.DataFrame({"subject_id": ["a", "b"]}))
    assert held["subject_id"].to_list() == ["a", "b"]
    assert held["acceptance"].to_list() == pytest.approx([0.8 * 0.5, 0.8], abs=1e-8)


@pytest.mark.parametrize(
    "changed",
    [
        {"score": None, "failure": "timeout"},
        {"judge": "judge-b"},
        {"rubric_version": "1-0000000000"},
        {"criterion": "unheard_of"},
    ],
)
def test_a_row_without_a_needed_verdict_has_no_acceptance(calibration: Calibration, changed: dict[str, object]) -> None:
    features = pl.DataFrame({"subject_id": ["a", "b"], "length": [0.0, 0.0], "noise": [0.0, 0.0]})
    verdicts = verdicts_of(verdict("a", 0.7), verdict("b", 0.7) | changed)
    assert calibration.accept(verdicts, features)["subject_id"].to_list() == ["a"]
    assert calibration.probabilities(verdicts).is_null().to_list() == [False, True]


def test_one_failed_call_of_many_leaves_the_row_out(calibration: Calibration) -> None:
    call = {"criterion": "tool_use", "rubric_version": TOOL_USE.rubric_version}
    features = pl.DataFrame({"subject_id": ["a"], "length": [0.0], "noise": [0.0]})
    verdicts = verdicts_of(
        verdict("a", 0.7), verdict("a", 0.9, step_index=0, **call), verdict("a", None, step_index=1, **call)
    )
    assert calibration.accept(verdicts, features).is_empty()


def test_a_row_gets_the_same_acceptance_whatever_rows_it_comes_with(held: Labelled, calibration: Calibration) -> None:
    every = dict(calibration.accept(held.verdicts, held.features).iter_rows())
    for subject in held.truth["subject_id"].to_list()[::97]:
        one = pl.col("subject_id") == subject
        alone = calibration.accept(held.verdicts.filter(one), held.features.filter(one))
        assert alone.rows() == [(subject, every[subject])]


def test_empty_tables_are_accepted_as_empty(held: Labelled, calibration: Calibration) -> None:
    none = pl.DataFrame(schema=VERDICTS)
    assert calibration.accept(none, held.features.clear()).is_empty()
    assert calibration.accept(none, held.features).is_empty()
    assert calibration.classify(held.features).is_empty()
    assert calibration.probabilities(none).to_list() == []


def test_the_classifier_decides_what_it_is_sure_of_and_the_certificate_holds_for_the_whole() -> None:
    held = make_labelled(1600, judge=1.5, features=3.0)
    found = calibrated(held)
    assert found.sure is not None
    low, high = found.sure
    sure = found.classify(held.features)
    assert ((sure["acceptance"] <= low) | (sure["acceptance"] >= high)).all()
    assert 0.3 < sure.height / 1600 <= 1
    assert found.share_sure == pytest.approx(sure.height / 1600, abs=0.06)
    asked = held.verdicts.join(sure, on="subject_id", how="anti")
    cascaded, whole = found.accept(asked, held.features), found.accept(held.verdicts, held.features)
    assert cascaded.equals(whole)
    fresh = make_labelled(4000, seed=9, judge=1.5, features=3.0)
    told = found.classify(fresh.features).join(fresh.truth, on="subject_id")
    assert told.filter(pl.col("acceptance") >= high)["correct"].mean() >= 0.93
    assert told.filter(pl.col("acceptance") <= low)["correct"].mean() <= 0.15
    kept = found.accept(fresh.verdicts, fresh.features).filter(pl.col("acceptance") >= found.certificate.threshold)
    assert kept.join(fresh.truth, on="subject_id")["correct"].mean() >= 0.95


def test_a_classifier_that_knows_nothing_is_left_out() -> None:
    found = calibrated(make_labelled(400, judge=3.0, features=0.0))
    assert found.sure is None
    assert found.share_sure == 0
    assert found.joint.verdicts > 0


def test_a_useless_judge_promises_nothing_and_says_so() -> None:
    found = calibrated(make_labelled(600, judge=0.0, features=0.0))
    assert found.certificate.threshold is None
    assert "nothing can be promised" in found.certificate.told


def test_few_labels_say_how_many_more() -> None:
    held = make_labelled(60, judge=3.0, share=0.98)
    found = calibrated(held)
    assert found.certificate.threshold is None
    assert found.certificate.more_labels == 59 - found.certificate.num_labels


@pytest.mark.parametrize("answer", [True, False])
def test_labels_that_all_say_the_same_give_a_calibration(answer: bool) -> None:  # noqa: FBT001
    held = make_labelled(200)
    found = calibrated(held, labels=held.labels.with_columns(answer=pl.lit(answer)))
    assert (found.certificate.threshold is not None) is answer
    assert found.joint.verdicts == 0


def test_rows_a_person_could_not_tell_are_counted_and_certify_nothing(held: Labelled) -> None:
    unsure = held.labels.with_columns(answer=pl.when(pl.int_range(pl.len()) % 10 == 0).then(None).otherwise("answer"))
    found = calibrated(held, labels=unsure)
    assert found.num_unknown > 20
    assert found.certificate.num_labels + found.num_unknown + found.num_fitted == 1000


def test_the_same_labels_in_any_order_give_the_same_bytes(held: Labelled, tmp_path: Path) -> None:
    found = []
    for name, seed in (("one", None), ("two", 1), ("three", 2)):
        mixed = (
            frame if seed is None else frame.sample(fraction=1.0, shuffle=True, seed=seed)
            for frame in (held.labels, held.verdicts, held.features)
        )
        labels, verdicts, features = mixed
        told = calibrated(held, labels=labels, verdicts=verdicts, features=features)
        told.save(tmp_path / name / "held.json")
        found.append(((tmp_path / name / "held.json").read_bytes(), told.digest))
    assert len(set(found)) == 1


def test_a_calibration_comes_back_from_its_file_as_it_was(
    held: Labelled, calibration: Calibration, tmp_path: Path
) -> None:
    calibration.save(tmp_path / "held.json")
    back = Calibration.load(tmp_path / "held.json")
    assert back == calibration
    assert back.digest == calibration.digest
    assert len(back.digest) == 12
    assert back.accept(held.verdicts, held.features).equals(calibration.accept(held.verdicts, held.features))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "No such file"),
        (b"", "Invalid JSON"),
        (b"[]", "the file: Input"),
        (b'{"rubric": "songs"}', "rubric: Input"),
    ],
)
def test_a_file_that_is_no_calibration_is_told(content: bytes | None, told: str, tmp_path: Path) -> None:
    path = tmp_path / "held.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(
        CalibrationError, match=f"held.json: want a calibration, found .*{told}.*; run `toolwise calibrate`"
    ):
        Calibration.load(path)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"labels": labels_of(label("elsewhere", True))}, "want verdicts on labelled rows, found none for any of 1"),
        ({"labels": labels_of()}, "want labels of accept, grounded, tool_use, found none among 0 labels"),
        ({"labels": labels_of(label("row-0-00000", True, criterion="other"))}, "found none among 1 labels"),
        (
            {"labels": labels_of(label("row-0-00000", True, criterion="grounded", rubric_version="2-abc"))},
            "labels: grounded: labelled as 2-abc, now 1-",
        ),
        ({"judge": "judge-b"}, "verdicts: grounded: want 1-[0-9a-f]+ by judge-b, found 1-[0-9a-f]+ by judge-a"),
        ({"criteria": (criterion("grounded", version=2), TOOL_USE)}, "now 2-"),
        (
            {"criteria": (criterion("grounded", guidance="Other words."), TOOL_USE)},
            "verdicts: grounded: want 1-[0-9a-f]+ by judge-a, found 1-[0-9a-f]+ by judge-a; judge the labelled rows",
        ),
    ],
)
def test_what_does_not_belong_together_is_told(held: Labelled, changed: dict[str, object], told: str) -> None:
    with pytest.raises(CalibrationError, match=told):
        calibrated(held, **changed)


@pytest.mark.parametrize("num_rows", [1, 4, 9])
def test_under_a_handful_of_labels_nothing_is_fitted(num_rows: int) -> None:
    with pytest.raises(CalibrationError, match="want labelled tasks, at least 5 that fit and 5 that certify"):
        calibrated(make_labelled(num_rows))


def test_a_mended_wording_keeps_its_labels(held: Labelled) -> None:
    version = f"1-{'0' * 10}"
    worded = held.labels.with_columns(
        rubric_version=pl.when(pl.col("criterion") == "grounded").then(pl.lit(version)).otherwise("rubric_version")
    )
    assert calibrated(held, labels=worded).certificate.threshold is not None


def test_labels_of_today_are_held_against_the_promise(held: Labelled, calibration: Calibration) -> None:
    accepted = calibration.accept(held.verdicts, held.features)
    same = calibration.support(held.labels, held.verdicts, accepted)
    assert same.verdict == "supported"
    kept = calibration.certificate.kept
    assert kept is not None
    assert (same.num_labels, same.num_wrong, same.bound) == (kept.num_labels, kept.num_wrong, kept.bound)
    worse = held.labels.with_columns(answer=pl.col("answer") & (pl.int_range(pl.len()) % 8 != 0))
    assert calibration.support(worse, held.verdicts, accepted).verdict == "contradicted"
    fits = held.labels.with_columns(answer=pl.col("answer") & certifying(pl.col("task_id")))
    assert calibration.support(fits, held.verdicts, accepted) == same
    few = accepted.head(60)
    assert calibration.support(held.labels, held.verdicts, few).verdict == "too_few"
    assert calibration.support(held.labels, held.verdicts, accepted.with_columns(acceptance=None)).verdict == "too_few"


def test_the_sample_that_certifies_has_an_answer_and_an_acceptance(held: Labelled, calibration: Calibration) -> None:
    accepted = calibration.accept(held.verdicts, held.features).head(500)
    sample = certifying_sample(held.labels, held.verdicts, accepted, rubric="trajectories")
    assert sample.columns == ["subject_id", "task_id", "weight", "correct", "acceptance"]
    assert sample.null_count().row(0) == (0, 0, 0, 0, 0)
    assert sample.select(certifying(pl.col("task_id")).all()).item()
    assert 200 < sample.height < 300


def test_a_day_that_looks_otherwise_has_drifted(held: Labelled, calibration: Calibration) -> None:
    like, unlike = make_labelled(300, seed=5, judge=3.0, features=2.0), make_labelled(300, seed=5, judge=3.0, share=0.3)
    told = [calibration.accept(day.verdicts, day.features)["acceptance"] for day in (like, unlike)]
    assert [calibration.drift(each, limit=0.25).has_drifted for each in told] == [False, True]
    with_nulls = pl.concat([told[0], pl.Series("acceptance", [None] * 5, pl.Float64)])
    assert calibration.drift(with_nulls, limit=0.25) == calibration.drift(told[0], limit=0.25)


def test_figures_are_of_labels_that_fitted_nothing(held: Labelled, calibration: Calibration) -> None:
    assert set(calibration.quality) == {"accept", "classifier", "grounded", "tool_use"}
    assert calibration.quality["accept"].num_labels == calibration.certificate.num_labels
    assert calibration.quality["accept"].auc is not None
    assert calibration.quality["accept"].auc > 0.95
    assert calibration.quality["accept"].ece < 0.06


@pytest.mark.slow
def test_the_promise_holds_over_whole_calibrations() -> None:
    """Everything redrawn each time: labels, verdicts, folds, classifier, cascade. 200 sets, 5% may break."""
    broken, coverage = 0, []
    fresh = make_labelled(20_000, seed=99_999, judge=2.0, features=1.5, share=0.85)
    for seed in range(200):
        found = calibrated(make_labelled(500, seed=seed, judge=2.0, features=1.5, share=0.85))
        threshold = found.certificate.threshold
        if threshold is None:
            continue
        accepted = found.accept(fresh.verdicts, fresh.features).filter(pl.col("acceptance") >= threshold)
        precision = accepted.join(fresh.truth, on="subject_id")["correct"].mean()
        broken += precision < 0.95
        coverage.append(accepted.height / 20_000)
    assert broken <= 200 * 0.05 + 2.5 * np.sqrt(200 * 0.05 * 0.95)
    assert np.mean(coverage) > 0.3
