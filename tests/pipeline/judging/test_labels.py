"""People's answers: kept whole, one per person and question, and told as one where people agree."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.judging.config import JudgeConfig
from pipeline.judging.gold import answered_labels
from pipeline.judging.labels import (
    add_labels,
    forget_labels,
    gather_labels,
    read_labels,
    replace_labels,
    settled_subjects,
    stored_labels,
)
from pipeline.schema import LABELS
from pipeline.store import TableStore
from tests.labelling import judged_row, lines_file, prompt_row, write_judged_tables, write_prompts_tables
from tests.pipeline.judging.labelled import CRITERIA, criterion, label, labels_of

Answer = bool | None

_KILLED = """
import sys
from pathlib import Path
from pipeline.judging.labels import add_labels
from pipeline.store import TableStore
from tests.pipeline.judging.labelled import label, labels_of

store = TableStore(Path(sys.argv[1]))
for k in range(10**6):
    add_labels(store, labels_of(label(f"row-{k}", True)))
    print(k, flush=True)
"""


@pytest.fixture
def store(tmp_path: Path) -> TableStore:
    return TableStore(tmp_path)


def grounded(subject_id: str, answer: Answer, by: str = "ann", **columns: Any) -> dict[str, object]:
    """An answer to one criterion in its first meaning."""
    return label(subject_id, answer, **({"criterion": "grounded", "rubric_version": "1-aa", "by": by} | columns))


def told(labels: pl.DataFrame) -> dict[tuple[str, str], bool | None]:
    """Subject and criterion to answer."""
    return {(row["subject_id"], row["criterion"]): row["answer"] for row in labels.to_dicts()}


def test_an_answer_is_kept_with_who_when_and_which_version(store: TableStore) -> None:
    add_labels(store, labels_of(grounded("a", True, weight=2.5, at=None)))
    [row] = stored_labels(store).to_dicts()
    assert stored_labels(store).schema == pl.Schema(LABELS)
    assert (row["answer"], row["weight"], row["rubric_version"], row["by"]) == (True, 2.5, "1-aa", "ann")
    assert row["at"].startswith("20")
    assert row["at"].endswith("+00:00")


def test_without_a_file_there_are_no_labels(store: TableStore) -> None:
    assert stored_labels(store).is_empty()
    assert read_labels(store, JudgeConfig()).schema == pl.Schema(LABELS)
    assert forget_labels(store, {"a"}) == 0


def test_a_later_answer_by_the_same_person_replaces_the_earlier_one(store: TableStore) -> None:
    add_labels(store, labels_of(grounded("a", True), label("a", True), grounded("b", True)))
    add_labels(store, labels_of(grounded("a", False)))
    assert told(stored_labels(store)) == {("a", "grounded"): False, ("a", "accept"): True, ("b", "grounded"): True}


def test_the_rows_of_two_rubrics_are_apart(store: TableStore) -> None:
    add_labels(store, labels_of(label("a", True), label("a", False, rubric="prompts")))
    assert stored_labels(store)["answer"].to_list() == [True, False]


def test_a_row_s_answers_are_replaced_together_and_only_those_asked(store: TableStore) -> None:
    mine, others = label("a", False), grounded("a", True, by="bo")
    add_labels(store, labels_of(grounded("a", True), mine, others, grounded("a", True, criterion="of_old")))
    asked = {"subject_id": "a", "rubric": "trajectories", "by": "ann", "criteria": ["grounded", "accept"]}
    replace_labels(store, labels_of(grounded("a", None)), **asked)
    kept = stored_labels(store).select("criterion", "by", "answer").rows()
    assert kept == [("grounded", "ann", None), ("grounded", "bo", True), ("of_old", "ann", True)]
    replace_labels(store, labels_of(), **asked)
    assert stored_labels(store).select("criterion", "by").rows() == [("grounded", "bo"), ("of_old", "ann")]


@pytest.mark.parametrize(
    ("answers", "merged"),
    [
        ((True, True), True),
        ((False, False), False),
        ((True, False), None),
        ((True, None), True),
        ((None, None), None),
        ((True, True, False), None),
    ],
)
def test_people_who_disagree_leave_a_question_open(
    store: TableStore, answers: tuple[Answer, ...], merged: Answer
) -> None:
    add_labels(store, labels_of(*(grounded("a", each, by=f"p{k}") for k, each in enumerate(answers))))
    labels = read_labels(store, JudgeConfig())
    assert told(labels) == {("a", "grounded"): merged}
    assert labels["by"].to_list() == [", ".join(f"p{k}" for k in range(len(answers)))]
    assert labels.schema == pl.Schema(LABELS)


def test_agreement_counts_the_questions_two_persons_could_answer(store: TableStore) -> None:
    agreed = [grounded("a", True), grounded("a", True, by="bo")]
    apart = [grounded("b", True), grounded("b", False, by="bo")]
    open_ = [grounded("c", True), grounded("c", None, by="bo"), grounded("d", True)]
    add_labels(store, labels_of(*agreed, *apart, *open_))
    found = gather_labels(store, JudgeConfig()).agreement
    assert (found["trajectories"].num_twice, found["trajectories"].num_agreed) == (2, 1)
    assert found["trajectories"].rate == 0.5
    assert found["trajectories"].told == "two persons or more agreed on 1 of 2 questions (50%)"
    assert found["prompts"].rate is None


def test_answers_to_other_meanings_are_other_questions(store: TableStore) -> None:
    add_labels(
        store, labels_of(grounded("a", True, rubric_version="1-aa"), grounded("a", False, "bo", rubric_version="2-bb"))
    )
    gold = gather_labels(store, JudgeConfig())
    assert gold.labels.select("rubric_version", "answer").rows() == [("1-aa", True), ("2-bb", False)]
    assert gold.agreement["trajectories"].num_twice == 0


def test_a_mended_wording_is_the_same_question(store: TableStore) -> None:
    add_labels(
        store, labels_of(grounded("a", True, rubric_version="1-aa"), grounded("a", False, "bo", rubric_version="1-bb"))
    )
    assert told(read_labels(store, JudgeConfig())) == {("a", "grounded"): None}


def test_an_answer_without_a_version_is_about_the_newest_meaning(store: TableStore) -> None:
    add_labels(store, labels_of(grounded("a", True), grounded("a", False, by="bo", rubric_version=None)))
    gold = gather_labels(store, JudgeConfig())
    assert told(gold.labels) == {("a", "grounded"): None}
    assert gold.agreement["trajectories"].num_twice == 1


def test_who_accepts_a_row_disagrees_with_a_no_to_one_criterion(store: TableStore) -> None:
    add_labels(store, labels_of(label("a", True), grounded("a", False, by="bo"), label("b", True), grounded("b", True)))
    labels = read_labels(store, JudgeConfig())
    assert told(labels)["a", "accept"] is None
    assert told(labels)["a", "grounded"] is False
    assert told(labels)["b", "accept"] is True


def test_forgotten_rows_are_gone_and_the_others_stay(store: TableStore) -> None:
    add_labels(store, labels_of(label("a", True), grounded("a", True, by="bo"), label("b", True)))
    assert forget_labels(store, {"a", "never-labelled"}) == 2
    assert stored_labels(store)["subject_id"].to_list() == ["b"]


def test_labels_of_files_are_joined_with_the_tables(store: TableStore) -> None:
    rows = [judged_row("a", task_id="moon"), judged_row("b", task_id="sun", raw_path="unit/x.jsonl", raw_index=7)]
    write_judged_tables(store, rows)
    lines = [
        {"trajectory_id": "a", "accept": True},
        {"raw_path": "unit/x.jsonl", "raw_index": 7, "answers": {"grounded": False}},
        {"raw_path": "unit/x.jsonl", "raw_index": 7, "rubric": "prompts", "accept": True},
        {"trajectory_id": "a", "rubric": "prompts", "accept": False},
        {"task_id": "mars", "rubric": "prompts", "accept": True},
        {"trajectory_id": "gone", "accept": True},
        {"raw_path": "unit/gone.jsonl", "raw_index": 0, "accept": True},
    ]
    path = lines_file(store.root / "gold.jsonl", *lines)
    gold = gather_labels(store, JudgeConfig(labels=(str(path),)))
    found = {(row["rubric"], row["subject_id"]): row["task_id"] for row in gold.labels.to_dicts()}
    assert found == {
        ("trajectories", "a"): "moon",
        ("trajectories", "b"): "sun",
        ("prompts", "sun"): "sun",
        ("prompts", "moon"): "moon",
        ("prompts", "mars"): "mars",
        ("trajectories", "gone"): None,
        ("trajectories", "unit/gone.jsonl:0"): None,
    }
    assert gold.num_unknown == 3


def test_a_file_and_the_page_are_two_persons(store: TableStore) -> None:
    write_judged_tables(store, [judged_row("a", task_id="moon")])
    path = lines_file(store.root / "gold.jsonl", {"trajectory_id": "a", "answers": {"grounded": True}})
    add_labels(store, labels_of(grounded("a", False, task_id="another")))
    gold = gather_labels(store, JudgeConfig(labels=(str(path),)))
    [row] = gold.labels.to_dicts()
    assert (row["answer"], row["by"], row["task_id"]) == (None, "ann, gold.jsonl", "moon")
    assert answered_labels(gold.labels, "trajectories").height == 1


def test_of_two_lines_by_one_person_the_later_moment_counts(store: TableStore) -> None:
    lines = [
        {"trajectory_id": "a", "accept": True, "by": "bo", "at": "2025-03-01T12:00:00+02:00"},
        {"trajectory_id": "a", "accept": False, "by": "bo", "at": "2025-03-01T09:00:00Z"},
        {"trajectory_id": "b", "accept": True, "by": "bo"},
        {"trajectory_id": "b", "accept": False, "by": "bo"},
    ]
    path = lines_file(store.root / "gold.jsonl", *lines)
    found = told(read_labels(store, JudgeConfig(labels=(str(path),))))
    assert found == {("a", "accept"): True, ("b", "accept"): False}


def test_prompts_are_known_by_their_task(store: TableStore) -> None:
    write_judged_tables(store, [judged_row("a", task_id="moon")])
    write_prompts_tables(store, [prompt_row("moon")])
    add_labels(store, labels_of(label("moon", True, rubric="prompts", task_id="moon")))
    assert gather_labels(store, JudgeConfig()).num_unknown == 0


@pytest.mark.parametrize(
    ("said", "settled"),
    [
        ([label("a", True)], {"a"}),
        ([label("a", False)], {"a"}),
        ([label("a", None)], {"a"}),
        ([grounded("a", False)], {"a"}),
        ([grounded("a", True)], set()),
        ([grounded("a", True), grounded("a", True, criterion="relevant")], {"a"}),
        ([grounded("a", True), grounded("a", None, criterion="relevant")], {"a"}),
        ([grounded("a", False, rubric_version="2-aa")], set()),
        ([grounded("a", False, rubric_version=None)], {"a"}),
        ([grounded("a", False, criterion="of_old")], set()),
        ([grounded("a", True, criterion="tool_use")], set()),
        ([grounded("a", False, criterion="tool_use")], {"a"}),
        ([], set()),
    ],
)
def test_a_row_is_settled_once_enough_is_said_of_it(said: list[dict[str, object]], settled: set[str]) -> None:
    asked = (*CRITERIA, criterion("relevant"))
    assert settled_subjects(labels_of(*said), asked) == settled


@pytest.mark.parametrize("after", [1, 4, 9])
def test_a_killed_process_loses_no_answer_it_had_told_of(tmp_path: Path, after: int) -> None:
    store = TableStore(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
    ) as child:
        assert child.stdout is not None
        for _ in range(after):
            child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        last = after - 1 + len(child.stdout.read().splitlines())
    kept = set(stored_labels(store)["subject_id"].to_list())
    assert {f"row-{k}" for k in range(last + 1)} <= kept
    add_labels(store, labels_of(label("next", True)))
    assert len(stored_labels(store)) == len(kept) + 1
    assert not list((tmp_path / "state").glob("*.tmp"))


def test_equal_answers_are_equal_bytes(tmp_path: Path) -> None:
    held = [label("b", True), label("a", False), grounded("a", True, by="bo")]
    written = []
    for order in (held, held[::-1]):
        store = TableStore(tmp_path / str(len(written)))
        for each in order:
            add_labels(store, labels_of(each))
        written.append((store.root / "state" / "labels.parquet").read_bytes())
    assert written[0] == written[1]
