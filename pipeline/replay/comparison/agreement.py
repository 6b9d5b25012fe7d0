"""Whether two texts say the same: structure by structure, numbers by value, sets and mappings in any order."""

import re
from collections import Counter

from pipeline.replay.comparison.literals import NUMBER, STRING, Group, Leaf, Sequence, parse

RELATIVE = 1e-9
"""Numbers this near, relative to the larger, are one number: other processors and libraries round otherwise."""
NEAR_ZERO = 1e-14
"""A result this small and a plain zero are one number."""
_LAST_DIGIT_FROM = 8
"""Significant digits from which a difference of one in the last recorded one is rounding."""
LONGEST = 50_000
"""Characters of a text that is compared by value, which takes 2 microseconds each; of a longer one, what is left
between the lines that are equal at either end, and as it stands, spaces folded, where that is too long as well."""
_MOST_UNMATCHED = 40
"""Items of two sets, left over once equal ones are paired, that are tried against each other."""
_LONGEST_NUMBER = 400
_NUMBER = re.compile(r"[+-]?(\d*)(?:(\.)(\d*))?(?:[eE]([+-]?\d{1,3}))?$")


def texts_agree(record: str, rerun: str, *, rounded: bool = True) -> bool:
    """Whether the rerun says what the record says.

    `rounded`: a float of the record may be the rerun's, rounded to the digits the record shows.
    """
    if record == rerun:
        return True
    if len(record) > LONGEST or len(rerun) > LONGEST:
        record, rerun = _between_equal_lines(record, rerun)
        if len(record) > LONGEST or len(rerun) > LONGEST:
            return record.split() == rerun.split()
    if not record or not rerun:
        return False
    return groups_agree(parse(record), parse(rerun), rounded=rounded)


def groups_agree(record: Group, rerun: Group, *, rounded: bool = True) -> bool:
    """Whether two groups hold the same items, in any order where they are sets or mappings."""
    if record.opener != rerun.opener or len(record.items) != len(rerun.items):
        return False
    pairs = zip(record.items, rerun.items, strict=True)
    if all(sequences_agree(mine, ours, rounded=rounded) for mine, ours in pairs):
        return True
    if not (record.is_unordered and rerun.is_unordered):
        return False
    return _items_agree_in_any_order(record.items, rerun.items, rounded=rounded)


def sequences_agree(record: Sequence, rerun: Sequence, *, rounded: bool = True) -> bool:
    """Whether two items are the same, token by token."""
    if len(record) != len(rerun):
        return False
    for mine, ours in zip(record, rerun, strict=True):
        if isinstance(mine, Group):
            if not isinstance(ours, Group) or not groups_agree(mine, ours, rounded=rounded):
                return False
        elif isinstance(ours, Group) or not (mine == ours or leaves_agree(mine, ours, rounded=rounded)):
            return False
    return True


def leaves_agree(record: Leaf, rerun: Leaf, *, rounded: bool = True) -> bool:
    """Whether two tokens are the same: numbers by value, strings by what they hold, all else as written."""
    if record == rerun:
        return True
    if record[0] != rerun[0]:
        return False
    if record[0] == NUMBER:
        return numbers_agree(record[1], rerun[1], rounded=rounded)
    if record[0] == STRING and "." in record[1] and "." in rerun[1]:
        # no deeper: what a string holds is prose, its quotes and brackets are text
        mine, ours = record[1].split(" "), rerun[1].split(" ")
        return len(mine) == len(ours) and all(map(_words_agree, mine, ours))
    return False


def numbers_agree(record: str, rerun: str, *, rounded: bool = True) -> bool:
    """Whether two numbers, as written, are the same: integers exactly, floats to the precision recorded.

    A float rounds to the record only where the record shows at least three significant digits, or two behind the
    point, and does not end in `.0`, as whole floats are written: 3.14 is 3.14159, but 5.0 is not 5.04 nor 0.2 0.25.
    """
    if record == rerun:
        return True
    if (record[-1] in "jJ") != (rerun[-1] in "jJ"):
        return False
    mine, ours = record.rstrip("jJ"), rerun.rstrip("jJ")
    parts = _NUMBER.match(mine)
    if parts is None or _NUMBER.match(ours) is None or max(len(mine), len(ours)) > _LONGEST_NUMBER:
        return False
    is_whole = mine.lstrip("+-").isdigit()
    if is_whole and ours.lstrip("+-").isdigit():
        return mine.lstrip("+") == ours.lstrip("+")
    left, right = float(mine), float(ours)
    apart, largest = abs(left - right), max(abs(left), abs(right))
    if largest == float("inf"):
        return False
    if apart <= RELATIVE * largest or (0.0 in (left, right) and largest < NEAR_ZERO):
        return True
    if is_whole or not rounded:
        return False
    decimals = len(parts[3] or "")
    unit = float(f"1e{int(parts[4] or 0) - decimals}")
    digits = len((parts[1] + (parts[3] or "")).lstrip("0"))
    if digits >= _LAST_DIGIT_FROM and apart <= unit * (1 + RELATIVE):
        return True
    if parts[3] in (None, "", "0") or digits < 2 or (digits == 2 and decimals < 2):
        return False
    return _finest(ours) < unit and apart <= unit / 2 * (1 + RELATIVE)


def _between_equal_lines(record: str, rerun: str) -> tuple[str, str]:
    """The two without the lines they begin and end with alike.

    A bracket whose partner goes with them is punctuation in the rest, so that order counts there: never a looser rule.
    """
    mine, ours = record.split("\n"), rerun.split("\n")
    shortest = min(len(mine), len(ours))
    head = next((at for at in range(shortest) if mine[at] != ours[at]), shortest)
    tail = next((at for at in range(shortest - head) if mine[-1 - at] != ours[-1 - at]), shortest - head)
    return "\n".join(mine[head : len(mine) - tail]), "\n".join(ours[head : len(ours) - tail])


def _finest(number: str) -> float:
    parts = _NUMBER.match(number)
    return float(f"1e{int(parts[4] or 0) - len(parts[3] or '')}") if parts else 0.0


def _words_agree(record: str, rerun: str) -> bool:
    if record == rerun:
        return True
    both = (record.strip(",;:()[]"), rerun.strip(",;:()[]"))
    return all(_NUMBER.match(word) and word[-1:].isdigit() for word in both) and numbers_agree(*both)


def _items_agree_in_any_order(record: list[Sequence], rerun: list[Sequence], *, rounded: bool) -> bool:
    mine, ours = [_frozen(item) for item in record], [_frozen(item) for item in rerun]
    rest_mine = _left_over(mine, record, Counter(ours))
    rest_ours = _left_over(ours, rerun, Counter(mine))
    if len(rest_mine) > _MOST_UNMATCHED:
        return False
    for item in rest_mine:
        for place, other in enumerate(rest_ours):
            if sequences_agree(item, other, rounded=rounded):
                del rest_ours[place]
                break
        else:
            return False
    return not rest_ours


def _left_over(keys: list[object], items: list[Sequence], others: Counter[object]) -> list[Sequence]:
    rest = []
    for key, item in zip(keys, items, strict=True):
        if others[key] > 0:
            others[key] -= 1
        else:
            rest.append(item)
    return rest


def _frozen(item: Sequence) -> object:
    """The item as something hashable; unordered groups inside of it by their items, whatever their order."""
    frozen = []
    for node in item:
        if isinstance(node, Group):
            inner = [_frozen(each) for each in node.items]
            frozen.append((node.opener, frozenset(Counter(inner).items()) if node.is_unordered else tuple(inner)))
        else:
            frozen.append(node)
    return tuple(frozen)
