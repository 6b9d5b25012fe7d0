"""Objects over a pipe or socket: four bytes of length, then JSON. Standard library only; both ends of it are here."""

import json
import os
import select
import struct
import time
from typing import Any

FRAME_BYTES = 64 * 2**20
"""Longest frame taken; what claims to be longer is no frame."""

_LENGTH = struct.Struct(">I")


class BrokenChannelError(Exception):
    """The other end is gone, or what it sent is no frame."""


class Channel:
    """Sends and receives objects; with a deadline both give up with TimeoutError, and the channel is spent."""

    def __init__(self, reader: int, writer: int) -> None:
        self._reader = reader
        self._writer = writer
        for descriptor in (reader, writer):
            os.set_blocking(descriptor, False)

    def send(self, value: Any, timeout_s: float | None = None) -> None:
        """Write one object."""
        body = json.dumps(value, default=str).encode()
        if len(body) > FRAME_BYTES:
            raise BrokenChannelError(f"would get a frame of {len(body)} bytes")
        left = memoryview(_LENGTH.pack(len(body)) + body)
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while left:
            self._wait(self._writer, select.POLLOUT, deadline)
            try:
                left = left[os.write(self._writer, left) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise BrokenChannelError("ended") from error

    def receive(self, timeout_s: float | None = None) -> Any:
        """Read one object."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size, deadline))
        if length > FRAME_BYTES:
            raise BrokenChannelError(f"sent a frame of {length} bytes")
        try:
            return json.loads(self._read(length, deadline))
        except (ValueError, RecursionError) as error:
            raise BrokenChannelError("sent what is not JSON") from error

    def _read(self, size: int, deadline: float | None) -> bytes:
        read = bytearray()
        while len(read) < size:
            self._wait(self._reader, select.POLLIN, deadline)
            try:
                part = os.read(self._reader, min(size - len(read), 2**20))
            except BlockingIOError:
                continue
            except OSError as error:
                raise BrokenChannelError("ended") from error
            if not part:
                raise BrokenChannelError("ended")
            read += part
        return bytes(read)

    @staticmethod
    def _wait(descriptor: int, event: int, deadline: float | None) -> None:
        poll = select.poll()
        poll.register(descriptor, event)
        wait_ms = None if deadline is None else max(0, (deadline - time.monotonic()) * 1000)
        if not poll.poll(wait_ms):
            raise TimeoutError
