"""A file's bytes, decompressed and in UTF-8, in chunks: bounded memory, and a clear word where they stop early."""

import codecs
import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import zstandard

from pipeline.errors import FormatError

CHUNK_BYTES = 1 << 20
_GZIP_INPUT_BYTES = 1 << 16
_ZSTD_INPUT_BYTES = 1 << 10
"""Compressed bytes given to zstd at a time. One block of 4 bytes may hold 128 KiB, so this bounds a bomb to 32 MiB."""
_MAX_LAYERS = 3
_GZIP = b"\x1f\x8b\x08"
_ZSTD = b"\x28\xb5\x2f\xfd"
_PARQUET = b"PAR1"
_UTF16 = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_FILE_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class DamagedError(FormatError):
    """A compressed stream ends early or breaks off; everything before was handed out."""


@dataclass(slots=True)
class Source:
    """An open file: what it is wrapped in, and its content chunk by chunk."""

    handle: BinaryIO
    layers: tuple[str, ...]
    """Compression from the outside in: gzip, zstd."""
    is_parquet: bool
    chunks: Iterator[bytes]
    """UTF-8, also of a file in UTF-16."""


def open_source(path: Path) -> Source:
    """The file at `path`, recognised by its first bytes.

    Raises: FormatError if it is no regular file, OSError if it cannot be opened. Reading `chunks` may raise OSError,
    and DamagedError after the last readable byte.
    """
    # Without O_NONBLOCK, opening a named pipe waits for a writer for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = next((name for test, name in _FILE_KINDS if test(mode)), "no regular file")
        raise FormatError(f"{kind}; want a regular file")
    handle = os.fdopen(descriptor, "rb")
    head, chunks = _peek(_read(handle))
    layers: list[str] = []
    while len(layers) < _MAX_LAYERS:
        if head.startswith(_GZIP):
            layers.append("gzip")
            head, chunks = _peek(_gunzip(chunks))
        elif head.startswith(_ZSTD):
            layers.append("zstd")
            head, chunks = _peek(_unzstd(chunks))
        else:
            break
    encoding = _UTF16.get(head[:2])
    if encoding:
        chunks = _transcode(chunks, encoding)
    return Source(handle, tuple(layers), head.startswith(_PARQUET), chunks)


def _read(handle: BinaryIO) -> Iterator[bytes]:
    while chunk := handle.read(CHUNK_BYTES):
        yield chunk


def _peek(chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The first chunk, and all of them again; damage before it shows when they are read."""
    try:
        first = next(chunks, b"")
    except DamagedError as error:
        return b"", _raise(error)
    if 0 < len(first) < len(_ZSTD):  # a magic number may straddle two chunks
        second, rest = _peek(chunks)
        return first + second, chain([first], rest)
    return first, chain([first] if first else [], chunks)


def _raise(error: DamagedError) -> Iterator[bytes]:
    raise error
    yield b""


def _gunzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The content of one gzip member after another."""
    inflater = zlib.decompressobj(31)
    for piece in _cut(chunks, _GZIP_INPUT_BYTES):
        data = piece
        while data:
            if inflater.eof:
                data = data.lstrip(b"\0")  # tape padding, which gzip itself passes over
                if not data:
                    break
                inflater = zlib.decompressobj(31)
            before = inflater.copy()
            try:
                content = inflater.decompress(data, CHUNK_BYTES)
                while len(content) == CHUNK_BYTES:
                    yield content
                    before, data = inflater.copy(), inflater.unconsumed_tail
                    content = inflater.decompress(data, CHUNK_BYTES)
            except zlib.error as error:
                yield _up_to_the_fault(before, data)
                raise DamagedError(f"the gzip stream is damaged ({error}); what stands before was read") from error
            if content:
                yield content
            data = inflater.unused_data if inflater.eof else b""
    if not inflater.eof:
        raise DamagedError("the gzip stream ends early: still being written, or cut; what stands before was read")


def _up_to_the_fault(inflater: "zlib._Decompress", data: bytes) -> bytes:
    """What the bytes before the faulty one still give: zlib drops a call's content when it raises."""
    content = bytearray()
    try:
        for k in range(len(data)):
            content += inflater.decompress(data[k : k + 1], CHUNK_BYTES)
    except zlib.error:
        pass
    return bytes(content)


def _unzstd(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The content of one zstd frame after another; a damaged stream gives no part of the block that breaks off."""
    opener = zstandard.ZstdDecompressor()
    inflater = opener.decompressobj()
    for piece in _cut(chunks, _ZSTD_INPUT_BYTES):
        data = piece
        while data:
            if inflater.eof:
                inflater = opener.decompressobj()
            try:
                content = inflater.decompress(data)
            except zstandard.ZstdError as error:
                raise DamagedError(f"the zstd stream is damaged ({error}); what stands before was read") from error
            if content:
                yield content
            data = inflater.unused_data if inflater.eof else b""
    if not inflater.eof:
        raise DamagedError("the zstd stream ends early: still being written, or cut; what stands before was read")


def _cut(chunks: Iterator[bytes], size: int) -> Iterator[bytes]:
    """The same bytes in pieces of at most `size`."""
    for chunk in chunks:
        for start in range(0, len(chunk), size):
            yield chunk[start : start + size]


def _transcode(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """UTF-16 as UTF-8, without the byte order mark."""
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    started = False
    for chunk in chunks:
        text = decoder.decode(chunk)
        yield (text if started else text.removeprefix("\ufeff")).encode("utf-8", "replace")
        started = started or bool(text)
    yield decoder.decode(b"", final=True).encode("utf-8", "replace")
