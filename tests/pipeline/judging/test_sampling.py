"""What is drawn for labelling: one row of a task to certify, weights that make up for the draw, nothing twice."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.judging.gold import certifying
from pipeline.judging.sampling import SAMPLE, draw_again, draw_sample, need_of
from tests.pipeline.judging.labelled import label, labels_of

JUDGED = {"subject_id": pl.String, "task_id": pl.String, "source": pl.String, "score": pl.Float64}
Row = tuple[int, int, float | None]
"""Number of the task, number of the source, score."""


def judged_of(rows: Sequence[Row]) -> pl.DataFrame:
    """Judged rows, named by their place."""
    held = [(f"row-{k:04d}", f"task-{task}", f"source-{source}", score) for k, (task, source, score) in enumerate(rows)]
    return pl.DataFrame(held, schema=JUDGED, orient="row")


def uneven(num_tasks: int = 120) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of tasks of 1 to 12 attempts, and which are right: the more attempts a task has, the fewer."""
    rng = np.random.default_rng(3)
    rows: list[Row] = []
    right = []
    for task in range(num_tasks):
        size = 1 + task % 12
        for _ in range(size):
            rows.append((task, task % 2, float(rng.random() ** 3)))
            right.append(rng.random() > size / 15)
    judged = judged_of(rows)
    return judged, judged.select("subject_id", correct=pl.Series(right))


