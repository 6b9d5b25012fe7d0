"""MINT's attempts up to their first answer, screened as if nobody had graded them, with the recorded outcome as gold.

MINT's environment grades inside of the trace: `Your answer is wrong.`, and an attempt that goes on was not yet right,
one that ends with chances left was. Whoever sees that sees the label. So every attempt is cut behind its first
answer, and what that answer was worth is gold: wrong where the environment said so, else the recorded success. An
attempt without an answer stays whole, and is wrong. Attempts that MINT's own errors ended are left out.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from benchmarks.replay_agreement import screened_rows

_ASSISTANT = "assistant"
_REJECTED = "Your answer is wrong"


def ungraded_rows(root: Path) -> tuple[pl.DataFrame, pl.Series]:
    """The rows of MINT under `root` that screening keeps, as REPLAYED without repairs, and whether each is right.

    No row holds ground truth, outcome or reward, so screening's gate on answers has nothing to say.
    """
    with tempfile.TemporaryDirectory(prefix="toolwise-mint-") as folder:
        gold: dict[tuple[str, int], bool] = {}
        for path in sorted(root.rglob("*.jsonl")):
            name = "-".join(path.relative_to(root).parts)
            records = list(_ungraded(path))
            Path(folder, name).write_bytes(b"".join(orjson.dumps(record) + b"\n" for record, _ in records))
            gold |= {(name, index): is_right for index, (_, is_right) in enumerate(records)}
        rows = screened_rows(Path(folder)).filter(pl.col("reason").is_null()).sort("trajectory_id")
    found = [gold[Path(path).name, index] for path, index in rows.select("raw_path", "raw_index").iter_rows()]
    return rows.with_columns(repaired=pl.lit(None, pl.List(pl.UInt32))), pl.Series("correct", found, pl.Boolean)


def _ungraded(path: Path) -> Iterator[tuple[dict[str, Any], bool]]:
    for line in path.read_bytes().splitlines():
        record = orjson.loads(line)
        state, task = record["state"], record["task"]
        if state["terminate_reason"] == "error":
            continue
        history, was_rejected = first_answer(state["history"])
        told = {key: task[key] for key in ("task_name", "task_id", "prompt")}
        yield {"state": {"history": history}, "task": told}, bool(state["success"]) and not was_rejected


def first_answer(history: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], bool]:
    """The messages up to the first answer that was graded, and whether it was rejected in the messages behind it."""
    for k, message in enumerate(history[:-1]):
        if message["role"] == _ASSISTANT and _REJECTED in history[k + 1]["content"]:
            return history[: k + 1], True
    return history, False
