"""Erasing records from raw files: what they said is gone, the other records keep their ids and places."""

import contextlib
import gzip
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from pipeline.config import ParseConfig
from pipeline.errors import FormatError, LandingError
from pipeline.formats.base import Format
from pipeline.formats.registry import split_text, unpack
from pipeline.landing import markers, parquet
from pipeline.landing.contents import Content, Value, file_values, open_layout
from pipeline.landing.identity import json_ready
from pipeline.landing.layout import Layout
from pipeline.landing.reading import RawRecord, read_records
from pipeline.landing.sources import DamagedError, open_source

_MAX_RECORD_BYTES = ParseConfig().max_record_bytes
_Splice = tuple[int, int | None, bytes]
"""Bytes [start, end) of the content, None for its end, and what comes in their place."""


@dataclass(slots=True)
class _Plan:
    """What becomes of the values of one file."""

    formats: tuple[Format, ...] | None
    whole: dict[int, dict[str, Any]] = field(default_factory=dict)
    """By position: the marker in place of the value."""
    inside: dict[int, dict[int, str]] = field(default_factory=dict)
    """By position: which of the value's records go, and their ids."""
    last_error_id: str = ""
    """Id of the last record that could not be read: of the unreadable end, if the file has one."""

    def add(self, record: RawRecord, trajectory_id: str) -> None:
        """Have the record erased."""
        first, *others = record.positions
        if record.inner is not None:
            self.inside.setdefault(first, {})[record.inner] = trajectory_id
            return
        self.whole[first] = markers.tombstone(trajectory_id, session=record.is_session)
        for position in others:
            self.whole[position] = markers.part(trajectory_id)

    def marker(self, position: int, value: Any) -> dict[str, Any] | None:
        """What comes in place of the value at `position`; None: it stays."""
        if position in self.inside:
            return {markers.UNPACKED: self._without(position, self._records_in(value))}
        return self.whole.get(position)

    def _records_in(self, value: Any) -> list[Any]:
        if isinstance(value, dict) and markers.is_marker(value):
            return value[markers.UNPACKED]
        if isinstance(value, str):
            return split_text(value, self.formats)
        return unpack(value, self.formats) or []

    def _without(self, position: int, records: list[Any]) -> list[Any]:
        gone = self.inside[position]
        return [markers.tombstone(gone[k]) if k in gone else json_ready(record) for k, record in enumerate(records)]


def erase_records(
    path: Path,
    erased: Mapping[int, str],
    *,
    max_record_bytes: int = _MAX_RECORD_BYTES,
    formats: tuple[Format, ...] | None = None,
) -> int:
    """How many records were erased: those of `erased`, by index, each leaving a tombstone with its trajectory id.

    The file is written aside, flushed and renamed, compressed as it was; a file in UTF-16 becomes UTF-8, a text of
    several records JSON, and the unreadable end of a damaged file goes with the rest, as it may hold the same.
    Records that are tombstones already, and indices the file does not have, are passed over.

    Raises: LandingError if the file cannot be read, is no regular file, or cannot be written.
    """
    target = path.resolve()
    plan = _Plan(formats)
    count = 0
    for record in read_records(target, max_record_bytes=max_record_bytes, formats=formats):
        if record.io_error:
            raise LandingError(f"{path}: {record.error}; nothing was erased, make it readable and purge again")
        if record.error is not None:
            plan.last_error_id = record.raw_id
        if record.index in erased and record.tombstone is None:
            plan.add(record, erased[record.index])
            count += 1
    if count:
        try:
            _rewrite(target, plan, max_record_bytes)
        except (FormatError, OSError) as error:
            raise LandingError(f"{path}: cannot be rewritten ({error}); it still holds the records") from error
    return count


def _rewrite(target: Path, plan: _Plan, limit: int) -> None:
    with open_layout(target, limit=limit) as content:
        layers = content.source.layers
        with _replacing(target, layers) as out:
            if content.layout is Layout.PARQUET:
                _write_rows(content, plan, out)
            elif content.layout in (Layout.LINES, Layout.STREAM):
                splices = list(_splices(content, plan, limit))
                _copy(target, splices, out)
            else:
                _write_text(content, plan, limit, out)


@contextlib.contextmanager
def _replacing(target: Path, layers: tuple[str, ...]) -> Iterator[BinaryIO]:
    """A file that takes the place of `target` when the block ends without an error, compressed in `layers`."""
    aside = target.with_name(f".{target.name[:200]}.{os.getpid()}.tmp")
    try:
        with aside.open("wb") as handle, contextlib.ExitStack() as stack:
            os.fchmod(handle.fileno(), target.stat().st_mode & 0o777)
            out: BinaryIO = handle
            for layer in layers:
                out = stack.enter_context(_compressor(out, layer))
            yield out
            stack.close()  # the compressors write their last bytes
            handle.flush()
            os.fsync(handle.fileno())
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)


def _compressor(out: BinaryIO, layer: str) -> BinaryIO:
    if layer == "gzip":
        return cast("BinaryIO", gzip.GzipFile(filename="", fileobj=out, mode="wb", mtime=0))
    return cast("BinaryIO", zstandard.ZstdCompressor().stream_writer(out, closefd=False))


