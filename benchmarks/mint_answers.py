"""MINT's attempts screened as if nobody had graded them, with the recorded outcome as gold.

MINT's environment grades inside of the trace: `Your answer is wrong.`, and an attempt that goes on was not yet right,
one that ends with chances left was. Whoever reads the whole trace reads much of the label. So there are two readings:

- `first answer`: every attempt is cut behind its first answer, and what that answer was worth is gold: wrong where the
  environment said so, else the recorded success. An attempt without an answer stays whole, and is wrong.
- `whole`: as recorded, the environment's word included, which a judge of logs may use; gold is the recorded success.

Either way attempts that MINT's own errors ended are left out.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from benchmarks.replay_agreement import screened_rows
from pipeline.answers.batch import check_answers
from pipeline.config import AnswerGate

_ASSISTANT = "assistant"
_REJECTED = "Your answer is wrong"


def ungraded_rows(root: Path, *, whole: bool) -> tuple[pl.DataFrame, pl.Series, pl.DataFrame]:
    """The rows of MINT under `root` that screening keeps, whether each is right, and who else came to its answer.

    The rows are as REPLAYED without repairs and hold no ground truth, outcome or reward, so screening's gate on answers
    has nothing to say. The third has a row each, in the same order: `others`, further attempts at the task with an
    answer, screened out or not; `agreeing`, those whose answer the answer checker takes for the same; `answered`.
    """
    with tempfile.TemporaryDirectory(prefix="toolwise-mint-") as folder:
        gold: dict[tuple[str, int], bool] = {}
        for path in sorted(root.rglob("*.jsonl")):
            name = "-".join(path.relative_to(root).parts)
            records = list(_ungraded(path, whole=whole))
            Path(folder, name).write_bytes(b"".join(orjson.dumps(record) + b"\n" for record, _ in records))
            gold |= {(name, index): is_right for index, (_, is_right) in enumerate(records)}
        attempts = screened_rows(Path(folder)).sort("trajectory_id")
    rows = attempts.filter(pl.col("reason").is_null())
    found = [gold[Path(path).name, index] for path, index in rows.select("raw_path", "raw_index").iter_rows()]
    peers = rows.select("trajectory_id", answered=pl.col("final_answer").is_not_null()).join(
        _agreement(rows, attempts), on="trajectory_id", how="left", maintain_order="left"
    )
    repaired = rows.with_columns(repaired=pl.lit(None, pl.List(pl.UInt32)))
    return (
        repaired,
        pl.Series("correct", found, pl.Boolean),
        peers.with_columns(pl.col("others", "agreeing").fill_null(0)),
    )


def _agreement(rows: pl.DataFrame, attempts: pl.DataFrame) -> pl.DataFrame:
    """Per row with an answer: trajectory_id, others, agreeing."""
    answered = attempts.filter(pl.col("final_answer").is_not_null())
    others = answered.select("task_id", other="trajectory_id", theirs="final_answer")
    pairs = rows.select("trajectory_id", "task_id", "final_answer").join(others, on="task_id", maintain_order="left")
    pairs = pairs.filter(pl.col("trajectory_id") != pl.col("other"), pl.col("final_answer").is_not_null())
    same = check_answers(pairs["final_answer"], pairs["theirs"], AnswerGate()).struct.field("matches")
    told = pairs.with_columns(same=same.fill_null(value=False))
    return told.group_by("trajectory_id").agg(others=pl.len(), agreeing=pl.col("same").sum())


def _ungraded(path: Path, *, whole: bool) -> Iterator[tuple[dict[str, Any], bool]]:
    for line in path.read_bytes().splitlines():
        record = orjson.loads(line)
        state, task = record["state"], record["task"]
        if state["terminate_reason"] == "error":
            continue
        history, was_rejected = (state["history"], False) if whole else first_answer(state["history"])
        told = {key: task[key] for key in ("task_name", "task_id", "prompt")}
        yield {"state": {"history": history}, "task": told}, bool(state["success"]) and not was_rejected


def first_answer(history: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], bool]:
    """The messages up to the first answer that was graded, and whether it was rejected in the messages behind it."""
    for k, message in enumerate(history[:-1]):
        if message["role"] == _ASSISTANT and _REJECTED in history[k + 1]["content"]:
            return history[: k + 1], True
    return history, False
