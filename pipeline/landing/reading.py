"""Any file, whatever its state, as raw records: what cannot be read is a record that says so."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import FormatError
from pipeline.formats.base import Format
from pipeline.formats.registry import group_values, split_text
from pipeline.landing import markers
from pipeline.landing.contents import Value, file_values, open_layout
from pipeline.landing.decoding import Decoded
from pipeline.landing.identity import bytes_hash, canonical_hash, dump_hash, text_hash, without_suffix
from pipeline.landing.layout import Layout
from pipeline.landing.pieces import Piece


@dataclass(slots=True)
class RawRecord:
    """One record of a file, or what stands where one should."""

    value: Any
    """A JSON value, the list of a session's values, or a text; None where there is none."""
    raw_id: str
    positions: list[int]
    """The places, among the file's values, of those the record was made of."""
    index: int = 0
    """Its place among the file's records, in reading order."""
    inner: int | None = None
    """Its place inside the container value it came from."""
    error: str | None = None
    io_error: bool = False
    """The disk failed and not the record: worth another try."""
    notes: list[str] = field(default_factory=list)
    snippet: str | None = None
    """The first 200 characters of what could not be read."""
    is_session: bool = False
    """`value` is the list of a session's values, and not one value that happens to be a list."""
    tombstone: str | None = None
    """The trajectory id of the record erased here."""


def read_records(
    path: Path, *, max_record_bytes: int, formats: tuple[Format, ...] | None = None
) -> Iterator[RawRecord]:
    """The records of a file in reading order, at least one; never raises for what a file holds or is.

    What is wrong is told by `error`: a line of garbage, a value cut off, a damaged archive, a file that is no file
    or cannot be opened. Everything around it is read. Records and values that sessions are made of come when the
    file ends. `formats` stands in for the registry's.
    """
    index = 0
    try:
        for record in _records(path, max_record_bytes, formats):
            record.index = index
            index += 1
            yield record
    except FormatError as error:
        yield RawRecord(None, bytes_hash(str(error).encode()), [0], index, error=str(error))
        return
    except OSError as error:
        text = f"cannot be read: {error.strerror or type(error).__name__}"
        raw_id = bytes_hash(b"io", path.name.encode("utf-8", "surrogateescape"))
        yield RawRecord(None, raw_id, [], index, error=text, io_error=True)
        return
    if index == 0:
        yield RawRecord(None, bytes_hash(b"empty"), [0], error="an empty file")


def _records(path: Path, limit: int, formats: tuple[Format, ...] | None) -> Iterator[RawRecord]:
    with open_layout(path, limit=limit) as content:
        values = file_values(content, limit=limit)
        if content.layout is Layout.TEXT:
            yield from _text_records(values, formats)
        else:
            yield from _Grouping(values, formats).records()


def _text_records(values: Iterator[Value], formats: tuple[Format, ...] | None) -> Iterator[RawRecord]:
    """The records a text holds; whatever no format claims is one."""
    for position, decoded, piece in values:
        if decoded.error is not None:
            yield _failed(position, decoded, piece, "")
            continue
        parts = split_text(decoded.value, formats)
        for k, part in enumerate(parts):
            inner = k if len(parts) > 1 else None
            yield RawRecord(part, text_hash(part), [position], inner=inner, notes=list(decoded.notes))


class _Grouping:
    """Values into records: errors and tombstones in their places, sessions and containers as the formats say."""

    def __init__(self, values: Iterator[Value], formats: tuple[Format, ...] | None) -> None:
        self._values = values
        self._formats = formats
        self._is_at_end = False
        self._last_id = ""
        self._position = -1
        self._dump = b""
        self._notes: dict[int, list[str]] = {}
        """Notes by position; a session's values are recorded only when the file ends."""
        self._erased_sessions: list[RawRecord] = []

    def records(self) -> Iterator[RawRecord]:
        """The records in reading order."""
        for grouped in group_values(self._feed(), self._formats, ready=(RawRecord,)):
            if isinstance(grouped.record, RawRecord):
                self._last_id = grouped.record.raw_id
                yield grouped.record
                continue
            if self._is_at_end:
                while self._erased_sessions and self._erased_sessions[0].positions < grouped.positions:
                    yield self._erased_sessions.pop(0)
            record = self._record(grouped.record, grouped.positions, grouped.inner)
            self._last_id = record.raw_id
            yield record
        yield from self._erased_sessions

    def _feed(self) -> Iterator[tuple[int, Any]]:
        """The values that formats may look at, and ready records in between."""
        for position, decoded, piece in self._values:
            if decoded.error is not None:
                yield position, _failed(position, decoded, piece, self._last_id)
                continue
            value = decoded.value
            if isinstance(value, dict) and len(value) <= 2 and markers.is_marker(value):
                for record in self._of_marker(position, value):
                    yield position, record
                continue
            if decoded.notes:
                self._notes[position] = decoded.notes
            self._position, self._dump = position, decoded.dump
            yield position, value
        self._is_at_end = True

    def _of_marker(self, position: int, value: dict[str, Any]) -> Iterator[RawRecord]:
        """The records a marker stands for: an erased one, none, or those of a container taken apart."""
        if markers.TOMBSTONE in value:
            record = _erased(position, value[markers.TOMBSTONE])
            if markers.SESSION in value:
                self._erased_sessions.append(record)
            else:
                yield record
        for k, held in enumerate(value.get(markers.UNPACKED, ())):
            if markers.is_marker(held) and markers.TOMBSTONE in held:
                yield _erased(position, held[markers.TOMBSTONE], inner=k)
            else:
                yield RawRecord(held, canonical_hash(held), [position], inner=k)

    def _record(self, value: Any, positions: list[int], inner: int | None) -> RawRecord:
        notes = self._notes
        try:
            if inner is None and self._dump and positions == [self._position] and not self._is_at_end:
                raw_id = dump_hash(value, self._dump)
            else:
                raw_id = canonical_hash(value)
        except FormatError as error:
            raw_id = bytes_hash(b"too deep", self._last_id.encode())
            return RawRecord(None, raw_id, positions, inner=inner, error=str(error))
        told = [note for position in positions for note in notes.get(position, ())] if notes else []
        return RawRecord(value, raw_id, positions, inner=inner, notes=told, is_session=self._is_at_end)


def _failed(position: int, decoded: Decoded, piece: Piece | None, last_id: str) -> RawRecord:
    """The record that says what could not be read; its id follows from those bytes, or from the record before."""
    raw_id = snippet = None
    if piece is not None and piece.data:
        raw_id = piece.digest or bytes_hash(piece.data)
        snippet = piece.data[:800].decode("utf-8", "replace")[:200]
    raw_id = raw_id or bytes_hash(b"fault", last_id.encode())
    return RawRecord(None, raw_id, [position], error=decoded.error, snippet=snippet)


def _erased(position: int, trajectory_id: str, inner: int | None = None) -> RawRecord:
    return RawRecord(None, without_suffix(trajectory_id), [position], inner=inner, tombstone=trajectory_id)
