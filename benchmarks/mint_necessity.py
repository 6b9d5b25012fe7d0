"""Necessity of tools on MINT's recorded outcomes, by our own statistics, beside the labels that came with the data.

Run: `python -m benchmarks.mint_necessity`. Each model did each task twice: in one turn (an attempt without tools, where
it called none) and in up to five turns with Python. The one-turn outcomes become attempts, the five-turn traces rows,
and both go through the gate of the `attempted` stage with k = 1. Prints one line per label and every row that differs.
"""

import sys
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from pipeline.reasons import REASON_DTYPE, Reason
from pipeline.rollouts.config import AttemptsConfig
from pipeline.schema import ATTEMPTS
from pipeline.stages.attempted import mark_attempted

DATA = Path(__file__).parents[2] / "shared" / "data" / "mint"
KEY = ("model", "task", "task_id")
COLUMNS = (*KEY, "success_1turn_no_tool", "success_5turn", "tool_calls_5turn", "label")


def main() -> None:
    """Print the agreement."""
    told = read_labels(DATA)
    found = labels_of(read_outcomes(DATA))
    result = agreement(found, told)
    for label, num in found["label"].value_counts().sort("label").iter_rows():
        print(f"{label}: {num}")
    print(f"{result['same']:,} of {result['rows']:,} rows as labelled")
    for other in result["other"]:
        print(other)
    sys.exit(bool(result["other"]))


def read_labels(data: Path) -> pl.DataFrame:
    """The labels, in order of KEY."""
    return pl.read_ndjson(data / "DERIVED_necessity_by_outcome.jsonl").select(COLUMNS).sort(KEY)


def read_outcomes(data: Path) -> pl.DataFrame:
    """One row per recorded trace: KEY, turns (1 or 5), success, num_tool_calls."""
    rows = []
    for path in sorted((data / "dev").glob("*/max[15]/*.jsonl")):
        for line in path.read_bytes().splitlines():
            record = orjson.loads(line)
            state = record["state"]
            rows.append(
                {
                    "model": path.parts[-3],
                    "task": path.stem,
                    "task_id": int(record["task"]["task_id"]),
                    "turns": int(path.parts[-2].removeprefix("max")),
                    "success": state["success"],
                    "num_tool_calls": state["agent_action_count"]["use_tool"],
                }
            )
    return pl.DataFrame(rows)


def labels_of(outcomes: pl.DataFrame) -> pl.DataFrame:
    """The columns of the labels as our gate has them, in order of KEY: a row per five-turn trace.

    A one-turn trace that called a tool is no attempt. Needed: the attempt was wrong, and tools led to a right answer.
    """
    named = outcomes.with_columns(id=pl.format("{} {} {}", *KEY))
    alone = named.filter(pl.col("turns") == 1, pl.col("num_tool_calls") == 0)
    attempts = alone.select(
        pl.col("id").alias("task_id"),
        attempt_index=pl.lit(0),
        policy="model",
        answer=pl.lit(None),
        is_correct="success",
        checked_by=pl.lit("rule"),
        rule=pl.lit("recorded_outcome"),
        is_cut=pl.lit(value=False),
        num_tokens=pl.lit(None),
        failure=pl.lit(None),
    ).select(pl.col(name).cast(dtype) for name, dtype in ATTEMPTS.items())
    rows = named.filter(pl.col("turns") == 5).select(
        *KEY[:2],
        "success",
        "num_tool_calls",
        number="task_id",
        task_id="id",
        reason=pl.lit(None, REASON_DTYPE),
        evidence=pl.lit(None, pl.String),
    )
    config = AttemptsConfig(num_attempts=1)
    marked = mark_attempted(rows.lazy(), attempts.lazy(), config).collect()
    label = (
        pl.when(pl.col("num_tool_calls") == 0)
        .then(pl.lit("no_tool_used"))
        .when(pl.col("reason") == Reason.TOOL_UNNECESSARY.value)
        .then(pl.lit("tool_used_but_solved_without"))
        .when((pl.col("necessity") == 1) & pl.col("success"))
        .then(pl.lit("tool_used_and_needed"))
        .otherwise(pl.lit("undetermined"))
    )
    return marked.select(
        *KEY[:2],
        pl.col("number").alias("task_id"),
        success_1turn_no_tool=pl.col("necessity") == 0,
        success_5turn="success",
        tool_calls_5turn="num_tool_calls",
        label=label,
    ).sort(KEY)


def agreement(found: pl.DataFrame, told: pl.DataFrame) -> dict[str, Any]:
    """Rows told, rows that are the same in every column, and the others."""
    both = told.join(found, on=KEY, how="full", suffix="_found", coalesce=True).sort(KEY)
    values = COLUMNS[len(KEY) :]
    same = both.select(
        pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"{name}_found")) for name in values)
    ).to_series()
    other = [
        {
            "key": [row[name] for name in KEY],
            "told": {name: row[name] for name in values},
            "found": {name: row[f"{name}_found"] for name in values},
        }
        for row in both.filter(~same).iter_rows(named=True)
    ]
    return {"rows": told.height, "same": int(same.sum()), "other": other}


if __name__ == "__main__":
    main()
