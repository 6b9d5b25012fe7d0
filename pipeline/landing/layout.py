"""What a file's content is laid out as: JSON Lines, a stream of JSON values, or text. Told by content alone."""

import re
from collections.abc import Iterator
from enum import StrEnum

from pipeline.landing.decoding import decode_json
from pipeline.landing.sources import DamagedError

SNIFF_BYTES = 64 << 20
"""Longest first line looked at whole; a longer one that opens an array is read as a stream of its elements."""
_FOLLOWING = 5
_BOM = b"\xef\xbb\xbf"
_NOT_BLANK = re.compile(rb"[^ \t\r\n]")
_LOOKS_LIKE_JSON = re.compile(
    rb'\{\s*(?:$|\}|"(?:[^"\\\n]|\\.){0,300}(?:$|"\s*(?:$|:)))|\[\s*(?:$|[\[{"\]]|-?\d[\d.eE+-]*\s*[,\]]|(?:true|false|null)\b)'
)
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+("?)|[\[\]{}]', re.DOTALL)


class Layout(StrEnum):
    """How values follow each other in a file."""

    EMPTY = "empty"
    LINES = "lines"
    """JSON Lines: one value a line, so that a bad line harms no other."""
    STREAM = "stream"
    """One JSON document, or several one after another; a top-level array is its elements."""
    TEXT = "text"
    PARQUET = "parquet"


class Window:
    """The part of a content that is in memory, with its place in the whole."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self.data = b""
        self.base = 0
        """Offset of data[0] in the content."""
        self.at_end = False
        self.fault: str | None = None
        """Why the content stops early, once it has."""

    def grow(self) -> bool:
        """Whether more came: a chunk at least, and as much again as is held, so that growing costs linear time."""
        pieces, size, goal = [self.data], len(self.data), 2 * len(self.data)
        while not self.at_end and (len(pieces) == 1 or size < goal):
            chunk = self._next()
            pieces.append(chunk)
            size += len(chunk)
        grown = size > len(self.data)
        self.data = b"".join(pieces)
        return grown

    def drop(self, count: int) -> None:
        """Let go of the first `count` bytes."""
        self.data = self.data[count:]
        self.base += count

    def rest(self) -> Iterator[bytes]:
        """What is held, then the remaining chunks."""
        held, self.data = self.data, b""
        if held:
            yield held
        while chunk := self._next():
            yield chunk

    def _next(self) -> bytes:
        """The next chunk, empty at the end."""
        try:
            chunk = next((chunk for chunk in self._chunks if chunk), b"")
        except DamagedError as error:
            self.fault, chunk = str(error), b""
        self.at_end = not chunk
        return chunk


def tell_layout(window: Window, *, limit: int) -> Layout:
    """The layout of the content that `window` stands at the start of; a byte order mark is dropped.

    JSON Lines if the first line is a JSON object or array and another line follows, or if it is garbage and lines
    of objects follow. Reads no further than the first line and a few after it.
    """
    while len(window.data) < len(_BOM) and window.grow():
        pass
    if window.data.startswith(_BOM):
        window.drop(len(_BOM))
    first = _NOT_BLANK.search(window.data)
    while first is None:
        window.drop(len(window.data))
        if not window.grow():
            return Layout.EMPTY if window.fault is None else Layout.LINES
        first = _NOT_BLANK.search(window.data)
    window.drop(first.start())
    end = window.data.find(b"\n")
    while end < 0 and len(window.data) < min(limit, SNIFF_BYTES) and window.grow():
        end = window.data.find(b"\n")
    opening = window.data[:1]
    looks_like_json = _LOOKS_LIKE_JSON.match(window.data[:2000]) is not None
    if end < 0:
        return _layout_of_one_line(window, opening, looks_like_json=looks_like_json)
    line = window.data[:end]
    if opening in (b"{", b"["):
        decoded = decode_json(line)
        if not decoded.malformed and (decoded.error is None or is_balanced(line)):
            more = _NOT_BLANK.search(window.data, end)
            while more is None and window.grow():
                more = _NOT_BLANK.search(window.data, end)
            return Layout.LINES if more or opening == b"{" else Layout.STREAM
    if (opening != b"[" or not looks_like_json) and _objects_follow(window, end):
        return Layout.LINES
    return Layout.STREAM if looks_like_json else Layout.TEXT


def _layout_of_one_line(window: Window, opening: bytes, *, looks_like_json: bool) -> Layout:
    """The layout of a content without a line end within reach."""
    if not looks_like_json:
        return Layout.TEXT
    whole = window.at_end
    return Layout.LINES if opening == b"{" and not whole else Layout.STREAM


def _objects_follow(window: Window, end: int) -> bool:
    """Whether each of the next few lines is a JSON object that starts at its margin."""
    while window.data.count(b"\n", end) <= _FOLLOWING and len(window.data) < SNIFF_BYTES and window.grow():
        pass
    following = [line for line in window.data[end:].split(b"\n")[: _FOLLOWING + 1] if line.strip()]
    if not window.at_end:
        following = following[:-1] or following
    return bool(following) and all(
        line.startswith(b"{") and isinstance(decode_json(line).value, dict) for line in following
    )


def is_balanced(data: bytes) -> bool:
    """Whether every bracket and text that opens in `data` is closed in it."""
    depth = 0
    for token in _TOKEN.finditer(data):
        first = data[token.start()]
        if first == 0x22:
            if not token.group(1):
                return False
        else:
            depth += 1 if first in b"{[" else -1
    return depth <= 0
