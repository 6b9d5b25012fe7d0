"""Where two normalised texts part, for a person to read."""

import difflib

LONGEST = 4000
"""Characters of a difference that are kept as evidence."""
_CONTEXT = 3
_MOST_LINES = 120
_LONGEST_LINE = 400


def unified(record: str, rerun: str) -> str | None:
    """A unified diff around the first difference, bounded; None where the texts are the same."""
    if record == rerun:
        return None
    mine, ours = record.split("\n"), rerun.split("\n")
    start = max(0, _first_difference(mine, ours) - _CONTEXT)
    mine, ours = _window(mine, start), _window(ours, start)
    lines = difflib.unified_diff(mine, ours, "recorded", "rerun", n=_CONTEXT, lineterm="")
    text = "\n".join(lines)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def first_difference(record: str, rerun: str) -> str:
    """One line: which line differs first, and how it reads in each."""
    mine, ours = record.split("\n"), rerun.split("\n")
    at = _first_difference(mine, ours)
    left = _shown(mine[at]) if at < len(mine) else "(nothing)"
    right = _shown(ours[at]) if at < len(ours) else "(nothing)"
    if left == right and at < len(mine) and at < len(ours):
        column = shared_start(mine[at], ours[at])
        left, right = _shown(mine[at][column:]), _shown(ours[at][column:])
    return f"first difference at line {at + 1}: {left} / {right}"


def shared_start(one: str, two: str) -> int:
    """How many characters two texts share from their start."""
    low, high = 0, min(len(one), len(two))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == two[:middle] else (low, middle - 1)
    return low


def _first_difference(mine: list[str], ours: list[str]) -> int:
    for at, (left, right) in enumerate(zip(mine, ours, strict=False)):
        if left != right:
            return at
    return min(len(mine), len(ours))


def _window(lines: list[str], start: int) -> list[str]:
    cut = [line if len(line) <= _LONGEST_LINE else line[:_LONGEST_LINE] + "…" for line in lines[start:][:_MOST_LINES]]
    rest = len(lines) - start - _MOST_LINES
    return [*cut, f"… {rest} more lines"] if rest > 0 else cut


def _shown(line: str) -> str:
    line = line.strip()
    if not line:
        return "(nothing)"
    return line if len(line) <= 60 else line[:59] + "…"