def halves(judged: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of certifying tasks, and those of the others."""
    return judged.filter(certifying(pl.col("task_id"))), judged.filter(~certifying(pl.col("task_id")))


populations = st.lists(st.tuples(st.integers(0, 25), st.integers(0, 3), st.none() | st.floats(0, 1)), max_size=80).map(
    judged_of
)


@given(populations, st.integers(0, 60), st.integers(0, 5), st.data())
@settings(max_examples=150, deadline=None)
def test_what_is_drawn_keeps_the_laws(judged: pl.DataFrame, number: int, seed: int, data: st.DataObject) -> None:
    names = judged["subject_id"].to_list()
    labelled = set(data.draw(st.lists(st.sampled_from(names), max_size=10))) if names else set()
    drawn = draw_sample(judged, labelled, number=number, seed=seed)
    assert drawn.schema == pl.Schema(SAMPLE)
    assert drawn["subject_id"].is_unique().all()
    assert not set(drawn["subject_id"]) & labelled
    assert drawn.join(judged, on=["subject_id", "task_id"], how="semi").height == drawn.height
    assert (drawn["weight"] > 0).all()
    to_certify, to_fit = halves(judged)
    certify, fit = drawn.filter(pl.col("purpose") == "certify"), drawn.filter(pl.col("purpose") == "fit")
    done = set(judged.filter(pl.col("subject_id").is_in(list(labelled)))["task_id"])
    open_tasks = set(to_certify["task_id"]) - done
    assert certify["task_id"].is_unique().all()
    assert set(certify["task_id"]) <= open_tasks
    assert set(fit["subject_id"]) <= set(to_fit["subject_id"])
    assert certify.height + fit.height == drawn.height
    num_fit = to_fit.filter(~pl.col("subject_id").is_in(list(labelled))).height
    assert drawn.height == min(number, len(open_tasks) + num_fit)
    if min(len(open_tasks), num_fit) >= number:
        assert certify.height - fit.height in (0, 1)
    sizes = dict(to_certify.group_by("task_id").len().iter_rows())
    mean = to_certify.height / max(len(sizes), 1)
    for row in certify.to_dicts():
        assert row["weight"] == pytest.approx(sizes[row["task_id"]] / mean)


@given(populations, st.integers(0, 40), st.integers(0, 40))
@settings(max_examples=60, deadline=None)
def test_a_sample_depends_on_rows_labels_and_seed_alone(judged: pl.DataFrame, number: int, seed: int) -> None:
    drawn = draw_sample(judged, set(), number=number, seed=seed)
    shuffled = judged.sample(fraction=1.0, shuffle=True, seed=seed)
    assert_frame_equal(draw_sample(shuffled, set(), number=number, seed=seed), drawn)


def test_another_seed_is_another_sample() -> None:
    judged, _ = uneven()
    drawn = [frozenset(draw_sample(judged, set(), number=20, seed=seed)["subject_id"]) for seed in range(5)]
    assert len(set(drawn)) == 5


def test_who_goes_on_another_day_has_labelled_a_sample_of_the_same_kind() -> None:
    judged, _ = uneven()
    first = draw_sample(judged, set(), number=30, seed=0)
    second = draw_sample(judged, set(first["subject_id"]), number=30, seed=0)
    at_once = draw_sample(judged, set(), number=60, seed=0)
    certify = pl.col("purpose") == "certify"
    assert_frame_equal(
        pl.concat([first, second]).filter(certify).sort("subject_id"), at_once.filter(certify).sort("subject_id")
    )


def test_weights_make_up_for_the_draw() -> None:
    """Over many draws the weighted share of right rows is that of all rows, however unequal tasks are; 4 SE."""
    judged, truth = uneven()
    known = judged.join(truth, on="subject_id")
    for purpose, rows in zip(("certify", "fit"), halves(known), strict=True):
        rate = float(rows.select(pl.col("correct").mean()).item())
        weighted, plain = [], []
        for seed in range(200):
            drawn = draw_sample(judged, set(), number=40, seed=seed).filter(pl.col("purpose") == purpose)
            told = drawn.join(truth, on="subject_id")
            weighted.append(told.select((pl.col("weight") * pl.col("correct")).mean()).item())
            plain.append(told["correct"].mean())
        error = np.std(weighted) / np.sqrt(len(weighted))
        assert np.mean(weighted) == pytest.approx(rate, abs=4 * error)
        if purpose == "certify":
            assert abs(float(np.mean(plain)) - rate) > 10 * error


def test_every_task_and_every_row_of_it_is_as_likely_as_another() -> None:
    """Of 800 draws, each within 5 standard deviations of its share."""
    judged = judged_of([(task, 0, 0.5) for task in range(24) for _ in range(1 + task % 3)])
    to_certify, _ = halves(judged)
    num_tasks, num_draws, number = to_certify["task_id"].n_unique(), 800, 6
    drawn = pl.concat(
        [
            draw_sample(judged, set(), number=number, seed=seed).filter(pl.col("purpose") == "certify")
            for seed in range(num_draws)
        ]
    )
    share = drawn.height / num_draws / num_tasks
    for task, size in to_certify.group_by("task_id").len().iter_rows():
        of_task = drawn.filter(pl.col("task_id") == task)
        assert of_task.height == pytest.approx(num_draws * share, abs=5 * np.sqrt(num_draws * share))
        for count in of_task["subject_id"].value_counts()["count"]:
            assert count == pytest.approx(of_task.height / size, abs=5 * np.sqrt(of_task.height / size))


def test_rare_low_scores_are_seen() -> None:
    judged = judged_of([(task, 0, 0.05 if task % 100 == 0 else 0.9 + task % 7 / 100) for task in range(2000)])
    _, to_fit = halves(judged)
    low = set(to_fit.filter(pl.col("score") < 0.1)["subject_id"])
    drawn = draw_sample(judged, set(), number=60, seed=0)
    seen = drawn.filter(pl.col("subject_id").is_in(list(low)))
    assert 3 <= len(low) <= 15
    assert set(seen["subject_id"]) == low
    assert (seen["weight"] < 1).all()


def test_sources_are_seen_alike_and_scores_when_there_are_many_sources() -> None:
    rows: list[Row] = [(task, 0 if task % 20 else 1, 0.5) for task in range(1000)]
    judged = judged_of(rows)
    of_fit = draw_sample(judged, set(), number=40, seed=0).filter(pl.col("purpose") == "fit")
    counts = dict(of_fit.join(judged, on="subject_id").group_by("source").len().iter_rows())
    assert counts == {"source-0": 10, "source-1": 10}
    many = judged_of([(task, task, 0.9 if task % 40 else 0.1) for task in range(1000)])
    seen = draw_sample(many, set(), number=40, seed=0).filter(pl.col("purpose") == "fit").join(many, on="subject_id")
    assert seen.filter(pl.col("score") < 0.5).height >= 5


def test_a_row_without_a_task_is_a_task_of_its_own() -> None:
    judged = judged_of([(k, 0, None) for k in range(40)]).with_columns(task_id=pl.lit(None, pl.String))
    drawn = draw_sample(judged, set(), number=40, seed=0)
    assert drawn.height == 40
    assert (drawn["task_id"] == drawn["subject_id"]).all()


def test_the_order_does_not_tell_what_a_row_is_for() -> None:
    judged = judged_of([(k, 0, k / 1000) for k in range(1000)])
    drawn = draw_sample(judged, set(), number=100, seed=0)
    first = drawn.head(50)["purpose"].value_counts()["count"].to_list()
    assert min(first) >= 15


def test_second_opinions_are_asked_about_what_others_labelled() -> None:
    told = [label("a", True), label("b", True, by="bo"), label("c", True, by="bo", weight=3.0), label("c", True)]
    again = draw_again(labels_of(*told), by="bo", number=5, seed=0)
    assert again.select("subject_id", "purpose").rows() == [("a", "agree")]
    again = draw_again(labels_of(*told), by="cy", number=5, seed=0)
    assert dict(again.select("subject_id", "weight").iter_rows()) == {"a": 1.0, "b": 1.0, "c": 2.0}
    assert draw_again(labels_of(*told), by="cy", number=2, seed=0).height == 2


@pytest.mark.parametrize(("held", "needed"), [(0, 59), (58, 1), (59, 0), (200, 0)])
def test_what_is_needed_is_told(held: int, needed: int) -> None:
    certify, fit = halves(judged_of([(task, 0, None) for task in range(1000)]))
    labelled = pl.concat([certify.head(held), certify.head(held), fit.head(7)])
    need = need_of(labelled, target=0.95, confidence=0.95)
    assert (need.num_certifying, need.num_fitting, need.num_needed, need.least) == (held, 7, needed, 59)
    assert (f"at least {needed} more that certify are needed" in need.told) == (needed > 0)
