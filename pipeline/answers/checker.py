"""Whether an answer matches the ground truth, and which rule decided.

The rules in order; the first that can decide does:

exact            equal in normal form (case, space, articles, accents, quotes, markup)
multiple_choice  the truth is an option letter, or an option with its text
yes_no           the truth is yes, no, true, false
numeric          both are one number, perhaps with a unit
list             both list values: [1, 2], (1, 2), {1, 2}; element by element
mathematics      both look like formulas, and math-verify can read them
token_f1         short texts share enough tokens, and agree on numbers and negations
none             nothing matches
undecidable      no verdict: nothing to compare with, code, an essay, or a truth that is a part of the answer
"""

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import orjson

from pipeline.answers.choices import is_option, is_yes_no, option_of, option_text, options_of, yes_or_no
from pipeline.answers.extract import extract_answer, marked_answer
from pipeline.answers.mathematics import Compared, both_mathematical, compare_mathematics
from pipeline.answers.normalise import NEGATIONS, contains, fold, normal, plain, token_f1, tokens
from pipeline.answers.quantities import Quantity, compare_quantities, read_quantity
from pipeline.config import AnswerGate

MAX_WORDS = 40
"""A longer text is free-form: token overlap says nothing about it."""

MAX_ANSWER_CHARS = 20_000
"""What of a long answer is looked at, from its end."""

_CODE = re.compile(
    r"```|\bdef \w+\(|^\s*assert\s.*(?:==|\(| in )|^\s*class \w+\s*[:({]|^\s*#include\b|^\s*from \S+ import "
    r"|\breturn \w+[(;]|;[ \t]*\n|=>\s*\{|^\w+\(\w+\s*=",
    re.M,
)
_BRACKETS = {"[": "]", "(": ")", "{": "}"}
_SEPARATOR = re.compile(r"\s*[,;]\s*(?:and\s+)?|\s+and\s+")


@dataclass(frozen=True, slots=True)
class Check:
    """A verdict on an answer: `matches` is None where `rule` is "undecidable"."""

    matches: bool | None
    rule: str
    detail: str = ""


def check_answer(answer: str | None, truth: str | None, config: AnswerGate) -> Check:
    r"""Whether the answer matches the ground truth.

    The truth may be a JSON list of texts: any of them is accepted. A truth or answer that carries its own mark
    (`#### 18`, `\boxed{18}`) is taken from there. Cost: 20-100 us, 5-150 ms where mathematics has to decide.
    """
    if truth is None or not truth.strip():
        return Check(None, "undecidable", "no ground truth")
    if answer is None or not answer.strip():
        return Check(None, "undecidable", "no answer")
    return _check(answer[-MAX_ANSWER_CHARS:], truth, config.relative_tolerance, config.min_f1)


@lru_cache(maxsize=65_536)
def _check(answer: str, truth: str, relative_tolerance: float, min_f1: float) -> Check:
    """`check_answer` for texts that are there."""
    stated = marked_answer(answer) or answer
    stated_normal = normal(stated)
    if stated_normal and stated_normal == normal(truth):
        return Check(True, "exact")
    structure = _structure(truth)
    if isinstance(structure, list) and structure and all(isinstance(item, str) for item in structure):
        return _check_any(stated, structure, relative_tolerance, min_f1)
    if isinstance(structure, dict) or (
        isinstance(structure, list) and any(isinstance(i, list | dict) for i in structure)
    ):
        return Check(None, "undecidable", "ground truth is structured")
    truth = marked_answer(truth) or truth
    if _CODE.search(truth):
        return Check(None, "undecidable", "ground truth is code")
    if len(truth.split()) > MAX_WORDS:
        return Check(None, "undecidable", "ground truth is free-form text")
    if len(stated.split()) > MAX_WORDS:
        extracted = extract_answer(stated)
        if extracted is None or len(extracted.split()) > MAX_WORDS:
            return Check(None, "undecidable", "no final answer in a long text")
        stated = extracted
    return _decide(plain(stated), plain(truth), relative_tolerance, min_f1)


def _structure(truth: str) -> Any:
    """The JSON list or object a truth consists of; None for any other text."""
    if truth.lstrip()[:1] not in "[{":
        return None
    try:
        return orjson.loads(truth)
    except orjson.JSONDecodeError:
        return None


