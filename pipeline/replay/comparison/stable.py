"""What two runs have in common, as a pattern a record can contradict: where they differ, anything of the kind fits."""

import re
from dataclasses import dataclass

from pipeline.replay.comparison.agreement import LONGEST, leaves_agree, sequences_agree
from pipeline.replay.comparison.literals import NUMBER, PUNCTUATION, STRING, WORD, Group, Leaf, Sequence, parse

_MOST_MODELS = 8
"""Different ways in which items of one list may change for others to be held against each."""
_SHORTEST_ID = 6
"""Digits from which a number may be an id that holds letters the next time."""


@dataclass(frozen=True, slots=True)
class Free:
    """A place that changes from run to run: fits a token of one of these kinds, or a group of one of these openers."""

    kinds: frozenset[str]
    is_float: bool = False


@dataclass(frozen=True, slots=True)
class Ends:
    """Lines or tokens of which only the first and the last are the same in both runs."""

    head: list
    tail: list


Pattern = list  # of Leaf, Free, or _GroupPattern


@dataclass(frozen=True, slots=True)
class _GroupPattern:
    opener: str
    items: "list[Pattern | Ends] | Ends"
    is_unordered: bool


def contradicts_stable(record: str, first: str, second: str) -> bool:
    """Whether the record differs from what two differing runs share."""
    if max(len(record), len(first), len(second)) > LONGEST:
        return False
    return not _fits_group(parse(record), _common_group(parse(first), parse(second)))


def contradicts_shape(record: str, rerun: str) -> bool:
    """Whether the record differs from the rerun in more than numbers, strings and words: in lines or punctuation."""
    if max(len(record), len(rerun)) > LONGEST:
        return False
    return not _fits_group(parse(record), _freed_group(parse(rerun)))


def _common_group(first: Group, second: Group) -> _GroupPattern:
    unordered = first.is_unordered and second.is_unordered
    items: list[Pattern | Ends] | Ends
    if len(first.items) == len(second.items):
        pairs = zip(_aligned(first), _aligned(second), strict=True)
        items = _alike_freed([_common_sequence(mine, other) for mine, other in pairs])
    else:
        items = _ends(first.items, second.items)
    return _GroupPattern(first.opener, items, unordered)


def _aligned(group: Group) -> list[Sequence]:
    """The items, those of sets and mappings in an order of their own."""
    return sorted(group.items, key=repr) if group.is_unordered else group.items


def _common_sequence(first: Sequence, second: Sequence) -> Pattern | Ends:
    if len(first) != len(second):
        return _ends(first, second)
    return [_common_node(mine, other) for mine, other in zip(first, second, strict=True)]


def _common_node(first: Leaf | Group, second: Leaf | Group) -> Leaf | Free | _GroupPattern:
    if isinstance(first, Group) and isinstance(second, Group):
        if first.opener == second.opener and len(first.items) == len(second.items):
            return _common_group(first, second)
        return Free(_kinds_of(first) | _kinds_of(second))
    if isinstance(first, tuple) and isinstance(second, tuple) and leaves_agree(first, second, rounded=False):
        return first
    return Free(_kinds_of(first) | _kinds_of(second), _is_float(first) or _is_float(second))


def _alike_freed(items: "list[Pattern | Ends]") -> "list[Pattern | Ends]":
    """The items, those made like one that changes in its place: of ten dice, some fall alike twice."""
    models: list[Pattern] = []
    for item in items:
        if isinstance(item, list) and any(isinstance(node, Free) for node in item) and item not in models:
            models.append(item)
    if not 0 < len(models) <= _MOST_MODELS:
        return items
    return [next((model for model in models if _is_like(item, model)), item) for item in items]


def _is_like(item: "Pattern | Ends", model: Pattern) -> bool:
    if not isinstance(item, list) or len(item) != len(model):
        return False
    return all(
        (isinstance(mine, tuple) and _kinds_of(mine) <= free.kinds and _is_float(mine) == free.is_float)
        if isinstance(free, Free)
        else mine == free
        for mine, free in zip(item, model, strict=True)
    )


