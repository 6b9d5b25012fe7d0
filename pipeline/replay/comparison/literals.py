"""Text as a tree of numbers, strings, words and brackets: what Python, JSON, numpy and sympy print, prose around it.

Nothing is evaluated: the text is untrusted.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

NUMBER, STRING, WORD, PUNCTUATION, NEWLINE = "n", "s", "w", "p", "l"

Leaf = tuple[str, str]
"""Kind and text."""

_MAX_DEPTH = 60
"""Brackets nested deeper are punctuation."""

_NUMBER_PATTERN = r"(?:\d++(?:\.\d*+)?+|\.\d++)(?:[eE][+-]?\d++)?+"
_SIGN = r"(?:(?<![\w)\]}.])[+-])?"
_TOKEN = re.compile(
    r"(?P<l>\n)"
    r"|(?P<s>(?<!\w)[bu]?(?:'(?:[^'\\\n]|\\.)*+'|\"(?:[^\"\\\n]|\\.)*+\")(?!\w))"
    r"|(?P<e>\\.)"
    r"|(?P<u>[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}(?!\w)|\d++(?:\.\d++){2,})"
    rf"|(?P<j>(?<![\w.])[+-]?{_NUMBER_PATTERN}[jJ](?!\w)|(?<=[\w.])[+-]{_NUMBER_PATTERN}[jJ](?!\w))"
    rf"|(?P<n>{_SIGN}(?<![\w.]){_NUMBER_PATTERN}(?!\w)|{_SIGN}(?<![\w.])\d++\.\d++(?=[A-Za-z]))"
    r"|(?P<w>\w+)"
    r"|(?P<o>(?<![\w}^\\)\]]){)"
    r"|(?P<p>[()\[\]{},:;'\"]|([^\w\s])\10*+)",
)
_OPENERS = {"(": ")", "[": "]", "{": "}"}
_CLOSERS = frozenset(_OPENERS.values())
_WORDS = {"true": "True", "false": "False", "null": "None", "NaN": "nan", "Infinity": "inf"}
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r"}


@dataclass(slots=True)
class Group:
    """What stands between two brackets, split at its commas; the whole text is a group of lines, its opener empty."""

    opener: str
    items: "list[Sequence]"
    is_unordered: bool = False
    """Whether it is a set or a mapping: the order of its items says nothing."""


Sequence = list[Leaf | Group]


def leaves_of(text: str) -> list[Leaf]:
    """The text's tokens in order, newlines among them."""
    return [_leaf(found.lastgroup or PUNCTUATION, found[0]) for found in _TOKEN.finditer(text)]


@lru_cache(maxsize=16)
def parse(text: str) -> Group:
    """The text as a group of lines; a bracket that is never closed is punctuation. Not to be altered: it is cached."""
    found = list(_TOKEN.finditer(text))
    closes = _partners([match[0] if match.lastgroup in ("p", "o") else "" for match in found])
    document = Group("", [[]])
    stack = [document]
    ends: list[int] = []
    for index, match in enumerate(found):
        kind, token, group = match.lastgroup or PUNCTUATION, match[0], stack[-1]
        if kind == "l":
            if len(stack) == 1 and group.items[-1]:
                group.items.append([])
        elif kind == "p" and token == "," and len(stack) > 1:
            group.items.append([])
        elif index in closes:
            inner = Group(token, [[]], is_unordered=kind == "o")
            group.items[-1].append(inner)
            stack.append(inner)
            ends.append(closes[index])
        elif ends and ends[-1] == index:
            ends.pop()
            closed = stack.pop()
            if closed.items == [[]]:
                closed.items = []
        else:
            group.items[-1].append(_leaf(kind, token))
    if not document.items[-1]:
        document.items.pop()
    return document


def string_content(text: str) -> str:
    """The characters a quoted string stands for, a leading b kept."""
    marked = text[0] == "b"
    start = 1 if text[0] in "bu" else 0
    content = text[start + 1 : -1]
    if "\\" in content:
        content = _ESCAPE.sub(_unescaped, content)
    return "b" + content if marked else content


def _leaf(kind: str, token: str) -> Leaf:
    if kind in ("n", "j"):
        return NUMBER, token
    if kind == "w":
        return WORD, _WORDS.get(token, token)
    if kind == "s":
        return STRING, string_content(token)
    if kind == "u":
        return WORD, token
    if kind == "l":
        return NEWLINE, token
    return PUNCTUATION, token


def _partners(tokens: list[str]) -> dict[int, int]:
    """Index of each opening bracket that is closed, to the index of what closes it."""
    stack: list[int] = []
    partners: dict[int, int] = {}
    for index, token in enumerate(tokens):
        if token in _OPENERS:
            if len(stack) < _MAX_DEPTH:
                stack.append(index)
        elif token in _CLOSERS:
            place = len(stack) - 1
            while place >= 0 and _OPENERS[tokens[stack[place]]] != token:
                place -= 1
            if place >= 0:
                partners[stack[place]] = index
                del stack[place:]
    return partners


def _unescaped(found: re.Match[str]) -> str:
    code = found[1] or found[2]
    if code is not None:
        return chr(int(code, 16))
    return _ESCAPED.get(found[3], found[3])