def _check_any(answer: str, accepted: list[str], relative_tolerance: float, min_f1: float) -> Check:
    """The check against the accepted answer that matches; else undecidable if any of them is, else no match."""
    checks = [_check(answer, truth, relative_tolerance, min_f1) for truth in accepted if truth.strip()]
    for index, check in enumerate(checks):
        if check.matches:
            return replace(check, detail=f"accepted answer {index + 1} of {len(checks)}")
    whole = _compare_lists(_items(plain(answer)), ("[", [plain(item) for item in accepted]), relative_tolerance)
    if whole is not None and whole.matches:
        return whole
    return next(
        (check for check in checks if check.matches is None), checks[0] if checks else Check(None, "undecidable")
    )


def _decide(answer: str, truth: str, relative_tolerance: float, min_f1: float) -> Check:
    """The verdict on two plain, short texts."""
    answer_normal, truth_normal = fold(answer), fold(truth)
    if not truth_normal or not answer_normal:
        return Check(None, "undecidable", "nothing but punctuation")
    if answer_normal == truth_normal:
        return Check(True, "exact")
    check = (
        _choice(answer, truth) or _yes_no(answer_normal, truth_normal) or _numeric(answer, truth, relative_tolerance)
    )
    if check is None:
        check = _compare_lists(_items(answer), _items(truth), relative_tolerance)
    if check is None and both_mathematical(answer, truth):
        check = _mathematics(answer, truth, relative_tolerance)
    return check or _words(answer_normal, truth_normal, min_f1)


def _choice(answer: str, truth: str) -> Check | None:
    """The verdict where the truth is an option."""
    several = options_of(truth)
    if several is not None:
        named = options_of(answer)
        return Check(named == several, "multiple_choice") if named is not None else None
    if is_option(truth):
        if options_of(answer) is not None:
            return Check(False, "multiple_choice", "several options named")
        option = option_of(answer)
        if option is None:
            return Check(None, "undecidable", "the answer names no option letter")
        return Check(option == option_of(truth), "multiple_choice")
    words = option_text(truth)
    if words is None:
        return None
    option = option_of(answer)
    if option is None:
        same = normal(answer) == normal(words)
        return Check(True, "multiple_choice", "text of the option") if same else None
    return Check(option == option_of(truth), "multiple_choice")


def _yes_no(answer: str, truth: str) -> Check | None:
    """The verdict where the truth is yes or no."""
    if not is_yes_no(truth):
        return None
    said = yes_or_no(answer)
    return None if said is None else Check(said == yes_or_no(truth), "yes_no")


def _numeric(answer: str, truth: str, relative_tolerance: float) -> Check | None:
    """The verdict where both are one number."""
    theirs = read_quantity(truth)
    if theirs is None:
        return None
    mine = read_quantity(answer)
    if mine is None:
        _, items = _items(answer) or ("", [])
        values = [read_quantity(item) for item in items]
        if len(values) > 1 and any(
            v is not None and compare_quantities(v, theirs, relative_tolerance)[0] for v in values
        ):
            return Check(None, "undecidable", "the truth is one of several values given")
        return None
    matches, detail = compare_quantities(mine, theirs, relative_tolerance)
    return Check(matches, "undecidable" if matches is None else "numeric", detail)


def _items(text: str) -> tuple[str, list[str]] | None:
    """The opening bracket (empty if there is none) and the elements of a list of values; None if it is no list."""
    text = text.replace("\\{", "{").replace("\\}", "}").strip()
    _, sign, right = text.rpartition("=")
    text = right.strip() if sign and right.strip()[:1] in _BRACKETS else text
    opening = text[:1] if text[:1] in _BRACKETS and text.endswith(_BRACKETS[text[:1]]) else ""
    inner = text[1:-1] if opening else text
    if any(bracket in inner for bracket in "[]{}()"):
        return None
    items = [item.strip(" '\"") for item in _SEPARATOR.split(inner.strip()) if item]
    return (opening, items) if opening or len(items) > 1 else None


