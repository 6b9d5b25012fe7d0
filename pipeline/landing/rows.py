"""Raw records as rows of the trajectories table, in batches of bounded size."""

from collections.abc import Iterable, Iterator
from typing import Any

import orjson
import polars as pl
import pyarrow as pa

from pipeline.answers.extract import extract_answer
from pipeline.errors import FormatError
from pipeline.formats.base import Parsed
from pipeline.formats.chat_wrappers import with_chat_decoded
from pipeline.formats.registry import detect
from pipeline.landing.identity import UniqueIds
from pipeline.landing.reading import RawRecord
from pipeline.reasons import Reason
from pipeline.schema import MESSAGE_ARROW
from pipeline.tokens import TokenCounter

_ARROW = pa.schema(
    [
        ("trajectory_id", pa.large_string()),
        ("source", pa.large_string()),
        ("format", pa.large_string()),
        ("raw_path", pa.large_string()),
        ("raw_index", pa.uint32()),
        ("prompt", pa.large_string()),
        ("messages", pa.large_list(MESSAGE_ARROW)),
        ("tools", pa.large_string()),
        ("final_answer", pa.large_string()),
        ("ground_truth", pa.large_string()),
        ("reward", pa.float64()),
        ("success", pa.bool_()),
        ("num_turns", pa.uint32()),
        ("num_tool_calls", pa.uint32()),
        ("metadata", pa.large_string()),
        ("reason", pa.large_string()),
        ("evidence", pa.large_string()),
    ]
)

Row = dict[str, Any]

_TOLD_CHARS = 500
"""An error quotes what it found, and that may be a megabyte."""
_UNEXPECTED = (AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError)
"""What a parser raises on a record nobody foresaw: one hostile record must not cost the rest of the night."""


def batches(rows: Iterable[Row], counter: TokenCounter, *, max_rows: int, max_bytes: int) -> Iterator[pl.DataFrame]:
    """The rows as frames of at most `max_rows` rows and about `max_bytes` of text; a larger row stands alone."""
    held: list[Row] = []
    size = 0
    for row in rows:
        weight = row.pop("num_bytes")
        if held and (len(held) >= max_rows or size + weight > max_bytes):
            yield counter.add_num_tokens(_frame(held))
            held, size = [], 0
        held.append(row)
        size += weight
    if held:
        yield counter.add_num_tokens(_frame(held))


def rows_of(
    records: Iterable[RawRecord], *, source: str, raw_path: str, ids: UniqueIds, purged: set[str]
) -> Iterator[Row]:
    """One row per record of a file, in order: parsed, or with the reason it could not be."""
    for record in records:
        row = _row(record, purged)
        row["trajectory_id"] = ids.assign(record.raw_id)
        row["source"] = source
        row["raw_path"] = raw_path
        row["raw_index"] = record.index
        yield row


def _row(record: RawRecord, purged: set[str]) -> Row:
    """The columns that come from a record's content."""
    if record.tombstone is not None or record.raw_id in purged:
        return _without_messages(Reason.PURGED, {}, "unknown")
    if record.error is not None:
        reason = Reason.UNREADABLE if record.io_error else Reason.UNPARSABLE
        return _without_messages(reason, {"error": record.error, "snippet": record.snippet}, "unknown")
    name = "unknown"
    try:
        value = with_chat_decoded(record.value)
        known = detect(value)
        if known is None:
            return _without_messages(Reason.NOT_A_TRACE, {"holds": _describe(record.value)}, name)
        name = known.name
        return _parsed_row(known.parse(value), name, record.notes)
    except FormatError as error:
        return _without_messages(Reason.UNPARSABLE, {"error": str(error)[:_TOLD_CHARS]}, name)
    except _UNEXPECTED as error:
        told = f"a shape the parser does not expect: {type(error).__name__}: {error}"
        return _without_messages(Reason.UNPARSABLE, {"error": told[:_TOLD_CHARS]}, name)


def _without_messages(reason: Reason, evidence: dict[str, Any], format_name: str) -> Row:
    return {
        "format": format_name,
        "num_turns": 0,
        "num_tool_calls": 0,
        "metadata": "{}",
        "reason": reason.value,
        "evidence": _json(evidence),
        "num_bytes": 1000,
    }


def _parsed_row(parsed: Parsed, format_name: str, notes: list[str]) -> Row:
    messages = parsed.messages
    metadata = {**parsed.metadata, "parse_notes": notes} if notes else parsed.metadata
    num_turns = num_calls = num_bytes = 0
    first_user = last_said = None
    for item in messages:
        num_bytes += 64 + len(item["content"] or "") + len(item["reasoning"] or "")
        for image in item["images"] or ():
            num_bytes += len(image)
        if item["role"] == "assistant":
            num_turns += 1
            last_said = item["content"] or last_said
            for call in item["tool_calls"] or ():
                num_calls += 1
                num_bytes += len(call["arguments"] or "")
        elif first_user is None and item["role"] == "user":
            first_user = item["content"]
    answer = parsed.final_answer
    if answer is None and parsed.is_trace and last_said is not None:
        answer = extract_answer(last_said)
    return {
        "format": format_name,
        "prompt": parsed.prompt if parsed.prompt is not None else first_user,
        "messages": messages,
        "tools": None if parsed.tools is None else _json(parsed.tools),
        "final_answer": answer,
        "ground_truth": parsed.ground_truth,
        "reward": parsed.reward,
        "success": parsed.success,
        "num_turns": num_turns,
        "num_tool_calls": num_calls,
        "metadata": _json(metadata) if metadata else "{}",
        "reason": None if parsed.is_trace else Reason.NOT_A_TRACE.value,
        "evidence": None if parsed.is_trace else '{"holds":"a question without an attempt at it"}',
        "num_bytes": num_bytes,
    }


def _frame(rows: list[Row]) -> pl.DataFrame:
    return pl.DataFrame(pa.Table.from_pylist(rows, schema=_ARROW))


def _describe(value: Any) -> str:
    """What a value that no format knows looks like, for a person reading the ledger."""
    if isinstance(value, dict):
        keys = ", ".join(sorted(str(key) for key in value)[:8])
        return f"a JSON object with keys {keys}"[:300]
    if isinstance(value, list):
        return f"a JSON array of {len(value)}"
    if isinstance(value, str):
        return f"a text of {len(value)} characters"
    return f"a JSON {type(value).__name__}"


def _json(value: Any) -> str:
    return orjson.dumps(value, default=_as_text, option=orjson.OPT_NON_STR_KEYS).decode()


def _as_text(value: Any) -> str:
    """Values JSON has no form for (bytes from Parquet, decimals): their text, shortened."""
    return f"<{len(value)} bytes>" if isinstance(value, bytes) else str(value)
