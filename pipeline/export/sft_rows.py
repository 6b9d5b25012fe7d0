"""Curated trajectories in the shape trl.SFTTrainer takes."""

from typing import Any

import orjson
import polars as pl
import pyarrow as pa
from datasets import Features, Json, List, Value

SFT_FEATURES = Features(
    {
        "trajectory_id": Value("string"),
        "task_id": Value("string"),
        "source": Value("string"),
        "messages": List(
            {
                "role": Value("string"),
                "content": Value("string"),
                "reasoning_content": Value("string"),
                "tool_calls": List(
                    {
                        "id": Value("string"),
                        "type": Value("string"),
                        "function": {"name": Value("string"), "arguments": Json()},
                    }
                ),
                "tool_call_id": Value("string"),
                "name": Value("string"),
            }
        ),
        "tools": Value("string"),
        "weight": Value("float64"),
        "split": Value("string"),
    }
)
"""`arguments` is of the datasets type Json: each row keeps exactly its own keys, none becomes a null in the target.

`tools` stays a JSON string, which SFTTrainer decodes row by row, for the same reason.
"""


def sft_table(trajectories: pl.DataFrame, *, with_images: bool = False) -> pa.Table:
    """The rows (redacted, with `weight` and `split`) as an Arrow table that carries its `datasets` features.

    With images the table has one more column, `images`; without any it must not, since SFTTrainer takes a row that has
    the column for one of a vision model.

    Grain: one row per trajectory, kept, in order. Arguments that are no JSON object were dropped by the gate
    `bad_arguments` where a schema was declared; where none was, they are kept under the key `input`.
    """
    messages = trajectories["messages"].to_list()
    columns = {
        "trajectory_id": trajectories["trajectory_id"].to_list(),
        "task_id": trajectories["task_id"].to_list(),
        "source": trajectories["source"].to_list(),
        "messages": [[_message(item) for item in items] for items in messages],
        "tools": trajectories["tools"].to_list(),
        "weight": trajectories["weight"].to_list(),
        "split": trajectories["split"].to_list(),
    }
    features = SFT_FEATURES
    if with_images:
        features = Features({**SFT_FEATURES, "images": List(Value("string"))})
        columns["images"] = [[image for item in items for image in item["images"] or ()] for items in messages]
    schema = features.arrow_schema
    arrays = [_array(columns[field.name], field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _message(item: dict[str, Any]) -> dict[str, Any]:
    calls = [
        {
            "id": call["id"],
            "type": "function",
            "function": {"name": call["name"], "arguments": _arguments(call["arguments"])},
        }
        for call in item["tool_calls"] or ()
    ]
    return {
        "role": item["role"],
        "content": item["content"] or "",  # templates concatenate it; a null prints as None
        "reasoning_content": item["reasoning"],
        "tool_calls": calls or None,
        "tool_call_id": item["tool_call_id"],
        "name": item["name"],
    }


def _arguments(text: str | None) -> str:
    """The arguments as the JSON text of an object."""
    try:
        held = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        held = text
    return orjson.dumps(held if isinstance(held, dict) else {"input": held}).decode()


def _array(values: list[Any], dtype: pa.DataType) -> pa.Array:
    """The values as `dtype`, through its storage type where it holds JSON inside."""
    storage = _storage(dtype)
    return pa.array(values, type=storage) if storage == dtype else pa.array(values, type=storage).cast(dtype)


def _storage(dtype: pa.DataType) -> pa.DataType:
    """The type with every JSON extension type inside replaced by the string it is stored as."""
    if isinstance(dtype, pa.JsonType):
        return dtype.storage_type
    if pa.types.is_struct(dtype):
        return pa.struct([pa.field(field.name, _storage(field.type), field.nullable) for field in dtype])
    if pa.types.is_list(dtype):
        return pa.list_(_storage(dtype.value_type))
    if pa.types.is_large_list(dtype):
        return pa.large_list(_storage(dtype.value_type))
    return dtype
