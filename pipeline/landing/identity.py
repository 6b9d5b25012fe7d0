"""The id of a raw record: a hash of what it says, whatever file, format or compression it stands in."""

import base64
import hashlib
import math
import re
from typing import Any

import orjson

from pipeline.errors import FormatError

ID_BYTES = 10
_INTEGRAL_FLOAT = re.compile(rb"\.0(?:[,}\]]|\Z)")
_SURROGATE = re.compile("[\ud800-\udfff]")
_INT64_MIN, _UINT64_MAX = -(2**63), 2**64 - 1


def canonical_hash(value: Any) -> str:
    """Twenty hex digits over the canonical form of a record.

    The same for one record as a line of JSON Lines, as an element of an array and as a row of Parquet: keys are
    sorted, keys whose value is null are left out (a row of Parquet has every key), 1.0 is 1 (a column has one type),
    bytes are base64, dates are ISO text. A text has its line ends made line feeds and loses those at its end.

    Raises: FormatError if the value is nested too deeply to be written.
    """
    if isinstance(value, str):
        return text_hash(value)
    try:
        dump = orjson.dumps(value, default=_as_json, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return _hash(_dump_by_hand(value))
    return dump_hash(value, dump)


def dump_hash(value: Any, dump: bytes) -> str:
    """`canonical_hash(value)`, where the value's dump with sorted keys is at hand already."""
    if isinstance(value, str):
        return text_hash(value)
    if b":null" in dump or _INTEGRAL_FLOAT.search(dump):
        # The bytes may stand inside a text; then the walk changes nothing.
        try:
            dump = orjson.dumps(_plain(value), default=_as_json, option=orjson.OPT_SORT_KEYS)
        except TypeError:
            dump = _dump_by_hand(value)
    return _hash(dump)


def text_hash(text: str) -> str:
    """`canonical_hash` of a text."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _hash(_without_surrogates(text.rstrip("\n")).encode())


def bytes_hash(*pieces: bytes) -> str:
    """Twenty hex digits for what could not be read as a record."""
    digest = hashlib.blake2b(digest_size=ID_BYTES, person=b"unreadable")
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


class UniqueIds:
    """Tells identical records of one partition apart: the second is `-2`, the third `-3`."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def assign(self, raw_id: str) -> str:
        """The trajectory id of the next record whose hash is `raw_id`."""
        count = self._seen.get(raw_id, 0) + 1
        self._seen[raw_id] = count
        return raw_id if count == 1 else f"{raw_id}-{count}"


def without_suffix(trajectory_id: str) -> str:
    """The raw id behind a trajectory id."""
    return trajectory_id.partition("-")[0]


def json_ready(value: Any) -> Any:
    """The value in JSON's own types, with the hash it had: bytes become base64, dates ISO text."""
    try:
        return orjson.loads(orjson.dumps(value, default=_as_json))
    except TypeError:
        return orjson.loads(_dump_by_hand(value))


def _hash(dump: bytes) -> str:
    return hashlib.blake2b(dump, digest_size=ID_BYTES).hexdigest()


def _as_json(value: Any) -> Any:
    """Types of Parquet that orjson does not know."""
    return base64.b64encode(value).decode() if isinstance(value, bytes | bytearray) else str(value)


def _plain(value: Any) -> Any:
    """The value without keys whose value is null or NaN, and with whole floats as integers."""
    # Most values are texts: told apart before the call, they halve the cost of the walk.
    if isinstance(value, dict):
        return {
            key: plain
            for key, held in value.items()
            if (plain := held if type(held) is str else _plain(held)) is not None
        }
    if isinstance(value, list | tuple):
        return [held if type(held) is str else _plain(held) for held in value]
    if isinstance(value, float):
        return _plain_float(value)
    return value


def _plain_float(value: float) -> float | None:
    if not math.isfinite(value):
        return None
    return int(value) if abs(value) < 1e15 and value.is_integer() else value


def _dump_by_hand(value: Any) -> bytes:
    """The canonical dump of a value that holds what orjson refuses: long integers, lone surrogates, odd keys."""
    try:
        return orjson.dumps(_in_json_types(value), option=orjson.OPT_SORT_KEYS)
    except (RecursionError, TypeError) as error:
        raise FormatError("the record is nested too deeply to be kept; want at most 240 levels") from error


def _in_json_types(value: Any) -> Any:
    if isinstance(value, dict):
        items = ((_key(key), _in_json_types(held)) for key, held in value.items())
        return {key: held for key, held in items if held is not None}
    if isinstance(value, list | tuple):
        return [_in_json_types(held) for held in value]
    if isinstance(value, str):
        return _without_surrogates(value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if _INT64_MIN <= value <= _UINT64_MAX else str(value)
    if isinstance(value, float):
        return _plain_float(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return _as_json(value)


def _key(key: Any) -> str:
    return _without_surrogates(key if isinstance(key, str) else str(key))


def _without_surrogates(text: str) -> str:
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)
