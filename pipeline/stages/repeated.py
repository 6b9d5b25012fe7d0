"""The gate on loops: the same call with the same result, or the same words, again and again."""

import orjson
import polars as pl

from pipeline.config import StructureGate
from pipeline.reasons import Reason
from pipeline.stages.faults import ROW, first_per_row, mark_faults
from pipeline.stages.steps import explode_calls, explode_messages, has_text, pair_observations


def mark_repeated_call(trajectories: pl.LazyFrame, gate: StructureGate) -> pl.LazyFrame:
    """Mark trajectories that loop.

    A loop is one call (name, and arguments as JSON whatever their spacing and key order) that brings back one and the
    same observation `gate.max_repeats` times, in a row or not; or `gate.max_repeats` assistant messages in a row with
    the same text and no call. A call whose observation changes is progress (scrolling, polling), and a call without an
    observation is unknown: neither counts.

    Grain: one row per trajectory, kept, in order.
    Reads: messages List[MESSAGE]; reason, evidence.
    Writes: reason `repeated_call`; evidence: kind (call or text), tool, arguments cut to 200 characters,
        message_index of the first of them, num_repeats.
    """

    def find(rows: pl.DataFrame) -> pl.DataFrame:
        messages = explode_messages(rows, ROW)
        loops = pl.concat([_repeated_calls(messages, gate.max_repeats), _repeated_texts(messages, gate.max_repeats)])
        return first_per_row(loops.sort(ROW, "message_index")).with_columns(failed=pl.lit(value=True))

    return mark_faults(
        trajectories,
        find,
        reads=["messages"],
        evidence={
            "kind": pl.String,
            "tool": pl.String,
            "arguments": pl.String,
            "message_index": pl.UInt32,
            "num_repeats": pl.UInt32,
        },
        reason=Reason.REPEATED_CALL,
    )


def _repeated_calls(messages: pl.DataFrame, max_repeats: int) -> pl.DataFrame:
    """One row per call of a trajectory that brought the same observation `max_repeats` times."""
    calls = explode_calls(messages, ROW)
    busy = calls.filter(pl.len().over(ROW, "tool_name") >= max_repeats).select(ROW).unique()
    of_busy = calls.join(busy, on=ROW, how="semi", maintain_order="left")
    steps, _ = pair_observations(of_busy, messages.join(busy, on=ROW, how="semi", maintain_order="left"), ROW)
    same = [ROW, "tool_name", "observation"]
    suspects = steps.filter(pl.col("observation_index").is_not_null(), pl.len().over(same) >= max_repeats).with_columns(
        _canonical(pl.col("arguments")).alias("canonical")
    )
    return (
        suspects.group_by([*same, "canonical"], maintain_order=True)
        .agg(
            arguments=pl.col("arguments").first().str.slice(0, 200),
            message_index=pl.col("message_index").first(),
            num_repeats=pl.len(),
        )
        .filter(pl.col("num_repeats") >= max_repeats)
        .select(ROW, pl.lit("call").alias("kind"), "tool_name", "arguments", "message_index", "num_repeats")
        .rename({"tool_name": "tool"})
    )


def _repeated_texts(messages: pl.DataFrame, max_repeats: int) -> pl.DataFrame:
    """One row per run of `max_repeats` or more consecutive assistant messages of one text and no call.

    Messages with calls break the run: what they brought back decides, in `_repeated_calls`.
    """
    silent = pl.col("tool_calls").list.len().fill_null(0) == 0
    spoken = messages.filter(pl.col("role") == "assistant").select(
        ROW, "message_index", text=pl.when(silent & has_text(pl.col("content"))).then("content")
    )
    return (
        spoken.with_columns(run=pl.struct(ROW, "text").rle_id())
        .filter(pl.col("text").is_not_null())
        .group_by("run", ROW, maintain_order=True)
        .agg(message_index=pl.col("message_index").first(), num_repeats=pl.len())
        .filter(pl.col("num_repeats") >= max_repeats)
        .select(
            ROW,
            pl.lit("text").alias("kind"),
            pl.lit(None, pl.String).alias("tool"),
            pl.lit(None, pl.String).alias("arguments"),
            "message_index",
            "num_repeats",
        )
    )


def _canonical(arguments: pl.Expr) -> pl.Expr:
    """The arguments as JSON with sorted keys and no spacing; the bare text where they are not JSON.

    A Python call per distinct text of the few suspects, about 2 microseconds each.
    """
    return arguments.map_batches(_canonical_texts, return_dtype=pl.String, is_elementwise=True)


def _canonical_texts(arguments: pl.Series) -> pl.Series:
    distinct = arguments.unique().drop_nulls()
    canonical = {text: _canonical_text(text) for text in distinct.to_list()}
    return arguments.replace_strict(canonical, default=None, return_dtype=pl.String) if canonical else arguments


def _canonical_text(text: str) -> str:
    try:
        return orjson.dumps(orjson.loads(text), option=orjson.OPT_SORT_KEYS).decode()
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return text.strip()
