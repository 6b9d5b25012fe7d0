"""Gold labels of records: what a perfect judge answers of those that no cheaper stage decides."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from examples.corpus import lines
from pipeline.config import CurationConfig
from pipeline.curation.trajectories import write_trajectories
from pipeline.landing.zone import land, landed_days
from pipeline.store import TableStore

ANSWERS: dict[str, dict[str, bool | None]] = {
    "keep": {"grounded": True, "coherent": True, "tool_rationale": True, "relevant": True},
    "tool_unnecessary": {"grounded": True, "coherent": True, "tool_rationale": None, "relevant": True},
    "ungrounded": {"grounded": False, "coherent": None, "tool_rationale": True, "relevant": True},
    "incoherent": {"grounded": None, "coherent": False, "tool_rationale": True, "relevant": None},
    "tool_misuse": {"grounded": None, "coherent": None, "tool_rationale": False, "relevant": True},
    "irrelevant": {"grounded": None, "coherent": None, "tool_rationale": True, "relevant": False},
}
"""Expected reason to answers by criterion. Null: it could be said either way; a fault of one kind often looks like one
of another, and whether a sensible call was needed at all is a question to attempts without tools, not to a judge."""
_BY = "make_examples"
_AT = "2025-01-01T00:00:00Z"


def parsed(traces: Path) -> pl.DataFrame:
    """Where every record of a tree laid out as the landing zone stands, its id, its task and how many calls it makes.

    Writes: raw_path, raw_index, trajectory_id, prompt, num_tool_calls.
    """
    with tempfile.TemporaryDirectory(prefix="toolwise-gold-") as folder:
        store = TableStore(Path(folder))
        shaped = landed_days([traces]) or []
        for source, day, place in shaped:
            land([place], store.root / "raw", source, day, contents=True)
        days = sorted({day for _, day, _ in shaped})
        for day in days:
            write_trajectories(store, day, CurationConfig())
        held = store.scan_days("trajectories", days)
        assert held is not None
        return held.select("raw_path", "raw_index", "trajectory_id", "prompt", "num_tool_calls").collect()


def gold(labels: list[dict[str, Any]], records: pl.DataFrame) -> bytes:
    """Labels of the records that should reach a judge as JSON Lines, in order of trajectory_id.

    Of a group of copies the one with the smallest id gets there. The question about calls is left out where none was
    made.
    """
    found = {(path, index): (name, calls) for path, index, name, _, calls in records.iter_rows()}
    told = []
    for label in _reaching(labels, found):
        name, calls = found[label["path"], label["index"]]
        answers = ANSWERS["keep" if "group" in label else label["expected"]]
        said = {criterion: yes for criterion, yes in answers.items() if calls or criterion != "tool_rationale"}
        told.append({"trajectory_id": name, "rubric": "trajectories", "answers": said, "by": _BY, "at": _AT})
    return lines(sorted(told, key=lambda each: each["trajectory_id"]))


def _reaching(labels: list[dict[str, Any]], found: dict[tuple[str, int], tuple[str, int]]) -> Iterator[dict[str, Any]]:
    earliest: dict[str, str] = {}
    for label in labels:
        if "group" in label:
            name = found[label["path"], label["index"]][0]
            earliest[label["group"]] = min(name, earliest.get(label["group"], name))
    for label in labels:
        if "group" in label:
            if found[label["path"], label["index"]][0] == earliest[label["group"]]:
                yield label
        elif label["expected"] in ANSWERS:
            yield label
