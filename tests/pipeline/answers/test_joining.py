"""Answers files: read from every kind, refused with a message that helps, joined by every key."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline.answers.joining import JoinCounts, join_answers, read_answers
from pipeline.errors import AnswersError
from tests.factories import make_frame, make_trajectory


def write_lines(path: Path, *rows: Any) -> Path:
    """A JSON Lines file of these rows."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def joined(path: Path, *rows: dict[str, Any]) -> tuple[list[tuple[Any, ...]], JoinCounts]:
    """(ground_truth, success, reward, metadata) of each row after joining the file, and the counts."""
    lf, counts = join_answers(make_frame(*rows), read_answers(path))
    told = lf.select("ground_truth", "success", "reward", "metadata").collect()
    return [(*row[:3], json.loads(row[3])) for row in told.iter_rows()], counts


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
def test_every_kind_of_file_reads_the_same(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"answers{suffix}"
    frame = pl.DataFrame({"task_id": [7, 8], "answer": ["18", "5"], "score": [1.0, 0.0]})
    if suffix == ".parquet":
        frame.write_parquet(path)
    elif suffix == ".csv":
        frame.write_csv(path)
    elif suffix == ".json":
        path.write_text(json.dumps(frame.to_dicts()), encoding="utf-8")
    else:
        write_lines(path, *frame.to_dicts())
    told = read_answers(path)
    assert told.select("answer", "id", "id_field", "ground_truth", "success", "reward").rows() == [
        (0, "7", "task_id", "18", None, 1.0),
        (1, "8", "task_id", "5", None, 0.0),
    ]


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        ({"id": "a", "answer": 18}, {"id": "a", "ground_truth": "18"}),
        ({"idx": 3, "gt": 1.5}, {"id": "3", "id_field": "idx", "ground_truth": "1.5"}),
        ({"idx": 3, "target": 12.0}, {"ground_truth": "12"}),
        ({"id": "a", "answers": ["x", "y"]}, {"ground_truth": '["x","y"]'}),
        ({"id": "a", "answer": True}, {"ground_truth": "true"}),
        ({"trajectory_id": "t1", "success": True}, {"trajectory_id": "t1", "success": True}),
        ({"question": " How FAR? ", "answer": "1 km"}, {"prompt": "how far", "ground_truth": "1 km"}),
        ({"id": "a", "passed": "False"}, {"success": False}),
        ({"id": "a", "passed": 1}, {"success": True}),
        ({"id": "a", "reward": "0.5"}, {"reward": 0.5}),
        ({"id": "a", "answer": None, "reward": float("nan")}, {"ground_truth": None, "reward": None}),
    ],
)
def test_values_are_read_by_their_meaning(tmp_path: Path, row: dict[str, Any], wanted: dict[str, Any]) -> None:
    told = read_answers(write_lines(tmp_path / "answers.jsonl", row)).to_dicts()[0]
    assert {name: told[name] for name in wanted} == wanted


