"""Texts made to fit: what is too long loses its middle, and says how much."""

from collections.abc import Callable

_CHEAP = b"abcdefghijklmnopqrstuvwxyz " + bytes(range(0x80, 0xC0))
_RARE = bytes(range(0xF0, 0xF8))
_RARE_WIDTH = 3
_MARGIN_WIDTH = 3
_MARKER_WIDTH = 48


def width(text: str) -> int:
    """How long a text counts: about two for each token it can cost, so that a limit on it is one on tokens.

    Small letters and blanks count one, capitals, digits and signs two, a new line five with the margin it is given, any
    other character one more than its bytes, and the rarest, of four bytes, eight. Tokenizers spend a token on each
    digit, on most signs, and on every byte or two of a script that is foreign to them; English text counts a tenth to a
    fifth more than its characters.
    """
    held = text.encode("utf-8", "replace")
    wide = len(held) + len(held.translate(None, _CHEAP)) + _MARGIN_WIDTH * held.count(b"\n")
    return wide if text.isascii() else wide + _RARE_WIDTH * (len(held) - len(held.translate(None, _RARE)))


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
