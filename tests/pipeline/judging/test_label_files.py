"""Files of labels: every line that cannot be used is told, with what was wanted; the others are read as they are."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import LabelsError
from pipeline.judging.label_files import read_label_files
from tests.labelling import lines_file

GOOD: dict[str, Any] = {"trajectory_id": "a", "accept": True}


def read(folder: Path, *lines: Any) -> list[dict[str, Any]]:
    """The answers in a file of these lines; bytes stand as they are."""
    return read_label_files([lines_file(folder / "gold.jsonl", *lines)]).to_dicts()


def test_a_line_gives_one_row_per_answer(tmp_path: Path) -> None:
    line = {
        "raw_path": "desk/2025-03-01/a.jsonl",
        "raw_index": 3,
        "answers": {"grounded": True, "relevant": None},
        "accept": False,
        "weight": 2,
        "by": " ann ",
        "at": "2025-03-01T12:00:00+02:00",
        "rubric_version": {"grounded": "2-0a"},
        "note": "hard",
    }
    rows = read(tmp_path, line)
    assert [(row["criterion"], row["answer"], row["rubric_version"]) for row in rows] == [
        ("grounded", True, "2-0a"),
        ("relevant", None, None),
        ("accept", False, None),
    ]
    for row in rows:
        assert (row["raw_path"], row["raw_index"], row["trajectory_id"]) == ("desk/2025-03-01/a.jsonl", 3, None)
        assert (row["rubric"], row["weight"], row["by"]) == ("trajectories", 2.0, "ann")
        assert row["at"] == "2025-03-01T10:00:00+00:00"


def test_what_a_line_leaves_out_has_a_default(tmp_path: Path) -> None:
    [row] = read(tmp_path, GOOD)
    assert (row["rubric"], row["weight"], row["by"], row["at"]) == ("trajectories", 1.0, "gold.jsonl", None)
    [row] = read(tmp_path, GOOD | {"answers": {"grounded": True}, "rubric_version": "3"})[:1]
    assert row["rubric_version"] == "3"


def test_empty_lines_and_files_hold_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, b"", b"  \t", GOOD, b"")[0]["trajectory_id"] == "a"
    assert read(tmp_path) == []
    assert read_label_files([]).is_empty()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"{", "want a JSON object, found something else"),
        (b"\xff\xfe", "want a JSON object, found something else"),
        (b"NaN", "want a JSON object, found something else"),
        ([], "want a JSON object, found []"),
        ("a", "want a JSON object, found 'a'"),
        ({"accept": True}, "want trajectory_id, or raw_path with raw_index, found neither"),
        ({"task_id": "t", "accept": True}, "found a task_id alone: a task may have several attempts"),
        ({"rubric": "prompts", "accept": True}, "want trajectory_id, or raw_path with raw_index, or task_id, found"),
        (GOOD | {"raw_path": "a", "raw_index": 0}, "found both"),
        ({"raw_path": "a", "accept": True}, "want raw_path and raw_index together, found one of them"),
        ({"raw_path": "a", "raw_index": -1, "accept": True}, "raw_index: want a whole number from 0 on, found -1"),
        ({"raw_path": "a", "raw_index": True, "accept": True}, "raw_index: want a whole number from 0 on, found True"),
        ({"raw_path": "a", "raw_index": 2**32, "accept": True}, "raw_index: want a whole number"),
        ({"trajectory_id": 7, "accept": True}, "trajectory_id: want a text, found 7"),
        ({"trajectory_id": "", "accept": True}, "trajectory_id: want a text, found ''"),
        ({"trajectory_id": None, "accept": True}, "trajectory_id: want a text, found None"),
        (GOOD | {"rubric": "traces"}, "rubric: want one of trajectories, prompts, found 'traces'"),
        (GOOD | {"rubric": ["prompts"]}, "rubric: want one of trajectories, prompts, found ['prompts']"),
        (GOOD | {"answer": True}, "answer: want one of trajectory_id, task_id"),
        ({"trajectory_id": "a"}, "want answers, accept, or both, found neither"),
        (
            {"trajectory_id": "a", "accept": "yes"},
            "accept: want true, false, or null where nobody can tell, found 'yes'",
        ),
        ({"trajectory_id": "a", "accept": 1}, "accept: want true, false, or null where nobody can tell, found 1"),
        ({"trajectory_id": "a", "answers": {}}, "answers: want an object such as"),
        ({"trajectory_id": "a", "answers": ["grounded"]}, "answers: want an object such as"),
        ({"trajectory_id": "a", "answers": {"grounded": 0}}, "answers.grounded: want true, false, or null"),
        ({"trajectory_id": "a", "answers": {"Is it?": True}}, "answers: want the name of a criterion, found 'Is it?'"),
        ({"trajectory_id": "a", "answers": {"accept": True}}, "answers: want the name of a criterion, found 'accept'"),
        (GOOD | {"weight": 0}, "weight: want a number above 0"),
        (GOOD | {"weight": -1.5}, "weight: want a number above 0"),
        (GOOD | {"weight": "2"}, "weight: want a number above 0"),
        (GOOD | {"weight": True}, "weight: want a number above 0"),
        (GOOD | {"weight": None}, "weight: want a number above 0"),
        (GOOD | {"by": " "}, "by: want a name, found ' '"),
        (GOOD | {"by": 4}, "by: want a name, found 4"),
        (GOOD | {"at": "yesterday"}, "at: want a moment such as"),
        (GOOD | {"at": 1740830400}, "at: want a moment such as"),
        (GOOD | {"rubric_version": "v1"}, 'rubric_version: want a version such as "1"'),
        (
            GOOD | {"rubric_version": {"grounded": "1"}},
            "rubric_version: want criteria that are answered, found 'grounded'",
        ),
    ],
)
def test_a_line_that_cannot_be_used_is_told(tmp_path: Path, line: Any, told: str) -> None:
    with pytest.raises(LabelsError) as raised:
        read(tmp_path, GOOD, line)
    assert f"{tmp_path / 'gold.jsonl'}:2: " in str(raised.value)
    assert told in str(raised.value)


def test_every_fault_of_every_file_is_told_at_once(tmp_path: Path) -> None:
    first = lines_file(tmp_path / "one.jsonl", b"{", GOOD, {"accept": 3})
    second = lines_file(tmp_path / "two.jsonl", [])
    with pytest.raises(LabelsError) as raised:
        read_label_files([first, tmp_path / "gone.jsonl", second])
    told = str(raised.value)
    for said in (
        f"{first}:1:",
        f"{first}:3: want trajectory_id",
        f"{first}:3: accept:",
        "gone.jsonl: want a file",
        f"{second}:1:",
    ):
        assert said in told
    assert told.endswith("mend these lines, or take the file out of [judge] labels")


def test_a_thousand_faults_are_counted_and_not_all_told(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="and 980 more") as raised:
        read(tmp_path, *([b"[]"] * 1000))
    assert len(str(raised.value)) < 10_000


def test_a_huge_value_is_told_shortly(tmp_path: Path) -> None:
    with pytest.raises(LabelsError) as raised:
        read(tmp_path, {"trajectory_id": "a", "accept": "x" * 100_000, "answers": {"y" * 100_000: 3}})
    assert len(str(raised.value)) < 2_000


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=12,
    ),
    st.sampled_from(
        ["trajectory_id", "raw_index", "rubric", "answers", "accept", "weight", "by", "at", "rubric_version"]
    ),
)
def test_no_value_anywhere_raises_anything_else(tmp_path_factory: pytest.TempPathFactory, value: Any, key: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    try:
        line = orjson.dumps(GOOD | {key: value})
    except TypeError:  # an integer beyond 64 bits
        return
    path.write_bytes(line + b"\n")
    try:
        found = read_label_files([path])
    except LabelsError:
        return
    assert found.height >= 1
