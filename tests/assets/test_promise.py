"""From labels to a promise: rows are decided by the threshold, and labels that contradict it stop the set."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from pipeline.export.snapshot import latest
from pipeline.store import TableStore
from tests.assets.runs import DAY
from tests.curating import Toolwise, json_lines, price_chat, put
from tests.fake_judge import MODEL, FakeJudge

NUM_ROWS = 220
CRITERIA = ("coherent", "grounded", "relevant", "tool_rationale")


def is_bad(number: int) -> bool:
    """Every sixth row tells another price than the one it was given."""
    return number % 6 == 0


def record(number: int) -> dict[str, Any]:
    held = price_chat(number, number, id=f"r{number}")
    if is_bad(number):
        held["messages"][-1]["content"] = re.sub(r"\d+ crowns", f"{number + 3} crowns", held["messages"][-1]["content"])
    return held


def seen_by_a_good_judge(messages: list[dict[str, Any]]) -> float:
    """Sure of itself, and right, on whether the price told is the price found."""
    text = messages[-1]["content"]
    given, told = re.search(r"sells at (\d+)", text), re.findall(r"costs (\d+) crowns", text)
    is_grounded = given is None or not told or told[-1] == given[1]
    return 0.9 if is_grounded or "supported" not in text else 0.1


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeJudge]:
    with FakeJudge(probability=seen_by_a_good_judge) as held:
        monkeypatch.setenv("TOOLWISE_JUDGE_BASE_URL", held.base_url)
        monkeypatch.setenv("TOOLWISE_JUDGE_MODEL", MODEL)
        yield held


def gold(store: TableStore, path: Path, *, flipped: bool = False) -> Path:
    """Labels of every row; flipped ones say that none is grounded."""
    rows = store.scan("replayed", DAY).select("trajectory_id", "raw_index").collect()
    lines = [
        {
            "trajectory_id": name,
            "answers": {each: each != "grounded" or not (flipped or is_bad(index)) for each in CRITERIA},
            "by": "tester",
            "at": "2025-03-02T00:00:00Z",
        }
        for name, index in rows.iter_rows()
    ]
    return put(path, json_lines(lines))


def reasons(store: TableStore) -> dict[bool, Counter[str | None]]:
    """Whether a row is bad to what became of rows like it."""
    rows = store.scan("judged", DAY).select("raw_index", pl.col("reason").cast(pl.String)).collect()
    found: dict[bool, Counter[str | None]] = {True: Counter(), False: Counter()}
    for index, reason in rows.iter_rows():
        found[is_bad(index)][reason] += 1
    return found


def test_labels_make_a_promise_that_is_kept_until_labels_contradict_it(
    toolwise: Toolwise, tmp_path: Path, judge: FakeJudge
) -> None:
    file = put(tmp_path / "logs.jsonl", json_lines(record(number) for number in range(NUM_ROWS)))
    store = toolwise.store
    toolwise.done("curate", file, "--day", DAY)
    assert all(set(found) == {None} for found in reasons(store).values())  # uncalibrated: recorded, and nothing more
    labels = gold(store, tmp_path / "gold.jsonl")
    toolwise.config('[judge]\nlabels = ["gold.jsonl"]\ncascade = false\n', name="toolwise.toml")

    asked = judge.num_requests
    told = toolwise.done("calibrate")
    assert judge.num_requests == asked  # every verdict was known
    assert "95%" in told
    out = toolwise.done("curate", "--day", DAY)
    assert judge.num_requests == asked
    assert "Promised: at least 95%" in " ".join(out.split())
    found = reasons(store)
    # thresholds are looked at where a further wrong label may be forgiven, so a few good rows lie under the last one
    assert found[False][None] >= 0.9 * found[False].total()
    assert set(found[False]) <= {None, "low_confidence"}
    assert set(found[True]) <= {"ungrounded", "low_confidence"}
    first = latest(store, "sft")
    assert first is not None

    labels.write_bytes(gold(store, tmp_path / "flipped.jsonl", flipped=True).read_bytes())
    outcome = toolwise("curate", "--day", DAY)
    assert outcome.status != 0
    assert "precision_as_promised" in outcome.err
    assert "Broken" in outcome.err
    assert latest(store, "sft") == first


def test_a_calibration_of_other_criteria_is_not_in_force_and_says_so(
    toolwise: Toolwise, tmp_path: Path, judge: FakeJudge
) -> None:
    file = put(tmp_path / "logs.jsonl", json_lines(record(number) for number in range(NUM_ROWS)))
    toolwise.done("curate", file, "--day", DAY)
    gold(toolwise.store, tmp_path / "gold.jsonl")
    toolwise.config('[judge]\nlabels = ["gold.jsonl"]\n')
    toolwise.done("calibrate")
    toolwise.config('[judge]\nlabels = ["gold.jsonl"]\nskip = ["relevant"]\n')
    toolwise.done("curate", "--day", DAY)
    manifest = toolwise.store.manifest("judged", DAY)
    assert manifest is not None
    assert manifest["versions"]["calibration"] == "none"
    assert set(reasons(toolwise.store)[True]) == {None}


def test_evidence_of_a_dropped_row_names_the_criterion_and_the_threshold(
    toolwise: Toolwise, tmp_path: Path, judge: FakeJudge
) -> None:
    file = put(tmp_path / "logs.jsonl", json_lines(record(number) for number in range(NUM_ROWS)))
    toolwise.done("curate", file, "--day", DAY, "--until", "attempted")
    gold(toolwise.store, tmp_path / "gold.jsonl")
    toolwise.config('[judge]\nlabels = ["gold.jsonl"]\ncascade = false\n')
    toolwise.done("calibrate")
    toolwise.done("curate", "--day", DAY)
    rows = toolwise.store.scan("judged", DAY).filter(pl.col("reason") == "ungrounded").collect()
    assert rows.height > 10
    ledger = pl.read_parquet(toolwise.store.folder("decisions", DAY) / "judged.parquet")
    told = orjson.loads(ledger.filter(pl.col("trajectory_id") == rows["trajectory_id"][0])["evidence"][0])
    assert told["criterion"] == "grounded"
    assert told["acceptance"] < told["threshold"]
    out = toolwise.done("why", rows["trajectory_id"][0])
    assert "grounded: score 0.10" in out
