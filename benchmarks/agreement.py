"""Whether two tools that removed duplicates from the same records ended with the same: against what was planted."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from benchmarks.curate_with_toolwise import DAY
from pipeline.curation.sft_set import SET
from pipeline.export.snapshot import latest
from pipeline.store import TableStore

MAX_NEAR_RATE = 0.001
"""Share of the groups of near copies in which a tool may keep more or fewer than one; of exact copies none may."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a tool left: ids of the records after the exact and after the near stage, and the words of the latter."""

    after_exact: set[str]
    after_near: set[str]
    words: dict[str, int]


@dataclass(frozen=True, slots=True)
class Planted:
    """The truth about the records: the task and the content each has. Copies of a record share its task."""

    tasks: dict[str, str]
    contents: dict[str, int]


def planted(records: Path) -> Planted:
    """The truth, read from the records themselves: each fresh record asks a question no other asks."""
    tasks, contents = {}, {}
    for record in _lines(sorted(records.rglob("*.jsonl"))):
        name = record.pop("id")
        tasks[name] = next(item["content"] for item in record["messages"] if item["role"] == "user")
        contents[name] = hash(orjson.dumps(record))
    return Planted(tasks, contents)


def kept_by_datatrove(out: Path) -> Kept:
    """What datatrove wrote."""
    rows = list(_lines(sorted((out / "kept").glob("*.jsonl"))))
    near = {row["id"] for row in rows}
    near_removed = {row["id"] for row in _lines(sorted((out / "near_removed").glob("*.jsonl")))}
    words = {row["id"]: _words(row["metadata"]["messages"]) for row in rows}
    return Kept(near | near_removed, near, words)


def kept_by_toolwise(out: Path) -> tuple[Kept, set[str], set[str]]:
    """What toolwise wrote, the ids of all records its gates passed on to be compared, and of those it redacted in."""
    store = TableStore(out)
    where = pl.concat_str("raw_path", pl.lit(":"), "raw_index")
    rows = store.scan("screened", DAY).select("trajectory_id", "reason", "spans", where=where).collect()
    names = _names(out / "raw")
    named = {row["trajectory_id"]: names[row["where"]] for row in rows.iter_rows(named=True)}
    reasons = {named[name]: reason for name, reason in rows.select("trajectory_id", "reason").iter_rows()}
    compared = {name for name, reason in reasons.items() if reason in (None, "duplicate", "near_duplicate")}
    snapshot = latest(store, SET)
    written = pl.scan_parquet(sorted((snapshot or out).glob("data/*.parquet"))).select("trajectory_id", "messages")
    words = {named[name]: _words(messages) for name, messages in written.collect().iter_rows()}
    after_exact = {name for name in compared if reasons[name] != "duplicate"}
    redacted = rows.filter(pl.col("spans").list.len() > 0)["trajectory_id"].to_list()
    return Kept(after_exact, set(words), words), compared, {named[name] for name in redacted}


def compare(truth: Planted, toolwise: Kept, datatrove: Kept, compared: set[str], redacted: set[str]) -> dict[str, int]:
    """Counts of groups of copies, and of those of which a tool did not keep exactly one.

    Only records that passed toolwise's gates are looked at: datatrove has no such gates, and keeps what they drop.
    Which copy of several is kept is each tool's own choice; the words of a record that both kept must be the same.
    """
    counts: Counter[str] = Counter()
    for stage, groups in (("exact", truth.contents), ("near", truth.tasks)):
        members: dict[Any, list[str]] = defaultdict(list)
        for name in compared:
            members[groups[name]].append(name)
        for copies in members.values():
            left = [
                sum(name in (kept.after_exact if stage == "exact" else kept.after_near) for name in copies)
                for kept in (toolwise, datatrove)
            ]
            kind = stage if len(copies) > 1 else f"{stage}_alone"
            counts[f"{kind}_groups"] += 1
            counts[f"{kind}_wrong_toolwise"] += left[0] != 1
            counts[f"{kind}_wrong_datatrove"] += left[1] != 1
            counts[f"{kind}_disagree"] += left[0] != left[1]
    both = (toolwise.after_near & datatrove.after_near) - redacted
    counts["kept_toolwise"] = len(toolwise.after_near)
    counts["kept_datatrove"] = len(datatrove.after_near & compared)
    counts["kept_by_both_unredacted"] = len(both)
    counts["words_differ"] = sum(toolwise.words[name] != datatrove.words[name] for name in both)
    return dict(counts)


def faults(counts: dict[str, int], tool: str = "datatrove") -> list[str]:
    """What is wrong with the counts, in words; empty where the outputs count as equal."""
    found = []
    for name in ("toolwise", tool):
        for kind in ("exact", "exact_alone"):
            if wrong := counts.get(f"{kind}_wrong_{name}", 0):
                found.append(f"{name}: {wrong} of {counts[f'{kind}_groups']} {kind} groups not left with one record")
        for kind in ("near", "near_alone"):
            wrong, groups = counts.get(f"{kind}_wrong_{name}", 0), counts.get(f"{kind}_groups", 0)
            if wrong > MAX_NEAR_RATE * groups:
                found.append(f"{name}: {wrong} of {groups} {kind} groups not left with one record")
    if counts["words_differ"]:
        found.append(f"{counts['words_differ']} records that both kept do not say the same")
    if not counts["kept_by_both_unredacted"]:
        found.append("no record was kept by both")
    return found


def _names(raw: Path) -> dict[str, str]:
    """Path and place of each raw record to its id."""
    root = raw.resolve()
    return {
        f"{path.relative_to(root).as_posix()}:{k}": record["id"]
        for path in sorted(root.rglob("*.jsonl"))
        for k, record in enumerate(_lines([path]))
    }


def _words(messages: list[dict[str, Any]]) -> int:
    """A hash of what the messages say."""
    return hash(tuple((item["role"], item.get("content") or "") for item in messages))


def _lines(paths: Iterable[Path]) -> Iterable[dict[str, Any]]:
    for path in paths:
        with path.open("rb") as lines:
            yield from map(orjson.loads, lines)
