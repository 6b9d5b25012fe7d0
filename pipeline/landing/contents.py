"""An open file of the landing zone: its layout, and its values one after another."""

import contextlib
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pipeline.landing import parquet
from pipeline.landing.decoding import Decoded, decode_json
from pipeline.landing.identity import bytes_hash
from pipeline.landing.layout import Layout, Window, tell_layout
from pipeline.landing.pieces import Piece, joined_values, lines, stream
from pipeline.landing.sources import DamagedError, Source, open_source

Value = tuple[int, Decoded, Piece | None]
"""A value's place among the file's values, the value, and its bytes (a row of Parquet has none of its own)."""

_HEAD_BYTES = 1 << 16
_MAX_BINARY_SHARE = 0.05
"""Share of bytes no text has from which a file is binary; a text with a few damaged characters stays below."""
_FEW = 2
_BINARY = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\ufffd]")
_JOINED = re.compile(rb"[}\]][ \t]*[{\[]")
_KNOWN_BINARY = (
    (b"PK\x03\x04", "a zip archive: unpack it first"),
    (b"\xfd7zXZ", "an xz archive: unpack it first"),
    (b"BZh", "a bzip2 archive: unpack it first"),
    (b"SQLite format 3", "an SQLite database"),
    (b"ARROW1", "an Arrow file: write it as Parquet"),
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
)


@dataclass(slots=True)
class Content:
    """A file's content, its layout told."""

    source: Source
    layout: Layout
    window: Window
    rows: BinaryIO | None = None
    """The Parquet file, where the layout is that."""


@contextlib.contextmanager
def open_layout(path: Path, *, limit: int) -> Iterator[Content]:
    """The content of the file at `path`. Raises FormatError if it is no regular file, OSError if the disk fails."""
    source = open_source(path)
    with contextlib.ExitStack() as stack:
        stack.enter_context(source.handle)
        window = Window(source.chunks)
        if not source.is_parquet:
            yield Content(source, tell_layout(window, limit=limit), window)
        elif not source.layers:
            yield Content(source, Layout.PARQUET, window, source.handle)
        else:
            # Parquet is read from its end, which a compressed stream cannot give.
            spool = stack.enter_context(tempfile.TemporaryFile())
            with contextlib.suppress(DamagedError):  # then its end is missing, which reading it will say
                for chunk in source.chunks:
                    spool.write(chunk)
            yield Content(source, Layout.PARQUET, window, spool)


def file_values(content: Content, *, limit: int) -> Iterator[Value]:
    """The values of the file, in order; what cannot be read is a value with an error."""
    if content.layout is Layout.PARQUET and content.rows is not None:
        return _row_values(content.rows)
    if content.layout is Layout.TEXT:
        return _text_values(content.window, limit)
    read = stream if content.layout is Layout.STREAM else lines
    return _json_values(read(content.window, limit=limit))


def _json_values(pieces: Iterator[Piece]) -> Iterator[Value]:
    position = 0
    for piece in pieces:
        if piece.error is not None:
            yield position, Decoded(error=piece.error), piece
            position += 1
            continue
        decoded = decode_json(piece.data)
        if decoded.malformed and _JOINED.search(piece.data):
            spans = joined_values(piece.data) or ()
            for start, end in spans:
                part = Piece(piece.start + start, piece.start + end, piece.data[start:end])
                yield position, decode_json(part.data), part
                position += 1
            if spans:
                continue
        yield position, decoded, piece
        position += 1


def _row_values(handle: BinaryIO) -> Iterator[Value]:
    position = 0
    try:
        for batch in parquet.batches(handle):
            for decoded in parquet.decoded_rows(batch):
                yield position, decoded, None
                position += 1
    except parquet.UnreadableError as error:
        yield position, Decoded(error=str(error)), None


def _text_values(window: Window, limit: int) -> Iterator[Value]:
    """The text as one value; the fault the content ended with as another."""
    held: list[bytes] = []
    size = 0
    for chunk in window.rest():
        size += len(chunk)
        if size <= limit or not held:
            held.append(chunk)
    data = b"".join(held)
    piece = Piece(window.base, window.base + size, data)
    if size > limit:
        piece.digest = bytes_hash(data, str(size).encode())
        piece.data = data[:800]
        yield 0, Decoded(error=f"a text of {size} bytes; want at most {limit}"), piece
    else:
        yield 0, _decode_text(data), piece
    if window.fault is not None:
        yield 1, Decoded(error=window.fault), Piece(window.base + size, None, b"")


def _decode_text(data: bytes) -> Decoded:
    """The text, or why the bytes are none."""
    head = data[:_HEAD_BYTES].decode("utf-8", "replace")
    known = next((what for magic, what in _KNOWN_BINARY if data.startswith(magic)), None)
    if len(_BINARY.findall(head)) > _FEW + _MAX_BINARY_SHARE * len(head):
        return Decoded(error=f"not text, JSON, JSON Lines or Parquet: {known or 'binary'}")
    try:
        return Decoded(data.decode())
    except UnicodeDecodeError as error:
        note = f"bytes that are not UTF-8 replaced by U+FFFD, the first at byte {error.start}"
        return Decoded(data.decode("utf-8", "replace"), notes=[note])
