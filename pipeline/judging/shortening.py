"""Texts made to fit: what is too long loses its middle, and says how much."""

from collections.abc import Callable

_CHEAP = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ " + bytes(range(128, 256))
_MARGIN_WIDTH = 3
_MARKER_WIDTH = 48


def width(text: str) -> int:
    """How long a text counts: about two for each token it can cost, so that a limit on it is one on tokens.

    Latin letters and blanks count one, digits and signs two, a new line five with the margin it is given, any other
    character its bytes. Tokenizers spend a token on each digit and on most signs, and two bytes on one where a script
    is foreign to them; English text counts little more than its characters.
    """
    held = text.encode("utf-8", "replace")
    return len(held) + len(held.translate(None, _CHEAP)) + _MARGIN_WIDTH * held.count(b"\n")


def clip(text: str, limit: int, clean: Callable[[str], str]) -> str:
    """The cleaned text, without its middle where it is wider than `limit`; never wider than that and a marker.

    Of a text far too long only the two ends are cleaned: the cost is bounded by the limit, whatever comes.
    """
    if len(text) > 4 * limit:
        head, tail = clean(text[:limit]), clean(text[-limit:])
        between = len(text) - 2 * limit
    else:
        head = tail = clean(text)
        if width(head) <= limit:
            return head
        between = -len(head)
    half = max(limit - _MARKER_WIDTH, 0) // 2
    start, end = _fitting(head, half, from_end=False), _fitting(tail, half, from_end=True)
    left_out = between + len(head) + len(tail) - len(start) - len(end)
    return f"{start}\n[{left_out:,} characters left out here]\n{end}".strip("\n")


def _fitting(text: str, limit: int, *, from_end: bool) -> str:
    """As much of one end of the text as is no wider than the limit."""
    number = min(limit, len(text))
    while number and (found := width(text[-number:] if from_end else text[:number])) > limit:
        number = min(number - 1, number * limit // found)
    return "" if not number else text[-number:] if from_end else text[:number]
