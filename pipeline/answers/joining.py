"""Ground truths and outcomes kept apart from the traces: reading an answers file, and joining it on."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson
import polars as pl

from pipeline.answers.reading import ID_FIELDS, read_answers
from pipeline.tasks import normalised_prompt

__all__ = ["JoinCounts", "join_answers", "read_answers"]

_VALUES = ("ground_truth", "success", "reward")


@dataclass(frozen=True, slots=True)
class JoinCounts:
    """How an answers file met the trajectories."""

    matched: int
    """Trajectories that got an answer."""
    unmatched: int
    """Trajectories for which the file has none."""
    ambiguous: int
    """Of the unmatched: their source's id names several tasks here, so it cannot say which one is meant."""
    unused: int
    """Answers that belong to no trajectory."""


def join_answers(trajectories: pl.LazyFrame, answers: pl.DataFrame) -> tuple[pl.LazyFrame, JoinCounts]:
    """The trajectories with what the answers file says of them, and how many it says something of.

    The answers file wins: someone named it on purpose. A value it replaces is kept in metadata under `recorded`.
    A null in the file replaces nothing. Keys are tried in order: trajectory_id; task_id or the source's own id in
    metadata; the prompt, normalised. An id that stands for several tasks is no key: files number tasks from zero.

    Grain: one row per trajectory, kept, in order. Reads trajectory_id, task_id, prompt, metadata: once, to count.
    Writes: ground_truth, success, reward, metadata.
    Cost: Python for the metadata of rows whose value is replaced, 5 us each.
    """
    found, ambiguous = _resolve(trajectories, answers)
    total = trajectories.select(pl.len()).collect().item()
    used = found["answer"].n_unique()
    counts = JoinCounts(found.height, total - found.height, ambiguous, answers.height - used)
    told = found.join(
        answers.select("answer", *(pl.col(name).alias(f"__{name}") for name in _VALUES)), on="answer", how="left"
    ).drop("answer")
    joined = trajectories.join(told.lazy(), on="trajectory_id", how="left", maintain_order="left")
    replaced = pl.struct(
        "metadata", *(pl.when(pl.col(name) != pl.col(f"__{name}")).then(name).alias(name) for name in _VALUES)
    )
    metadata = replaced.map_batches(_keep_recorded, return_dtype=pl.String, is_elementwise=True)
    filled = joined.with_columns(
        metadata.alias("metadata"), *(pl.coalesce(f"__{name}", name).alias(name) for name in _VALUES)
    )
    return filled.drop(f"__{name}" for name in _VALUES), counts


def _resolve(trajectories: pl.LazyFrame, answers: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Which answer each trajectory gets (trajectory_id, answer), and how many ids were ambiguous."""
    id_names = answers["id_field"].drop_nulls().unique().to_list()
    fields = list(dict.fromkeys([*id_names, *ID_FIELDS])) if id_names else []
    keys = trajectories.select(
        "trajectory_id",
        "task_id",
        *(pl.col("metadata").str.json_path_match(f"$['{field}']").alias(f"m:{field}") for field in fields),
        prompt=normalised_prompt(pl.col("prompt")) if answers["prompt"].count() else pl.lit(None, pl.String),
    ).collect()
    found = _match(keys, answers, "trajectory_id", "trajectory_id")
    found = _extend(found, keys, answers, "task_id", "id")
    ambiguous: set[str] = set()
    for field in fields:
        column = f"m:{field}"
        several = keys.group_by(column).agg(pl.col("task_id").n_unique()).filter(pl.col("task_id") > 1)[column]
        doubtful = keys.filter(pl.col(column).is_in(several.implode()) & pl.col(column).is_in(answers["id"].implode()))
        ambiguous.update(doubtful["trajectory_id"])
        found = _extend(found, keys.filter(~pl.col(column).is_in(several.implode())), answers, column, "id")
    found = _extend(found, keys, answers, "prompt", "prompt")
    return found, len(ambiguous - set(found["trajectory_id"]))


def _extend(found: pl.DataFrame, keys: pl.DataFrame, answers: pl.DataFrame, left: str, right: str) -> pl.DataFrame:
    """`found`, and what this key finds for the trajectories not in it."""
    rest = keys.join(found, on="trajectory_id", how="anti")
    return pl.concat([found, _match(rest, answers, left, right)])


def _match(keys: pl.DataFrame, answers: pl.DataFrame, left: str, right: str) -> pl.DataFrame:
    """The trajectories whose `left` is the `right` of exactly one answer."""
    usable = answers.filter(pl.col(right).is_not_null() & (pl.col(right) != "")).select(key=right, answer="answer")
    usable = usable.unique("key", keep="none")
    return keys.select("trajectory_id", key=left).join(usable, on="key", how="inner").select("trajectory_id", "answer")


def _keep_recorded(rows: pl.Series) -> pl.Series:
    """The metadata of each row, with the values the answers file replaced under `recorded`."""
    frame = rows.struct.unnest()
    touched = frame.select(pl.any_horizontal(pl.col(name).is_not_null() for name in _VALUES)).to_series()
    metadata: Iterable[str | None] = [
        _with_recorded(row) if is_touched else row["metadata"]
        for row, is_touched in zip(frame.iter_rows(named=True), touched, strict=True)
    ]
    return pl.Series(rows.name, metadata, dtype=pl.String)


def _with_recorded(row: dict[str, Any]) -> str:
    """One row's metadata with its replaced values added; earlier `recorded` values stay: they came first."""
    metadata = orjson.loads(row["metadata"] or "{}")
    held = {name: row[name] for name in _VALUES if row[name] is not None}
    metadata["recorded"] = held | metadata.get("recorded", {})
    return orjson.dumps(metadata).decode()
