"""The standard streams of sandboxed code. Runs inside: standard library alone, any Python from 3.9 on."""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Callable
from typing import Any

_HOPELESS = 16
"""Times its cap that a call may write before it is ended; until then what is too much is dropped, and state is kept."""


class Output:
    """What a call writes: kept here in order, passed on to the descriptors once there are processes that share them."""

    def __init__(self, cap: int) -> None:
        self.room = self._cap = cap
        self.is_cut = self.is_direct = False
        self.give_up: Callable[[], None] = lambda: None
        """What to do about endless output."""
        self._parts: list[tuple[int, str]] = []

    def begin(self) -> None:
        """Start a call; what threads wrote since the last one belongs to it."""
        self.room = self._cap
        self.is_cut = self.is_direct = False

    def write(self, descriptor: int, text: str) -> None:
        """Keep the text, or what there is room for."""
        if self.is_direct:
            data = text.encode()
            while data:
                data = data[os.write(descriptor, data) :]
            return
        self.room -= len(text)
        if self.room >= 0:
            self._parts.append((descriptor, text))
            return
        if not self.is_cut:
            self.is_cut = True
            self._parts.append((descriptor, text[: self.room + len(text)]))
        if self.room < -_HOPELESS * self._cap:
            self.give_up()

    def taken(self) -> list[list[Any]]:
        """The output as [[descriptor, text], ...], neighbours of one stream joined; it is then gone from here."""
        parts, self._parts = self._parts, []
        grouped = itertools.groupby(parts, key=lambda part: part[0])
        return [[descriptor, "".join([text for _, text in group])] for descriptor, group in grouped]


class _Bytes(io.RawIOBase):
    """`sys.stdout.buffer`."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._stream.write(bytes(data).decode("utf-8", "replace"))
        return len(data)

    def fileno(self) -> int:
        return self._stream.fileno()


class Stream(io.TextIOBase):
    """`sys.stdout` or `sys.stderr`."""

    encoding, errors, newlines, line_buffering, mode = "utf-8", "strict", None, True, "w"

    def __init__(self, output: Output, descriptor: int, name: str) -> None:
        self._output, self._descriptor, self.name = output, descriptor, name
        self.buffer = _Bytes(self)

    def write(self, text: str) -> int:
        """Keep the text; a lone surrogate is an error here as on a terminal."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if text:
            if not text.isascii():
                text.encode()
            self._output.write(self._descriptor, text)
        return len(text)

    def fileno(self) -> int:
        """The descriptor beneath, for programs that are started."""
        return self._descriptor

    def writable(self) -> bool:
        """Always."""
        return True

    def reconfigure(self, **_: object) -> None:
        """Nothing: the encoding stays."""


class Input(io.TextIOBase):
    """`sys.stdin`: nobody is there, and a call that asks is told apart."""

    encoding, errors, name, mode = "utf-8", "strict", "<stdin>", "r"

    def __init__(self, asked: Callable[[], None]) -> None:
        self._asked = asked

    @property
    def buffer(self) -> io.BytesIO:
        """Bytes, of which there are none either."""
        self._asked()
        return io.BytesIO()

    def readable(self) -> bool:
        """Always."""
        return True

    def fileno(self) -> int:
        """The descriptor beneath, /dev/null."""
        return 0

    def read(self, size: int | None = -1) -> str:
        """Nothing."""
        self._asked()
        return ""

    readline = read  # type: ignore[assignment]

    def __next__(self) -> str:
        self.read()
        raise StopIteration
