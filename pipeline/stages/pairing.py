"""The gates on how calls and observations fit together."""

import polars as pl

from pipeline.reasons import Reason
from pipeline.stages.faults import ROW, first_per_row, mark_faults
from pipeline.stages.steps import explode_messages, explode_steps, is_terminal


def mark_unpaired_call(trajectories: pl.LazyFrame) -> pl.LazyFrame:
    """Mark trajectories with a tool call nothing came back for.

    A call to a terminal tool (`steps.TERMINAL_TOOL`) in the last assistant message needs no observation. A call with
    a null id can be answered by nothing, so it is unpaired; null messages hold no call and pass.

    Grain: one row per trajectory, kept, in order.
    Reads: messages List[MESSAGE]; reason, evidence.
    Writes: reason `unpaired_call`; evidence of the first such call: message_index, call_index, call_id, tool,
        num_faults.
    """
    return mark_faults(
        trajectories,
        _find_unpaired,
        reads=["messages"],
        evidence={
            "message_index": pl.UInt32,
            "call_index": pl.UInt32,
            "call_id": pl.String,
            "tool": pl.String,
            "num_faults": pl.UInt32,
        },
        reason=Reason.UNPAIRED_CALL,
    )


def mark_orphan_observation(trajectories: pl.LazyFrame) -> pl.LazyFrame:
    """Mark trajectories with a tool message that answers no call made before it.

    A tool message with a null tool_call_id answers nothing, and so does the second answer to one call; null messages
    hold no observation and pass.

    Grain: one row per trajectory, kept, in order.
    Reads: messages List[MESSAGE]; reason, evidence.
    Writes: reason `orphan_observation`; evidence of the first such observation: message_index, call_id, tool,
        num_faults.
    """
    return mark_faults(
        trajectories,
        _find_orphans,
        reads=["messages"],
        evidence={
            "message_index": pl.UInt32,
            "call_id": pl.String,
            "tool": pl.String,
            "num_faults": pl.UInt32,
        },
        reason=Reason.ORPHAN_OBSERVATION,
    )


def _find_unpaired(rows: pl.DataFrame) -> pl.DataFrame:
    """The first unpaired call of each row that has one."""
    steps, _ = explode_steps(rows, ROW)
    last_turns = (
        explode_messages(rows, ROW)
        .filter(pl.col("role") == "assistant")
        .group_by(ROW)
        .agg(last_turn=pl.col("message_index").max())
    )
    unpaired = (
        steps.filter(pl.col("observation_index").is_null())
        .join(last_turns, on=ROW, how="left", maintain_order="left")
        .filter(~(is_terminal() & (pl.col("message_index") == pl.col("last_turn"))))
    )
    return first_per_row(unpaired).select(
        ROW, "message_index", "call_index", "call_id", "num_faults", failed=pl.lit(value=True), tool="tool_name"
    )


def _find_orphans(rows: pl.DataFrame) -> pl.DataFrame:
    """The first orphan observation of each row that has one."""
    _, orphans = explode_steps(rows, ROW)
    return first_per_row(orphans).select(
        ROW, "call_id", "num_faults", failed=pl.lit(value=True), message_index="observation_index", tool="name"
    )
