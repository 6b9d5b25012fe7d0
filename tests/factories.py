"""Small builders of rows, so that a test states only what matters to it."""

from typing import Any

import polars as pl

from pipeline.formats.base import message, tool_call
from pipeline.frames import EVIDENCE_DTYPE
from pipeline.schema import TRAJECTORIES, Message


def user(content: str) -> Message:
    """A user message."""
    return message("user", content)


def assistant(content: str | None = None, *calls: tuple[str, Any]) -> Message:
    """An assistant message; each call is (name, arguments), its id `c<k>`."""
    return message(
        "assistant",
        content,
        tool_calls=[tool_call(name, arguments, f"c{k}") for k, (name, arguments) in enumerate(calls)],
    )


def tool(content: str | None, call_id: str | None = "c0", name: str | None = None) -> Message:
    """An observation for the call `call_id`."""
    return message("tool", content, tool_call_id=call_id, name=name)


def make_trajectory(messages: list[Message] | None = None, **columns: Any) -> dict[str, Any]:
    """One row of the trajectories table; unnamed columns hold a clean two-turn trajectory with one call."""
    if messages is None:
        messages = [
            user("How far is the moon?"),
            assistant("I will look.", ("search", {"query": "distance of the moon"})),
            tool("The moon is 384400 km away."),
            assistant("It is 384400 km away."),
        ]
    row: dict[str, Any] = {
        "trajectory_id": "t0",
        "source": "unit",
        "format": "openai_chat",
        "raw_path": "unit/2025-01-01/a.jsonl",
        "raw_index": 0,
        "task_id": "task0",
        "prompt": next((m["content"] for m in messages if m["role"] == "user"), None),
        "messages": messages,
        "tools": None,
        "final_answer": None,
        "ground_truth": None,
        "reward": None,
        "success": None,
        "num_turns": sum(m["role"] == "assistant" for m in messages),
        "num_tool_calls": sum(len(m["tool_calls"] or ()) for m in messages),
        "num_tokens": 40,
        "metadata": "{}",
        "reason": None,
    }
    return row | columns


def make_frame(*rows: dict[str, Any]) -> pl.LazyFrame:
    """A frame as gates take it: the trajectories columns and `evidence`; ids t0, t1, … where a row names none."""
    named = [row | {"trajectory_id": f"t{k}"} if row["trajectory_id"] == "t0" else row for k, row in enumerate(rows)]
    return pl.LazyFrame(named, schema=TRAJECTORIES).with_columns(evidence=pl.lit(None, EVIDENCE_DTYPE))


def reasons_of(lf: pl.LazyFrame) -> list[str | None]:
    """The reason column as a list."""
    return lf.select("reason").collect()["reason"].to_list()
