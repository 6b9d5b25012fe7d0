"""A small curated store with gold labels, and a judge that knows a little of the truth."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from pipeline.config import CurationConfig
from pipeline.curation.attempted import write_attempted
from pipeline.curation.calibrating import Calibrated, calibrate_store
from pipeline.curation.judging import open_judge
from pipeline.curation.replayed import write_replayed
from pipeline.curation.screened import write_screened
from pipeline.curation.trajectories import write_trajectories
from pipeline.judging.config import JudgeConfig
from pipeline.store import TableStore
from tests.curating import json_lines, land_records, price_chat, put
from tests.fake_completions import Messages, probability_by_hash
from tests.fake_judge import FakeJudge

DAY = "2025-03-01"
NUM_ROWS = 200
CRITERIA = ("grounded", "tool_rationale")
"""What is asked, so that a test is soon done."""
WRONG = "smudged"
"""Stands in every fifth record: those are wrong."""


def is_right(number: int) -> bool:
    """The truth about a record."""
    return number % 5 != 0


def sees_smudges(messages: Messages) -> float:
    """A judge that mostly sees what is wrong, and is never sure."""
    by_chance = probability_by_hash(messages)
    return 0.05 + 0.4 * by_chance if WRONG in orjson.dumps(messages).decode() else 0.5 + 0.45 * by_chance


def curated(folder: Path, *, num_rows: int = NUM_ROWS, day: str = DAY) -> TableStore:
    """A data root whose rows wait for the judge."""
    store = TableStore(folder)
    records = [
        price_chat(k, k, mark="" if is_right(k) else f" {WRONG}", ground_truth=str(101 * k + 7))
        for k in range(num_rows)
    ]
    land_records(store, day, records)
    for write in (write_trajectories, write_screened, write_replayed):
        write(store, day, CurationConfig())
    write_attempted(store, day, CurationConfig(), attempts=None)
    return store


def gold(numbers: Iterable[int], **columns: Any) -> list[dict[str, Any]]:
    """Labels of records by their place, each of the row as a whole unless told otherwise."""
    placed = {"raw_path": f"desk/{DAY}/a.jsonl", "by": "ann", "at": "2025-04-01T00:00:00Z"}
    return [{**placed, "raw_index": k, "accept": is_right(k), **columns} for k in numbers]


def labelled(path: Path, *labels: list[dict[str, Any]], **judge: Any) -> CurationConfig:
    """A configuration that names a file with these labels, and gives up on the judge soon."""
    put(path, json_lines(each for given in labels for each in given))
    hasty = {"timeout_s": 5.0, "backoff_s": 0.01, "skip": ("coherent", "relevant")}
    return CurationConfig(judge=JudgeConfig.model_validate(hasty | {"labels": (str(path),)} | judge))


def calibrated(store: TableStore, config: CurationConfig, judge: FakeJudge, **options: Any) -> Calibrated:
    """The store calibrated by this judge."""
    with open_judge(store, config.judge, judge.server()) as opened:
        return calibrate_store(store, config, opened, **options)


def files_of(store: TableStore) -> dict[str, bytes]:
    """Every calibration and report, by path."""
    folder = store.root / "state" / "calibration"
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
