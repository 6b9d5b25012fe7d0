"""Records that a loop cut short and marked so: the rest must begin and end the rerun."""

import re
from collections import deque

from pipeline.replay.comparison.agreement import LONGEST, leaves_agree
from pipeline.replay.comparison.literals import Leaf, leaves_of

_CUTS = "truncated|omitted|elided|clipped|cut off|shortened"
_MARKER = re.compile(
    rf"(?:\.\.\.|…)?\s{{0,4}}(?:"
    rf"[\[(<][^\[\]()<>\n]{{0,80}}?\b(?:{_CUTS})\b[^\[\]()<>\n]{{0,80}}[\])>]"
    rf"|^\W{{0,4}}(?:output|observation|result|text|response) (?:was |is )?(?:{_CUTS})\b[^\n]{{0,80}}$"
    rf")(?:\s{{0,4}}(?:\.\.\.|…))?",
    re.IGNORECASE | re.MULTILINE,
)
_HINT = re.compile(rf"(?:{_CUTS})", re.IGNORECASE)
_DOTS = ("...", "…")
_SHORTEST_MARKED = 16
"""Characters that must be left beside a marker that can be nothing else."""
_SHORTEST_DOTTED = 64
"""Characters that must stand before mere dots: `Loading...` is an output, not a cut one."""


def kept_parts(record: str) -> tuple[str, str] | None:
    """What a cut record kept, before and behind its marker; None where it has none."""
    if _HINT.search(record):
        for found in deque(_MARKER.finditer(record), maxlen=1):
            head, tail = record[: found.start()].rstrip(), record[found.end() :].strip()
            return (head, tail) if len(head) + len(tail) >= _SHORTEST_MARKED else None
    for dots in _DOTS:
        if record.endswith(dots) and len(record) >= _SHORTEST_DOTTED + len(dots):
            return record[: -len(dots)].rstrip(), ""
    return None


def is_cut_from(kept: tuple[str, str], rerun: str) -> bool:
    """Whether the rerun begins with the one part and ends with the other, and holds more than both."""
    head, tail, whole = (" ".join(text.split()) for text in (*kept, rerun))
    if len(whole) <= len(head) + len(tail):
        return False
    if whole.startswith(head) and whole.endswith(tail):
        return True
    if len(head) + len(tail) > LONGEST:
        return False
    # numbers may be written longer or shorter, so that a little more of the rerun is looked at than was kept
    mine, ours = leaves_of(head), leaves_of(whole[: 2 * len(head) + _SHORTEST_DOTTED])
    rest, end = leaves_of(tail), leaves_of(whole[-2 * len(tail) - _SHORTEST_DOTTED :])
    return _begins(mine, ours) and _begins(rest[::-1], end[::-1], at_end=True)


def _begins(part: list[Leaf], whole: list[Leaf], *, at_end: bool = False) -> bool:
    """Whether the tokens are the first of the whole; the one at the cut may itself be cut."""
    if not part:
        return True
    *sure, last = part
    if len(part) > len(whole) or not all(
        mine == ours or leaves_agree(mine, ours) for mine, ours in zip(sure, whole, strict=False)
    ):
        return False
    at_cut = whole[len(sure)][1]
    return at_cut.endswith(last[1]) if at_end else at_cut.startswith(last[1])
