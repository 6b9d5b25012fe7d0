"""What goes over the channel between the machine and a fork server, and how its answers are made sure of.

To the server: kind and size, then the body. RESET: a seed in decimal; a trajectory begins. CALL: code in UTF-8.
From it: kind and two sizes, then two JSON objects, either of which may be empty: the server's own words, and the answer
of the trajectory's process as it came. HELLO when it is ready; an OUTCOME for each call; RECYCLE in place of a RESET
that would take longer than a new sandbox. Untrusted code runs behind it all, so nothing is believed: sizes are capped
before anything is read, and an answer that is not of the promised shape is a forged one.
"""

import struct
from dataclasses import dataclass
from typing import Any

import orjson

from pipeline.replay.environment import Status

RESET, CALL, HELLO, OUTCOME, RECYCLE = b"R", b"C", b"H", b"O", b"X"
REQUEST = struct.Struct("!cI")
REPLY = struct.Struct("!cII")
LARGEST_CODE = 2**22
_DETAIL = 300
_ANSWERED = frozenset({Status.RETURNED, Status.MISSING, Status.NETWORK, Status.MEMORY, Status.CAPPED})
"""What a trajectory's process may say of itself."""


class ForgedReplyError(Exception):
    """What came over the channel is not what a fork server sends."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a trajectory's own process says of a call."""

    output: list[tuple[int, str]]
    """What was written, in order: 1 or 2, for stdout or stderr, and the text."""
    value: str | None = None
    """The echo of the last expression."""
    shown: str | None = None
    """The same as IPython shows it, where that is not the repr."""
    error: tuple[str, str] | None = None
    """`Type: message` of an exception that ended the call, and its traceback."""
    status: Status = Status.RETURNED
    detail: str = ""
    has_ended: bool = False
    """Whether it was its last."""


@dataclass(frozen=True, slots=True)
class Words:
    """What the fork server says of a call."""

    end: str = ""
    """How the trajectory's process ended, empty while it lives."""
    number: int = 0
    """Its exit status or signal."""
    output: tuple[tuple[int, str], ...] = ()
    """What processes wrote past the interpreter."""
    is_cut: bool = False
    is_late: bool = False
    """Whether its time was up, and it was interrupted."""


def request(kind: bytes, body: bytes) -> bytes:
    """One message to the fork server."""
    return REQUEST.pack(kind, len(body)) + body


def largest_reply(output_bytes: int) -> int:
    """Bytes that either part of a reply may have: JSON writes a control character in six."""
    return 6 * output_bytes + 2**18


def parse_words(data: bytes) -> Words:
    """The fork server's own words. Raises ForgedReplyError if they are not of that shape."""
    if not data:
        return Words()
    told = _loaded(data)
    end, number = told.get("end", ""), told.get("number", 0)
    if not isinstance(end, str) or not isinstance(number, int):
        raise ForgedReplyError("words of another shape")
    output = tuple(_output(told.get("output", [])))
    return Words(end, number, output, told.get("cut") is True, told.get("late") is True)


def parse_answer(data: bytes) -> Answer:
    """The answer of a trajectory's process. Raises ForgedReplyError if it is not of that shape."""
    told = _loaded(data)
    value, shown, error, detail = (told.get(name) for name in ("value", "shown", "error", "detail"))
    texts = [text for text in (value, shown, *(error if isinstance(error, list) else [])) if text is not None]
    if not all(isinstance(text, str) for text in texts) or not isinstance(detail, str):
        raise ForgedReplyError("an answer of another shape")
    if error is not None and (not isinstance(error, list) or len(error) != 2 or None in error):
        raise ForgedReplyError("an exception of another shape")
    status = told.get("status")
    if not isinstance(status, str) or status not in _ANSWERED:
        raise ForgedReplyError("a status that is not its to give")
    return Answer(
        _output(told.get("output")),
        value,
        shown,
        (error[0], error[1]) if error else None,
        Status(status),
        " ".join(detail.split())[:_DETAIL],
        told.get("ended") is True,
    )


def _loaded(data: bytes) -> dict[str, Any]:
    try:
        told = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ForgedReplyError("not JSON") from error
    if not isinstance(told, dict):
        raise ForgedReplyError("not an object")
    return told


def _output(parts: Any) -> list[tuple[int, str]]:
    if not isinstance(parts, list):
        raise ForgedReplyError("output of another shape")
    output = []
    for part in parts:
        if not isinstance(part, list) or len(part) != 2 or part[0] not in (1, 2) or not isinstance(part[1], str):
            raise ForgedReplyError("output of another shape")
        output.append((int(part[0]), part[1]))
    return output