def _is_float(node: Leaf | Group) -> bool:
    return isinstance(node, tuple) and node[0] == NUMBER and "." in node[1]


def _ends(first: list, second: list) -> Ends:
    shortest = min(len(first), len(second))
    head = 0
    while head < shortest and _same(first[head], second[head]):
        head += 1
    tail = 0
    while tail < shortest - head and _same(first[-1 - tail], second[-1 - tail]):
        tail += 1
    return Ends([_exact(each) for each in first[:head]], [_exact(each) for each in first[len(first) - tail :]])


def _same(first: Leaf | Group | Sequence, second: Leaf | Group | Sequence) -> bool:
    mine = first if isinstance(first, list) else [first]
    other = second if isinstance(second, list) else [second]
    return sequences_agree(mine, other, rounded=False)


def _exact(each: Leaf | Group | Sequence) -> object:
    """A pattern that only the thing itself fits."""
    if isinstance(each, Group):
        return _GroupPattern(each.opener, [_exact(item) for item in each.items], each.is_unordered)  # type: ignore[list-item]
    return [_exact(node) for node in each] if isinstance(each, list) else each


def _freed_group(group: Group) -> _GroupPattern:
    return _GroupPattern(group.opener, [[_freed(node) for node in item] for item in group.items], group.is_unordered)


def _freed(node: Leaf | Group) -> Leaf | Free | _GroupPattern:
    if isinstance(node, Group):
        return _freed_group(node)
    return node if node[0] == PUNCTUATION else Free(_kinds_of(node))


def _kinds_of(node: Leaf | Group) -> frozenset[str]:
    if isinstance(node, Group):
        return frozenset((node.opener,))
    kind, text = node
    if kind == NUMBER:
        return frozenset((NUMBER, WORD) if len(text) >= _SHORTEST_ID and text.isdigit() else (NUMBER,))
    if kind == WORD and re.search(r"\d", text):
        return frozenset((NUMBER, WORD))
    return frozenset((kind,))


def _fits_group(record: Group, pattern: _GroupPattern) -> bool:
    if record.opener != pattern.opener:
        return False
    if isinstance(pattern.items, Ends):
        return _fits_ends(record.items, pattern.items)
    if len(record.items) != len(pattern.items):
        return False
    if all(map(_fits_sequence, record.items, pattern.items)):
        return True
    return pattern.is_unordered and _fits_in_any_order(record.items, pattern.items)


def _fits_in_any_order(items: list[Sequence], patterns: "list[Pattern | Ends]") -> bool:
    rest = list(patterns)
    for item in items:
        place = next((at for at, pattern in enumerate(rest) if _fits_sequence(item, pattern)), None)
        if place is None:
            return False
        del rest[place]
    return True


def _fits_sequence(record: Sequence, pattern: "Pattern | Ends") -> bool:
    if isinstance(pattern, Ends):
        return _fits_ends(record, pattern)
    return len(record) == len(pattern) and all(map(_fits_node, record, pattern))


def _fits_ends(record: list, ends: Ends) -> bool:
    if len(record) < len(ends.head) + len(ends.tail):
        return False
    head, tail = record[: len(ends.head)], record[len(record) - len(ends.tail) :]
    return all(map(_fits_any, head, ends.head)) and all(map(_fits_any, tail, ends.tail))


def _fits_any(record: Leaf | Group | Sequence, pattern: object) -> bool:
    if isinstance(record, list):
        return isinstance(pattern, list | Ends) and _fits_sequence(record, pattern)
    return _fits_node(record, pattern)


def _fits_node(record: Leaf | Group, pattern: object) -> bool:
    if isinstance(pattern, Free):
        kind = record.opener if isinstance(record, Group) else record[0]
        return kind in pattern.kinds or (kind == STRING and WORD in pattern.kinds)
    if isinstance(record, Group):
        return isinstance(pattern, _GroupPattern) and _fits_group(record, pattern)
    return isinstance(pattern, tuple) and leaves_agree(record, pattern)  # type: ignore[arg-type]
