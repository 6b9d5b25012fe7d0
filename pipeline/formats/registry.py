"""All known trace formats, and how a file's values become records of one of them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.formats.base import Format

FORMATS: tuple[Format, ...] = ()


def detect(record: Any) -> Format | None:
    """The first registered format that recognises the record; None where none does."""
    return next((known for known in FORMATS if known.detects(record)), None)


@dataclass(slots=True)
class Grouped:
    """A record and the positions, in its file, of the values it was made of."""

    record: Any
    positions: list[int]
    inner: int | None = None
    """Position inside the container value it was unpacked from; None where the value is the record."""


def group_values(values: Iterable[tuple[int, Any]]) -> Iterator[Grouped]:
    """Records in the order their first value stands in the file.

    A value of a session format joins its session, which comes out when the file ends; a container is unpacked; any
    other value is a record. Memory: one file's session values, else one value.
    """
    sessions: dict[tuple[str, str], Grouped] = {}
    for position, value in values:
        key = session_of(value)
        if key is not None:
            group = sessions.setdefault(key, Grouped([], []))
            group.record.append(value)
            group.positions.append(position)
            continue
        inner = unpack(value)
        if inner is None:
            yield Grouped(value, [position])
        else:
            for k, record in enumerate(inner):
                yield Grouped(record, [position], inner=k)
    yield from sessions.values()


def session_of(value: Any) -> tuple[str, str] | None:
    """The format name and session key of a value that is one piece of a session."""
    for known in FORMATS:
        session_key = getattr(known, "session_key", None)
        key = session_key(value) if session_key is not None else None
        if key is not None:
            return known.name, key
    return None


def unpack(value: Any) -> list[Any] | None:
    """The records inside a container value; None if no format knows it as one."""
    for known in FORMATS:
        opener = getattr(known, "unpack", None)
        inner = opener(value) if opener is not None else None
        if inner is not None:
            return inner
    return None


def split_text(text: str) -> list[str]:
    """The record texts of a plain-text file: as the first format that claims it splits it, else the text whole."""
    for known in FORMATS:
        splitter = getattr(known, "split", None)
        parts = splitter(text) if splitter is not None else None
        if parts is not None:
            return parts
    return [text]
