"""Which rows people are asked about, and what they are shown of them."""

from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from pipeline.curation.labelling import candidates, draw_rows
from pipeline.curation.shown import LONGEST, shown_prompts, shown_trajectories
from pipeline.errors import MissingTableError
from pipeline.judging.config import JudgeConfig
from pipeline.judging.gold import certifying
from pipeline.judging.labels import add_labels
from pipeline.store import TableStore
from tests.factories import assistant, tool, user
from tests.labelling import (
    DAY,
    attack_everywhere,
    judged_row,
    lines_file,
    picture,
    prompt_row,
    write_judged_tables,
    write_prompts_tables,
)
from tests.pipeline.judging.labelled import label, labels_of

MAIL = "anna.petersen@harbour-office.com"
CONFIG = JudgeConfig()


@pytest.fixture
def store(tmp_path: Path) -> TableStore:
    return TableStore(tmp_path)


def shown(store: TableStore, *rows: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows, written and read back, as a person is shown them."""
    write_judged_tables(store, rows)
    return shown_trajectories(store.scan("judged", DAY).collect())


def test_rows_that_reached_the_judge_can_be_asked_about(store: TableStore) -> None:
    rows = [
        judged_row("kept", acceptance=0.9, score=0.3),
        judged_row("uncalibrated", score=0.3),
        judged_row("dropped", reason="ungrounded", acceptance=0.1),
        judged_row("doubtful", reason="low_confidence"),
        judged_row("failed", reason="judge_failed", score=None),
        judged_row("image", reason="corrupted", score=None),
        judged_row("wrong", reason="wrong_answer", before="wrong_answer", score=None),
    ]
    write_judged_tables(store, rows)
    found = candidates(store, "trajectories", [DAY])
    assert dict(found.select("subject_id", "score").iter_rows()) == {
        "doubtful": 0.5,
        "dropped": 0.1,
        "failed": None,
        "kept": 0.9,
        "uncalibrated": 0.3,
    }


def test_a_record_of_two_days_is_asked_about_once(store: TableStore) -> None:
    write_judged_tables(store, [judged_row("a", acceptance=0.5)], "2025-03-02")
    write_judged_tables(store, [judged_row("a", acceptance=0.7), judged_row("b")])
    found = candidates(store, "trajectories", ["2025-03-02", DAY])
    assert found.select("subject_id", "day", "score").rows() == [("a", DAY, 0.7), ("b", DAY, 0.5)]


def test_prompts_are_asked_about_by_task(store: TableStore) -> None:
    rows = [prompt_row("moon", acceptance=0.4), prompt_row("sun", reason="corrupted"), prompt_row("mars")]
    write_prompts_tables(store, rows)
    found = candidates(store, "prompts", [DAY])
    assert found.select("subject_id", "task_id", "score").rows() == [("mars", "mars", None), ("moon", "moon", 0.4)]
    drawn = draw_rows(store, CONFIG, "prompts", [DAY], number=5, by="ann")
    assert drawn.rows["task_id"].to_list() == drawn.sample["subject_id"].to_list()
    assert {each.rubric for each in drawn.criteria} == {"prompts"}


def test_what_is_drawn_comes_with_its_rows_in_order(store: TableStore) -> None:
    write_judged_tables(store, [judged_row(f"row-{k}") for k in range(12)])
    write_judged_tables(store, [judged_row(f"late-{k}") for k in range(12)], "2025-03-02")
    drawn = draw_rows(store, CONFIG, "trajectories", [DAY, "2025-03-02"], number=20, by="ann")
    assert drawn.sample.height == 20
    assert drawn.rows["trajectory_id"].to_list() == drawn.sample["subject_id"].to_list()
    assert drawn.rows["messages"].null_count() == 0
    assert drawn.need.num_certifying == 0


def test_nothing_judged_is_told(store: TableStore) -> None:
    with pytest.raises(MissingTableError, match="run `toolwise curate` first"):
        draw_rows(store, CONFIG, "trajectories", [], number=5, by="ann")


def test_settled_rows_are_not_asked_about_again_and_open_ones_are(store: TableStore) -> None:
    write_judged_tables(store, [judged_row(f"row-{k}") for k in range(4)])
    open_ = label("row-1", True, criterion="grounded", rubric_version="1-aa")
    add_labels(store, labels_of(label("row-0", False), open_, label("row-2", True, rubric="prompts")))
    drawn = draw_rows(store, CONFIG, "trajectories", [DAY], number=9, by="ann")
    assert set(drawn.sample["subject_id"]) == {"row-1", "row-2", "row-3"}
    assert drawn.labelled_tasks == {"task-row-0"}


def test_labels_of_files_count_as_labelled(store: TableStore) -> None:
    write_judged_tables(store, [judged_row(f"row-{k}") for k in range(4)])
    path = lines_file(store.root / "gold.jsonl", {"trajectory_id": "row-3", "accept": True})
    drawn = draw_rows(store, JudgeConfig(labels=(str(path),)), "trajectories", [DAY], number=9, by="gold.jsonl")
    assert set(drawn.sample["subject_id"]) == {"row-0", "row-1", "row-2"}


def test_a_tenth_are_second_opinions_on_other_people_s_rows(store: TableStore) -> None:
    write_judged_tables(store, [judged_row(f"row-{k:02d}") for k in range(60)])
    add_labels(store, labels_of(*(label(f"row-{k:02d}", True, weight=2.0) for k in range(20))))
    mine = draw_rows(store, CONFIG, "trajectories", [DAY], number=20, by="ann").sample
    assert "agree" not in mine["purpose"].to_list()
    others = draw_rows(store, CONFIG, "trajectories", [DAY], number=20, by="bo").sample
    again = others.filter(pl.col("purpose") == "agree")
    assert (others.height, again.height) == (20, 2)
    assert set(again["subject_id"]) <= {f"row-{k:02d}" for k in range(20)}
    assert again["weight"].to_list() == [2.0, 2.0]


def test_need_counts_the_tasks_of_the_labels(store: TableStore) -> None:
    write_judged_tables(store, [judged_row(f"row-{k:02d}") for k in range(30)])
    add_labels(store, labels_of(*(label(f"row-{k:02d}", True, task_id=f"task-row-{k:02d}") for k in range(30))))
    need = draw_rows(store, CONFIG, "trajectories", [DAY], number=5, by="ann").need
    tasks = pl.DataFrame({"task_id": [f"task-row-{k:02d}" for k in range(30)]})
    expected = tasks.filter(certifying(pl.col("task_id"))).height
    assert (need.num_certifying, need.num_fitting) == (expected, 30 - expected)


def test_a_trajectory_is_shown_as_task_events_and_answer(store: TableStore) -> None:
    [row] = shown(store, judged_row("a", final_answer="384400 km"))
    assert (row["id"], row["source"], row["task"], row["answer"]) == ("a", "unit", "How far is the moon?", "384400 km")
    assert [(event["role"], event["text"]) for event in row["events"]] == [
        ("assistant", "I will look."),
        ("tool", "The moon is 384400 km away."),
        ("assistant", "It is 384400 km away."),
    ]
    assert row["events"][0]["calls"] == [
        {"number": 0, "name": "search", "arguments": [["query", "distance of the moon"]], "raw": None}
    ]
    assert row["events"][1]["answers_call"] == 0


def test_nothing_a_judge_said_is_shown(store: TableStore) -> None:
    [row] = shown(store, judged_row("a", acceptance=0.123456, decided_by="classifier", reason="ungrounded"))
    told = orjson.dumps(row).decode()
    for each in ("0.123456", "classifier", "ungrounded", "acceptance"):
        assert each not in told


def test_calls_are_numbered_as_the_judge_numbers_them(store: TableStore) -> None:
    messages = [
        user("Prices?"),
        assistant(None, ("price", {"good": "flax"}), ("price", {"good": "hemp"})),
        tool("7", "c1"),
        tool("9", "c0"),
        assistant(None, ("price", {"good": "jute"})),
        tool("3", "c0"),
        tool("stray", "nobody"),
        assistant("7, 9 and 3."),
    ]
    [row] = shown(store, judged_row("a", messages=messages))
    assert [call["number"] for event in row["events"] for call in event["calls"]] == [0, 1, 2]
    assert [event["answers_call"] for event in row["events"] if event["role"] == "tool"] == [1, 0, 2, None]


@pytest.mark.parametrize(
    ("arguments", "named", "raw"),
    [
        ('{"code": "a = 1\\nprint(a)"}', [["code", "a = 1\nprint(a)"]], None),
        ('{"box": [1, 2], "deep": {"a": "é"}}', [["box", "[1, 2]"], ["deep", '{"a": "é"}']], None),
        ('{"number": 12345678901234567890123}', [["number", "12345678901234567890123"]], None),
        ("{}", [], None),
        ("[1]", [], "[1]"),
        ("not JSON", [], "not JSON"),
        ("", [], ""),
        (None, [], None),
        ('{"a": ' + "[" * 50_000 + "]" * 50_000 + "}", [], '{"a": ' + "[" * 49_994),
    ],
)
def test_arguments_are_shown_as_a_person_reads_them(
    store: TableStore, arguments: str | None, named: list[list[str]], raw: str | None
) -> None:
    call = assistant("x", ("run", {}))
    assert call["tool_calls"] is not None
    call["tool_calls"][0]["arguments"] = arguments
    [row] = shown(store, judged_row("a", messages=[user("q"), call]))
    told = row["events"][0]["calls"][0]
    assert told["arguments"] == named
    assert told["raw"] == raw or (raw is not None and told["raw"].startswith(raw))


def test_long_arguments_stand_in_lines_of_their_own(store: TableStore) -> None:
    given = {"files": [f"harbour/{k}.txt" for k in range(9)]}
    [row] = shown(store, judged_row("a", messages=[user("q"), assistant("x", ("run", given))]))
    [[_, told]] = row["events"][0]["calls"][0]["arguments"]
    assert told.count("\n") == 10


def test_secrets_and_personal_data_are_redacted_everywhere(store: TableStore) -> None:
    messages = [
        user(f"Write to {MAIL}."),
        {**assistant(f"I write to {MAIL}.", ("send", {"to": MAIL})), "reasoning": f"{MAIL} it is"},
        tool(f"sent to {MAIL}"),
        assistant(f"Sent to {MAIL}."),
    ]
    [row] = shown(store, judged_row("a", messages=messages, prompt=f"Write to {MAIL}.", final_answer=MAIL))
    told = orjson.dumps(row).decode()
    assert MAIL not in told
    assert told.count("[REDACTED:") == 7
    [prompt] = shown_prompts(pl.DataFrame([prompt_row("moon", prompt=MAIL, ground_truth=MAIL)]))
    assert MAIL not in orjson.dumps(prompt).decode()


def test_what_invisible_characters_hid_is_redacted_too(store: TableStore) -> None:
    hidden = MAIL.replace("@", "\u200b@\u200b")
    [row] = shown(store, judged_row("a", messages=[user("q"), assistant(f"to {hidden}", ("send", {"to": hidden}))]))
    told = orjson.dumps(row).decode()
    assert "anna.petersen" not in told
    assert "\u200b" not in told


def test_images_are_shown_by_their_pixels_and_nothing_is_fetched(store: TableStore) -> None:
    vector = "data:image/svg+xml;base64,PHN2Zy8+"
    images = [picture(), "https://pictures.example/a.png", vector, f"https://pictures.example/{MAIL}"]
    messages = [{**user("What is it?"), "images": images}, {**tool("crop", None), "images": [picture("#00ff00")]}]
    [row] = shown(store, judged_row("a", messages=messages))
    assert [image["data"] for image in row["images"]] == [picture(), None, None, None]
    assert [image["named"] for image in row["images"][:3]] == [
        None,
        "https://pictures.example/a.png",
        "an image in the record that is not shown",
    ]
    assert MAIL not in orjson.dumps(row).decode()
    assert row["events"][0]["images"][0]["data"] == picture("#00ff00")


def test_a_text_of_megabytes_loses_its_middle_and_says_so(store: TableStore) -> None:
    long = "a" * LONGEST + "b" * 1000
    [row] = shown(store, judged_row("a", messages=[user("q"), assistant("x", ("run", {})), tool(long)]))
    told = row["events"][1]["text"]
    assert len(told) < LONGEST + 100
    assert "1,000 characters left out here" in told
    assert told.endswith("b" * 1000)


@pytest.mark.parametrize("messages", [None, [], [assistant(None)], [tool(None, None)]])
def test_odd_rows_are_shown_as_well(store: TableStore, messages: list[Any] | None) -> None:
    row = judged_row("a", messages=messages or []) | {"messages": messages, "prompt": None}
    [told] = shown(store, row)
    assert told["task"] is None
    assert len(told["events"]) == len(messages or [])


def test_an_attack_is_text_and_nothing_else(store: TableStore) -> None:
    attack = "<script>alert(1)</script>"
    [row] = shown(store, attack_everywhere(attack))
    assert row["task"] == attack
    assert row["events"][1]["reasoning"] == attack
    assert row["events"][1]["calls"][0]["arguments"][0] == [attack, attack]