def test_a_json_object_may_map_keys_to_answers(tmp_path: Path) -> None:
    path = tmp_path / "answers.json"
    path.write_text('{"a": "18", "b": {"answer": "5", "success": true}}', encoding="utf-8")
    assert read_answers(path).select("id", "ground_truth", "success").rows() == [("a", "18", None), ("b", "5", True)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"name": "x", "value": 1}\n', "want a key .* and a value .*, found name, value; rename"),
        ("a.jsonl", '{"id": "x", "value": 1}\n', "found id, value; rename"),
        ("a.jsonl", '{"answer": "x"}\n', "found answer; rename"),
        ("a.jsonl", "", "want at least one record, found none"),
        ("a.jsonl", '{"id": 1, "answer": 2}\nnot json\n', "line 2: want JSON, found b'not json'"),
        ("a.jsonl", "[1, 2]\n[3]\n", "record 1: want a JSON object, found list"),
        ("a.csv", "id\n1\n", "found id; rename"),
        ("a.parquet", "not parquet", "not parquet"),
        ("a.txt", "x", r"want .jsonl, .json, .csv or .parquet, found .txt"),
        ("a.jsonl", '{"id": 1, "success": "maybe"}\n', "record 1: success: want true or false, found 'maybe'"),
        ("a.jsonl", '{"id": 1, "reward": "high"}\n', "record 1: reward: want a number, found 'high'"),
        ("a.jsonl", '{"id": 1, "answer": 2}\n{"id": null, "answer": 2}\n', "record 2: no key"),
    ],
)
def test_a_file_that_cannot_be_joined_says_why(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(AnswersError, match=message) as caught:
        read_answers(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(AnswersError, match="cannot be read"):
        read_answers(tmp_path / "answers.jsonl")


def test_conflicting_answers_are_refused_and_five_of_them_listed(tmp_path: Path) -> None:
    rows = [{"id": f"k{k}", "answer": answer} for k in range(7) for answer in ("1", "2", "2")]
    with pytest.raises(
        AnswersError, match=r"found 2 different answers in records 1, 2; .*records 13, 14 and 2 more; keep one"
    ):
        read_answers(write_lines(tmp_path / "answers.jsonl", *rows))


def test_equal_duplicates_are_one_answer(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "answers.jsonl", *[{"id": "a", "answer": "1"}] * 3)
    assert read_answers(path).height == 1


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        ({"trajectory_id": "mine"}, {"trajectory_id": "mine"}),
        ({"task_id": "task0"}, {}),
        ({"id": 7}, {"metadata": '{"id": 7}'}),
        ({"id": "7"}, {"metadata": '{"idx": 7}'}),
        ({"instance_id": "repo__1"}, {"metadata": '{"instance_id": "repo__1"}'}),
        ({"question": "how far is THE moon"}, {}),
        ({"id": "unknown", "prompt": "How far is the moon?"}, {}),
    ],
)
def test_every_key_finds_its_record(tmp_path: Path, row: dict[str, Any], columns: dict[str, Any]) -> None:
    path = write_lines(tmp_path / "answers.jsonl", row | {"answer": "384400 km"})
    rows, counts = joined(path, make_trajectory(**columns))
    assert rows[0][0] == "384400 km"
    assert counts == JoinCounts(matched=1, unmatched=0, ambiguous=0, unused=0)


def test_all_attempts_at_a_task_get_its_answer_and_order_stays(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "answers.jsonl", {"task_id": "a", "answer": "1"}, {"task_id": "z", "answer": "2"})
    rows, counts = joined(path, *(make_trajectory(task_id=task) for task in "abab"))
    assert [row[0] for row in rows] == ["1", None, "1", None]
    assert counts == JoinCounts(matched=2, unmatched=2, ambiguous=0, unused=1)


def test_an_id_that_names_several_tasks_joins_nothing(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "answers.jsonl", {"id": 0, "answer": "1"}, {"id": 1, "answer": "2"})
    rows, counts = joined(
        path,
        make_trajectory(task_id="gsm8k", metadata='{"task_id": 0}'),
        make_trajectory(task_id="mmlu", metadata='{"task_id": 0}'),
        make_trajectory(task_id="other", metadata='{"task_id": 1}'),
    )
    assert [row[0] for row in rows] == [None, None, "2"]
    assert counts == JoinCounts(matched=1, unmatched=2, ambiguous=2, unused=1)


def test_the_file_wins_and_what_it_replaces_is_kept(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "answers.jsonl", {"task_id": "task0", "answer": "new", "success": False, "reward": 0})
    rows, _ = joined(path, make_trajectory(ground_truth="old", success=True, reward=1.0, metadata='{"k": 1}'))
    assert rows == [("new", False, 0.0, {"k": 1, "recorded": {"ground_truth": "old", "success": True, "reward": 1.0}})]


def test_a_null_in_the_file_and_an_equal_value_replace_nothing(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "answers.jsonl", {"task_id": "task0", "answer": "same", "success": None})
    rows, _ = joined(path, make_trajectory(ground_truth="same", success=True))
    assert rows == [("same", True, None, {})]


def test_joining_twice_is_joining_once(tmp_path: Path) -> None:
    answers = read_answers(write_lines(tmp_path / "answers.jsonl", {"task_id": "task0", "answer": "new"}))
    before = make_frame(make_trajectory(ground_truth="old"), make_trajectory(task_id="other"))
    once, _ = join_answers(before, answers)
    twice, _ = join_answers(once, answers)
    assert_frame_equal(twice, once)
    assert once.collect_schema() == before.collect_schema()
    others = pl.exclude("ground_truth", "metadata")
    assert_frame_equal(once.select(others), before.select(others))
