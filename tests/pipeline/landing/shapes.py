"""Two formats small enough to see through, and shorthands, so that tests of files need no real trace format."""

import gzip
from pathlib import Path
from typing import Any

import orjson
import zstandard

from pipeline.formats.base import Parsed
from pipeline.landing.reading import RawRecord, read_records

LIMIT = 1 << 28


class Lines:
    """A session format: values with a `session` key belong together."""

    name = "lines"

    def detects(self, record: Any) -> bool:
        """Whether the record has this shape."""
        return isinstance(record, list)

    def parse(self, record: Any) -> Parsed:
        """As little as a trajectory can be."""
        return Parsed([], metadata={"lines": len(record)})

    def session_key(self, value: Any) -> str | None:
        """The value's own `session`."""
        return value.get("session") if isinstance(value, dict) else None


class Box:
    """A container format: `{"box": [...]}` holds records, and adds its own name to each."""

    name = "box"

    def detects(self, record: Any) -> bool:
        """Whether the record has this shape."""
        return isinstance(record, dict) and "from" in record

    def parse(self, record: Any) -> Parsed:
        """As little as a trajectory can be."""
        return Parsed([], metadata=record)

    def unpack(self, value: Any) -> list[Any] | None:
        """The records in the box, each with where it came from."""
        if not isinstance(value, dict) or "box" not in value:
            return None
        return [{"from": "box", **held} for held in value["box"]]  # raises where the box is none, as a format may


class Chapters:
    """A text format: each `== ` opens a record."""

    name = "chapters"

    def detects(self, record: Any) -> bool:
        """Whether the record has this shape."""
        return isinstance(record, str)

    def parse(self, record: Any) -> Parsed:
        """As little as a trajectory can be."""
        return Parsed([], metadata={"text": record})

    def split(self, text: str) -> list[str] | None:
        """The text from each heading to the next."""
        first, *others = text.split("\n== ")
        return [f"{first}\n", *(f"== {other}" for other in others)] if others else None


FORMATS = (Lines(), Box(), Chapters())


def talk(k: int) -> dict[str, Any]:
    """A small record, told apart by its number."""
    return {"messages": [{"role": "user", "content": f"question {k}"}, {"role": "assistant", "content": f"answer {k}"}]}


def jsonl(*values: Any) -> bytes:
    """The values as JSON Lines; bytes stand as they are."""
    return b"".join((value if isinstance(value, bytes) else orjson.dumps(value)) + b"\n" for value in values)


def read(path: Path, data: bytes | None = None, *, limit: int = LIMIT) -> list[RawRecord]:
    """The records of a file, written first if `data` is given."""
    if data is not None:
        path.write_bytes(data)
    return list(read_records(path, max_record_bytes=limit, formats=FORMATS))


def told(records: list[RawRecord]) -> list[Any]:
    """What each record says: its error where it has one, else its value."""
    return [record.error if record.error is not None else record.value for record in records]


def plain(path: Path) -> bytes:
    """A file's bytes, decompressed."""
    data = path.read_bytes()
    if data.startswith(b"\x1f\x8b"):
        return gzip.decompress(data)
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return data