def _compare_lists(
    answer: tuple[str, list[str]] | None, truth: tuple[str, list[str]] | None, relative_tolerance: float
) -> Check | None:
    """The verdict on two lists of numbers or names; None where that is for another rule.

    Order counts in brackets and parentheses, not in braces or where neither side has brackets. Two elements in
    brackets of different kinds may be intervals, which is for mathematics to say.
    """
    if answer is None or truth is None:
        return None
    (mine_bracket, mine), (their_bracket, theirs) = answer, truth
    if mine_bracket and their_bracket and mine_bracket != their_bracket and len(theirs) == 2:
        return None
    numbers = [read_quantity(item) for item in theirs]
    numeric = all(number is not None for number in numbers)
    if not numeric and not their_bracket:
        return None
    if len(mine) != len(theirs):
        return Check(False, "list", f"{len(mine)} elements, not {len(theirs)}") if numeric else None
    unordered = "{" in (mine_bracket, their_bracket) or not (mine_bracket or their_bracket)
    if not numeric:
        equal = [normal(item) for item in mine] == [normal(item) for item in theirs]
        return Check(True, "list") if equal else None
    others = [read_quantity(item) for item in mine]
    if any(other is None for other in others):
        return None
    if unordered:
        return _same_elements(sorted(others, key=_value), sorted(numbers, key=_value), relative_tolerance)
    check = _same_elements(others, numbers, relative_tolerance)
    # A point's coordinates have an order; whether a list's elements do, only the question tells.
    if (
        not check.matches
        and "(" not in (mine_bracket, their_bracket)
        and sorted(map(_value, others)) == sorted(map(_value, numbers))
    ):
        return Check(None, "undecidable", "the same elements in another order")
    return check


def _same_elements(mine: list[Quantity | None], theirs: list[Quantity | None], relative_tolerance: float) -> Check:
    """The verdict on two lists of numbers, position by position."""
    pairs = zip(mine, theirs, strict=True)
    same = all(compare_quantities(a, b, relative_tolerance)[0] for a, b in pairs if a is not None and b is not None)
    return Check(same, "list", "" if same else "other elements")


def _value(quantity: Quantity | None) -> Any:
    """What a list without order is sorted by."""
    return quantity.value if quantity is not None else 0


def _mathematics(answer: str, truth: str, relative_tolerance: float) -> Check | None:
    """math-verify's verdict; None where it cannot read one of the two."""
    compared = compare_mathematics(answer, truth)
    if compared == Compared.UNREADABLE:
        return None
    if compared == Compared.TIMED_OUT:
        return Check(None, "undecidable", "mathematics timed out")
    if isinstance(compared, tuple):
        mine, theirs = compared
        return Check(abs(mine - theirs) <= relative_tolerance * abs(theirs), "mathematics", "by value")
    return Check(bool(compared), "mathematics")


def _words(answer: str, truth: str, min_f1: float) -> Check:
    """The verdict on two normal texts by their tokens."""
    mine, theirs = tokens(answer), tokens(truth)
    f1 = token_f1(mine, theirs)
    if not any((len(token) > 1 and token[0].isalpha()) or token[0] > "\u2fff" for token in theirs):
        # Symbols and numbers alone: shared tokens prove nothing (5! and 5), but a sentence may still hold the truth.
        if len(mine) > 6 and contains(mine, theirs):
            return Check(None, "undecidable", "one is a part of the other")
        return Check(False, "none", "nothing to compare by words")
    if f1 >= min_f1:
        if not {token for token in theirs if token[0].isdigit()} <= set(mine):
            return Check(False, "token_f1", f"f1 {f1:.2f}, but other numbers")
        if NEGATIONS.isdisjoint(mine) != NEGATIONS.isdisjoint(theirs):
            return Check(False, "token_f1", f"f1 {f1:.2f}, but one is negated")
        return Check(True, "token_f1", f"f1 {f1:.2f}")
    if _same_but_initials(mine, theirs):
        return Check(True, "token_f1", "same but for initials")
    negated = not NEGATIONS.isdisjoint(mine) and NEGATIONS.isdisjoint(theirs)
    if not negated and (contains(mine, theirs) or contains(theirs, mine)):
        return Check(None, "undecidable", "one is a part of the other")
    return Check(False, "none", f"f1 {f1:.2f}")


def _same_but_initials(answer: list[str], truth: list[str]) -> bool:
    """Whether two names differ only in initials for names spelt out: C. S. Lewis and Clive Staples Lewis."""
    if len(answer) != len(truth) or len(truth) < 2 or answer[-1] != truth[-1] or len(truth[-1]) < 2:
        return False
    pairs = list(zip(answer[:-1], truth[:-1], strict=True))
    return all(a == b or (min(len(a), len(b)) == 1 and a[0] == b[0] and a.isalpha() and b.isalpha()) for a, b in pairs)
