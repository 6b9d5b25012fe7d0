"""The gates on calls and the tools that were declared for them."""

import polars as pl

from pipeline.config import StructureGate, Unknown
from pipeline.reasons import Reason
from pipeline.stages.faults import ROW, first_per_row, mark_faults
from pipeline.stages.steps import explode_calls, explode_messages
from pipeline.stages.tool_schemas import BadSchema, Fault, check_arguments, declared_tools

_CALL_EVIDENCE = {"message_index": pl.UInt32, "call_index": pl.UInt32, "tool": pl.String}


def mark_undeclared_tool(trajectories: pl.LazyFrame, gate: StructureGate) -> pl.LazyFrame:
    """Mark trajectories that call a tool which is not among the declared ones.

    Where no tools are declared (null, an empty list, or a text that is no list of functions) a call is unknown:
    `gate.undeclared_tool_unknown` lets it pass or sends it to review as `unknown_schema`. Without a call there is
    nothing to know. A call without a name is undeclared.

    Grain: one row per trajectory, kept, in order.
    Reads: messages List[MESSAGE]; tools String; reason, evidence.
    Writes: reason `undeclared_tool`; evidence of the first such call: message_index, call_index, tool, declared
        (the first twenty names), num_faults.
    """
    return mark_faults(
        trajectories,
        _find_undeclared,
        reads=["messages", "tools"],
        evidence={**_CALL_EVIDENCE, "declared": pl.List(pl.String), "num_faults": pl.UInt32},
        reason=Reason.UNDECLARED_TOOL,
        unknown=_reason_for(gate.undeclared_tool_unknown),
    )


def mark_bad_arguments(trajectories: pl.LazyFrame, gate: StructureGate) -> pl.LazyFrame:
    """Mark trajectories with a call whose arguments are no JSON object, or not valid under the tool's JSON schema.

    A tool that is not declared, or declared without a schema, asks only for a JSON object. Null and blank arguments
    stand for `{}`. A declared schema that is itself invalid decides nothing: `gate.bad_schema` lets the trajectory
    pass or sends it to review as `unknown_schema`.

    Grain: one row per trajectory, kept, in order.
    Reads: messages List[MESSAGE]; tools String; reason, evidence.
    Writes: reason `bad_arguments`; evidence of the first faulty call: message_index, call_index, tool, path (JSON
        pointer), wanted, found, num_faults.
    """
    return mark_faults(
        trajectories,
        _find_bad_arguments,
        reads=["messages", "tools"],
        evidence={
            **_CALL_EVIDENCE,
            "path": pl.String,
            "wanted": pl.String,
            "found": pl.String,
            "num_faults": pl.UInt32,
        },
        reason=Reason.BAD_ARGUMENTS,
        unknown=_reason_for(gate.bad_schema),
    )


def _reason_for(unknown: Unknown) -> Reason | None:
    return Reason.UNKNOWN_SCHEMA if unknown is Unknown.REVIEW else None


def _find_undeclared(rows: pl.DataFrame) -> pl.DataFrame:
    """The first undeclared call of each row, or its first call where nothing is declared (failed is null)."""
    calls, declared = _calls_and_declared(rows)
    names = declared.group_by("tool_set", maintain_order=True).agg(
        declared=pl.col("tool_name").head(20), is_readable=pl.lit(value=True)
    )
    known = declared.select("tool_set", "tool_name", is_declared=pl.lit(value=True))
    faults = (
        calls.join(names, on="tool_set", how="left", maintain_order="left")
        .join(known, on=["tool_set", "tool_name"], how="left", maintain_order="left")
        .filter(pl.col("is_declared").is_null())
        .with_columns(failed="is_readable")
    )
    return first_per_row(faults).rename({"tool_name": "tool"})


def _find_bad_arguments(rows: pl.DataFrame) -> pl.DataFrame:
    """The first faulty call of each row; where there is none, the first call with a bad schema (failed is null)."""
    calls, declared = _calls_and_declared(rows)
    with_schema = calls.join(declared, on=["tool_set", "tool_name"], how="left", maintain_order="left")
    pairs = with_schema.select("schema", "arguments").unique(maintain_order=True)
    verdicts = pairs.with_columns(_check(pairs).alias("verdict"))
    is_fault = pl.col("failed").fill_null(value=False)
    faults = (
        with_schema.join(verdicts, on=["schema", "arguments"], how="left", nulls_equal=True, maintain_order="left")
        .unnest("verdict")
        .filter(pl.col("wanted").is_not_null())
        .filter(is_fault | ~is_fault.any().over(ROW))
    )
    return first_per_row(faults).rename({"tool_name": "tool"})


def _check(pairs: pl.DataFrame) -> pl.Series:
    """The verdict on each distinct (schema, arguments): failed, path, wanted, found; all null where nothing is wrong.

    Python, about 5 microseconds a pair: the time is the validator's.
    """
    dtype = pl.Struct({"failed": pl.Boolean, "path": pl.String, "wanted": pl.String, "found": pl.String})
    checked = (check_arguments(schema, arguments) for schema, arguments in pairs.iter_rows())
    return pl.Series("verdict", [_verdict(fault) for fault in checked], dtype)


def _verdict(fault: Fault | BadSchema | None) -> dict[str, bool | str | None]:
    if fault is None:
        return {"failed": None, "path": None, "wanted": None, "found": None}
    if isinstance(fault, BadSchema):
        return {"failed": None, "path": None, "wanted": "a valid JSON schema", "found": fault.why}
    return {"failed": True, "path": fault.path, "wanted": fault.wanted, "found": fault.found}


def _calls_and_declared(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The calls of the rows, each with its row's tool_set, and the tools of each set: tool_set, tool_name, schema.

    A tool set is a distinct `tools` text; one that declares nothing readable has no tools, and null has no set.
    """
    sets = rows.select("tools").unique(maintain_order=True).drop_nulls().with_row_index("tool_set")
    of_row = rows.select(ROW, "tools").join(sets, on="tools", how="left", maintain_order="left").drop("tools")
    calls = explode_calls(explode_messages(rows, ROW), ROW).join(of_row, on=ROW, how="left", maintain_order="left")
    listed = [
        (tool_set, name, schema)
        for tool_set, text in sets.iter_rows()
        for name, schema in (declared_tools(text) or {}).items()
    ]
    names = {"tool_set": pl.UInt32, "tool_name": pl.String, "schema": pl.String}
    return calls, pl.DataFrame(listed, schema=names, orient="row")
