"""What environments of other makers share: which calls are refused, and what becomes of results."""

import json
from fnmatch import fnmatchcase
from typing import Any

from pipeline.replay.config import HttpServer, McpServer, RegisteredClass
from pipeline.replay.environment import Observation, Status

MAX_RESULT_CHARS = 2**20
"""Longest result kept; a longer one makes the call unexecutable."""


class Crashes:
    """Remembers where an environment last crashed: a crash at the same call of the same trajectory is the call's."""

    def __init__(self) -> None:
        self._here: tuple[str, int, str, str] = ("", 0, "", "")
        self._last: tuple[str, int, str, str] | None = None

    def begin(self, trajectory_id: str) -> None:
        """A trajectory starts."""
        self._here = (trajectory_id, 0, "", "")

    def enter(self, name: str, arguments: str) -> None:
        """A call starts."""
        trajectory_id, index, _, _ = self._here
        self._here = (trajectory_id, index + 1, name, arguments)

    def observe(self, detail: str) -> Observation:
        """What the call that crashed it gets: `failed`, so that it is tried again, and `capped` when it was."""
        again, self._last = self._last == self._here, self._here
        if again:
            return Observation("", Status.CAPPED, f"crashed the environment: {detail}")
        return Observation("", Status.FAILED, detail)


def lost(broken: Observation) -> Observation:
    """What the calls behind a broken one get that needed its state."""
    return Observation("", broken.status, f"the state was lost: {broken.detail}")


def refused(config: McpServer | HttpServer | RegisteredClass, name: str) -> Observation | None:
    """Why a call must not be made again, None where it may."""
    if config.repeat == "never":
        return Observation("", Status.MISSING, "not declared read_only or reset")
    if config.repeat == "read_only" and any(fnmatchcase(name, glob) for glob in config.writes):
        return Observation("", Status.MISSING, f"tool {name} is declared as writing")
    return None


def read_arguments(arguments: str) -> dict[str, Any] | None:
    """The arguments of a call as an object, None where they are none; nothing at all is no arguments."""
    if not arguments.strip():
        return {}
    try:
        read = json.loads(arguments)
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) else None


def no_object() -> Observation:
    """What a call gets whose arguments are not an object."""
    return Observation("", Status.MISSING, "arguments are not a JSON object")


def as_text(value: Any) -> str:
    """A result as an agent is shown it: a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def returned(text: str, alternatives: tuple[str, ...] = ()) -> Observation:
    """The observation of a call that came back, unless it is too long."""
    if max(map(len, (text, *alternatives))) > MAX_RESULT_CHARS:
        return Observation("", Status.CAPPED, f"a result of more than {MAX_RESULT_CHARS} characters")
    return Observation(_valid(text), alternatives=tuple(map(_valid, alternatives)))


def _valid(text: str) -> str:
    """The text with half surrogate pairs, which JSON can say and no table can hold, as question marks."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="replace").decode()
    return text
