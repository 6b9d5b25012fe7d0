"""Rows of a Parquet file as values, batch by batch; a file or row that cannot be read becomes an error."""

from collections.abc import Iterator
from typing import Any, BinaryIO

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.landing import markers
from pipeline.landing.decoding import Decoded

_BATCH_BYTES = 32 << 20
_MAX_BATCH_ROWS = 1024
_WRONG_ROW = (ValueError, OverflowError, RecursionError, pa.ArrowException)
_WRONG_FILE = (ValueError, OSError, OverflowError, RecursionError, MemoryError, pa.ArrowException)


class UnreadableError(Exception):
    """The rest of the file cannot be read as Parquet."""


def batches(handle: BinaryIO) -> Iterator[pa.RecordBatch]:
    """The rows, about 32 MiB at a time. Raises UnreadableError at the first batch that cannot be had."""
    try:
        # No memory map and no pre-buffering: either would hold a whole row group.
        file = pq.ParquetFile(handle, memory_map=False, pre_buffer=False)
        names = file.schema_arrow.names
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise UnreadableError(f"two columns named {repeated[0]!r}")
        for group in range(file.metadata.num_row_groups):
            size = file.metadata.row_group(group)
            rows = min(_MAX_BATCH_ROWS, max(1, _BATCH_BYTES * size.num_rows // max(1, size.total_byte_size)))
            yield from file.iter_batches(batch_size=rows, row_groups=[group])
    except _WRONG_FILE as error:
        # pyarrow says what is wrong with the bytes as an OSError without a number; one with a number is the disk's.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UnreadableError(f"Parquet that cannot be read: {_first_line(error)}") from error


def decoded_rows(batch: pa.RecordBatch) -> Iterator[Decoded]:
    """Each row as a value; binary stays bytes."""
    try:
        rows: list[Any] = batch.to_pylist()
    except _WRONG_ROW:
        rows = [None] * batch.num_rows
        for k in range(batch.num_rows):
            try:
                rows[k] = batch.slice(k, 1).to_pylist()[0]
            except _WRONG_ROW as error:
                rows[k] = Decoded(error=f"a row that cannot be read: {_first_line(error)}")
    for row in rows:
        if isinstance(row, Decoded):
            yield row
            continue
        held = row.pop(markers.COLUMN, None)
        yield Decoded(_marker(held) or row)


def _marker(held: Any) -> Any:
    """The value an erasure left in a row; None if the row was left alone."""
    if not isinstance(held, str):
        return None
    try:
        value = orjson.loads(held)
    except orjson.JSONDecodeError:
        return None
    return value if markers.is_marker(value) else None


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
