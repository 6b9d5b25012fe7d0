"""What of a trajectory is called again, and where: its steps in order, each with the environment that takes it."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from operator import itemgetter
from typing import Any

import orjson
import polars as pl

from pipeline.replay.claims import merged_steps
from pipeline.replay.config import ReplayConfig
from pipeline.replay.environment import Episode
from pipeline.replay.offered_names import helper_names


@dataclass(frozen=True, slots=True)
class Step:
    """One recorded call: what was asked, what is said to have come back, and by whom."""

    step_index: int | None
    """Its place among the trajectory's verdicts; None where it is run for the state it leaves alone."""
    message_index: int
    call_index: int | None
    observation_index: int | None
    call_id: str | None
    tool_name: str
    arguments: str
    recorded: str | None
    origin: str
    environment: str


STEP = tuple(column.name for column in fields(Step))
"""Columns of a frame of steps, beside trajectory_id."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One course of a trajectory: its genuine calls or what it claimed to run, as far as environments take them."""

    episode: Episode
    steps: list[Step]
    helpers: frozenset[str] = field(default_factory=frozenset)
    """Names the original environment offered inside of its Python, which ours does not have."""

    def environments(self) -> list[str]:
        """The environments its steps need, each once, in order."""
        return list(dict.fromkeys(step.environment for step in self.steps))


def steps_of(rows: pl.DataFrame, config: ReplayConfig) -> pl.DataFrame:
    """Every call of the rows, and every claim of self-written ones, in order; without environment where none takes it.

    Reads: trajectory_id, unique; source, messages, reason.
    Writes: trajectory_id and the columns of `STEP`.
    """
    is_claimed = (pl.col("reason") == "self_written_observation").fill_null(value=False)
    steps = merged_steps(rows, claims_of=rows.filter(is_claimed)["trajectory_id"].to_list())
    steps = steps.join(rows.select("trajectory_id", "source"), on="trajectory_id", how="left", maintain_order="left")
    tools = steps.select("source", "tool_name").unique(maintain_order=True)
    taken = [config.environment_of(source or "", name or "") for source, name in tools.iter_rows()]
    tools = tools.with_columns(pl.Series("environment", taken, pl.String))
    mapped = steps.join(tools, on=["source", "tool_name"], how="left", nulls_equal=True, maintain_order="left")
    told = pl.col("tool_name", "arguments").fill_null("")
    return mapped.with_columns(told).select("trajectory_id", *STEP)


def is_made() -> pl.Expr:
    """Whether a step is called again: not without an environment, nor a call that nothing came back for.

    What was never answered was not run, as far as a trace tells; MINT, for one, runs nothing beside a `<solution>`.
    """
    was_run = (pl.col("origin") == "assistant") | pl.col("observation_index").is_not_null()
    return pl.col("environment").is_not_null() & was_run


def plans_of(rows: pl.DataFrame, steps: pl.DataFrame) -> Iterator[Plan]:
    """The plans of the rows that hold a step with an environment, in order; two of a row that also claims.

    Reads: rows: trajectory_id, unique; source, task_id, messages, tools, metadata; steps as `steps_of` gives them.
    """
    said = pl.when(pl.col("origin") == "environment").then(pl.col("recorded").fill_null("")).otherwise("recorded")
    mapped = steps.filter(is_made()).with_columns(recorded=said)
    wanted = rows.join(mapped.select("trajectory_id").unique(), on="trajectory_id", how="semi")
    facts = {row["trajectory_id"]: row for row in wanted.drop("messages").iter_rows(named=True)}
    first_texts = _first_texts(wanted)
    courses = mapped.with_columns(_place=pl.col("trajectory_id").rle_id()).sort("_place", "origin", maintain_order=True)
    for (trajectory_id, _), held in itertools.groupby(
        courses.iter_rows(named=True), itemgetter("trajectory_id", "origin")
    ):
        row = facts[trajectory_id]
        found = [Step(**{name: each[name] for name in STEP}) for each in held]
        helpers = helper_names(first_texts.get(trajectory_id, ""), row["tools"], [step.arguments for step in found])
        yield Plan(_episode(row), found, helpers)


def _episode(row: dict[str, Any]) -> Episode:
    metadata = orjson.loads(row["metadata"]) if row["metadata"] else {}
    if not isinstance(metadata, dict):
        metadata = {"metadata": metadata}
    return Episode(row["trajectory_id"], row["source"], row["task_id"], metadata, row["tools"])


def _first_texts(rows: pl.DataFrame) -> dict[str, str]:
    """Trajectory to its system text and first user message: where an environment describes itself."""
    message = pl.element().struct
    told = pl.when(message.field("role").is_in(["system", "user"])).then(message.field("content").fill_null(""))
    texts = rows.select("trajectory_id", text=pl.col("messages").list.head(2).list.eval(told).list.join("\n"))
    return dict(texts.with_columns(pl.col("text").fill_null("")).iter_rows())