def _splices(content: Content, plan: _Plan, limit: int) -> Iterator[_Splice]:
    """What changes in a file of JSON, from its start to its end."""
    on_one_line = content.layout is Layout.LINES
    for position, decoded, piece in file_values(content, limit=limit):
        marker = plan.marker(position, decoded.value)
        if piece is None:
            continue
        if marker is None and piece.end is None and content.window.fault is not None:
            marker = markers.tombstone(plan.last_error_id)
        if marker is not None:
            # A damaged file may end right behind a whole line.
            before = b"\n" if on_one_line and piece.end is None and not piece.data else b""
            dump = markers.written(marker, on_one_line=on_one_line)
            yield piece.start, piece.end, before + dump + piece.closing


def _copy(target: Path, splices: list[_Splice], out: BinaryIO) -> None:
    """The content of `target` with the splices made."""
    source = open_source(target)
    pending = iter(splices)
    splice = next(pending, None)
    offset = 0
    with source.handle, contextlib.suppress(DamagedError):  # its splice is the last, and written below
        for chunk in source.chunks:
            end = offset + len(chunk)
            while offset < end:
                rest = chunk[offset - end :]
                if splice is None or splice[0] >= end:
                    out.write(rest)
                    offset = end
                elif offset < splice[0]:
                    out.write(rest[: splice[0] - offset])
                    offset = splice[0]
                else:
                    stop = end if splice[1] is None else min(end, splice[1])
                    offset = stop
                    if splice[1] is not None and stop == splice[1]:
                        out.write(splice[2])
                        splice = next(pending, None)
    while splice is not None:
        out.write(splice[2])
        splice = next(pending, None)


def _write_text(content: Content, plan: _Plan, limit: int, out: BinaryIO) -> None:
    """A text as its records one by one in JSON; an empty or unreadable file as a tombstone."""
    values: list[Value] = list(file_values(content, limit=limit))
    if not values:
        out.write(markers.written(plan.whole[0], on_one_line=False))
    for position, decoded, _ in values:
        marker = plan.marker(position, decoded.value)
        if marker is None and decoded.error is not None:
            marker = markers.tombstone(plan.last_error_id)
        if marker is None:
            marker = {markers.UNPACKED: split_text(decoded.value, plan.formats)}
        out.write(markers.written(marker, on_one_line=False) + b"\n")


def _write_rows(content: Content, plan: _Plan, out: BinaryIO) -> None:
    """The rows in Parquet, erased ones null but for their marker; a tombstone alone where no row could be read."""
    # The writer must be able to tell its place, which a compressor cannot.
    with tempfile.TemporaryFile() as spool:
        tables = _marked_tables(cast("BinaryIO", content.rows), plan)
        first = next(tables, None)
        if first is None:
            marker = plan.whole.get(0) or markers.tombstone(plan.last_error_id)
            out.write(markers.written(marker, on_one_line=False))
            return
        with pq.ParquetWriter(spool, first.schema, compression="zstd") as writer:
            writer.write_table(first)
            for table in tables:
                writer.write_table(table)
        spool.seek(0)
        shutil.copyfileobj(spool, out, 1 << 20)


def _marked_tables(rows: BinaryIO, plan: _Plan) -> Iterator[pa.Table]:
    """The rows batch by batch; an unreadable end is a row that says it is gone."""
    position = 0
    schema: pa.Schema | None = None
    try:
        for batch in parquet.batches(rows):
            table = _marked_table(batch, position, plan)
            position += batch.num_rows
            schema = table.schema
            yield table
    except parquet.UnreadableError:
        if schema is not None:
            marker = plan.whole.get(position) or markers.tombstone(plan.last_error_id)
            held = {markers.COLUMN: markers.written(marker, on_one_line=True).decode()}
            yield pa.table({name: [held.get(name)] for name in schema.names}, schema=schema)


def _marked_table(batch: pa.RecordBatch, first: int, plan: _Plan) -> pa.Table:
    """The batch with the marker column, and null wherever that speaks."""
    table = pa.Table.from_batches([batch])
    held: list[str | None] = [None] * len(table)
    if markers.COLUMN in table.column_names:
        held = table.column(markers.COLUMN).to_pylist()
    touched = [k for k in range(len(table)) if first + k in plan.whole or first + k in plan.inside]
    if touched:
        decoded = list(parquet.decoded_rows(batch))
        for k in touched:
            marker = cast("dict[str, Any]", plan.marker(first + k, decoded[k].value))
            held[k] = markers.written(marker, on_one_line=True).decode()
    indices = pa.array([None if marker else k for k, marker in enumerate(held)], pa.int64())
    fields = [_plain(field) for field in table.schema if field.name != markers.COLUMN]
    columns = [table.column(field.name).cast(field.type).take(indices) for field in fields]
    schema = pa.schema([*fields, pa.field(markers.COLUMN, pa.string())], metadata=table.schema.metadata)
    return pa.Table.from_arrays([*columns, pa.chunked_array([held], pa.string())], schema=schema)


def _plain(held: pa.Field) -> pa.Field:
    """The field, nullable; a dictionary would keep the erased values beside the rows."""
    kind = held.type.value_type if pa.types.is_dictionary(held.type) else held.type
    return pa.field(held.name, kind, nullable=True, metadata=held.metadata)
