"""What people said becomes one answer per row, and tasks are dealt for good."""

import numpy as np
import polars as pl
import pytest

from pipeline.errors import CalibrationError
from pipeline.judging.gold import answered_labels, certifying, joint_answers, labels_digest, turns_of
from tests.pipeline.judging.labelled import label, labels_of


def joint_of(asked: list[str], **answers: bool | None) -> bool | None:
    """The joint answer of a row that was asked these criteria and labelled so."""
    labels = labels_of(*(label("a", answer, criterion=name) for name, answer in answers.items()))
    questions = pl.DataFrame(
        {"subject_id": ["a"] * len(asked), "criterion": asked}, schema_overrides={"criterion": pl.String}
    )
    questions = questions.with_columns(pl.col("subject_id").cast(pl.String))
    held = joint_answers(answered_labels(labels, "trajectories"), questions)
    assert held["subject_id"].to_list() == ["a"]
    return held["correct"][0]


@pytest.mark.parametrize(
    ("asked", "answers", "wanted"),
    [
        (["p", "q"], {"p": True, "q": True}, True),
        (["p", "q"], {"p": True, "q": False}, False),
        (["p", "q"], {"p": True}, None),
        (["p", "q"], {"p": False}, False),
        (["p", "q"], {"p": True, "q": None}, None),
        (["p", "q"], {"p": False, "q": None}, False),
        (["p"], {"p": None}, None),
        (["p", "q"], {"accept": True}, True),
        (["p", "q"], {"accept": False}, False),
        (["p", "q"], {"accept": True, "p": False}, True),
        (["p", "q"], {"accept": False, "p": True, "q": True}, False),
        (["p", "q"], {"accept": None}, None),
        (["p", "q"], {"accept": None, "p": False}, False),
        (["p"], {"accept": None, "p": True}, True),
        ([], {"p": True}, True),
    ],
)
def test_the_joint_answer(asked: list[str], answers: dict[str, bool | None], wanted: bool | None) -> None:  # noqa: FBT001
    assert joint_of(asked, **answers) is wanted


def test_tasks_are_dealt_by_their_id_alone_and_about_evenly() -> None:
    tasks = pl.DataFrame({"task_id": [f"t{k}" for k in range(2000)] + [None]})
    dealt = tasks.select(held=certifying(pl.col("task_id")))["held"]
    assert dealt.to_list()[:8] == [True, False, True, True, True, True, True, False]
    assert dealt[-1] is None
    assert 0.45 < dealt.mean() < 0.55
    shuffled = tasks.reverse().select("task_id", held=certifying(pl.col("task_id")))
    assert shuffled["held"].to_list() == dealt.reverse().to_list()
    lazy = tasks.lazy().filter(certifying(pl.col("task_id"))).collect(engine="streaming")
    assert lazy.height == dealt.sum()


def test_the_latest_of_two_answers_counts_and_other_rubrics_do_not() -> None:
    held = answered_labels(
        labels_of(
            label("a", True, at="2025-01-02"),
            label("a", False, at="2025-01-03"),
            label("a", True, at="2025-01-01"),
            label("b", True, rubric="prompts"),
        ),
        "trajectories",
    )
    assert held.select("subject_id", "answer").rows() == [("a", False)]


def test_missing_weights_and_tasks_are_one_and_the_row_itself() -> None:
    held = answered_labels(labels_of(label("a", True, weight=None, task_id=None)), "trajectories")
    assert held.select("task_id", "weight").row(0) == ("a", 1.0)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_weight_that_cannot_be_one_is_told(weight: float) -> None:
    with pytest.raises(CalibrationError, match="label of a: weight: want a number above 0, found"):
        answered_labels(labels_of(label("a", True, weight=weight)), "trajectories")


def test_a_row_of_two_tasks_is_told() -> None:
    labels = labels_of(label("a", True, task_id="t"), label("a", True, task_id="u", criterion="grounded"))
    with pytest.raises(CalibrationError, match="labels of a: task_id: want one, found several"):
        answered_labels(labels, "trajectories")


def test_a_label_has_the_same_turn_whatever_it_comes_with() -> None:
    held = pl.DataFrame({"subject_id": [f"s{k}" for k in range(50)], "weight": [1.0 + k % 3 for k in range(50)]})
    turns = dict(zip(held["subject_id"], turns_of(held), strict=True))
    some = held.sample(20, shuffle=True, seed=1)
    assert turns_of(some).tolist() == [turns[each] for each in some["subject_id"]]
    assert len(set(turns.values())) == 50


def test_turns_come_first_in_proportion_to_weight() -> None:
    held = pl.DataFrame({"subject_id": [f"s{k}" for k in range(8000)], "weight": [1.0, 3.0] * 4000})
    turns = turns_of(held)
    assert np.mean(turns[1::2] < turns[::2]) == pytest.approx(0.75, abs=0.03)


def test_the_digest_names_the_answers_and_not_who_gave_them() -> None:
    one = labels_of(label("a", True), label("b", False))
    same = labels_of(label("b", False, by="bob", at="2026-01-01"), label("a", True))
    assert labels_digest(one) == labels_digest(same)
    assert len({labels_digest(one), labels_digest(labels_of(label("a", True), label("b", True)))}) == 2
