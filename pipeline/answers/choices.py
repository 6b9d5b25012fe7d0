"""Answers that pick: an option of a multiple-choice question, or yes and no."""

import re

from pipeline.answers.normalise import NEGATIONS, tokens

_OPTION_TRUTH = re.compile(r"^[(\[]?\s*(?:option\s+|choice\s+)?([A-Ja-j])\s*[)\].:]?$")
_OPTION_WITH_TEXT = re.compile(r"^(?:[(\[]\s*([A-Ja-j])\s*[)\]]|([A-J])\s*[).:]|([a-j])\s*\))\s*[-:.]?\s*(\S.*)$", re.S)
_OPTION_NAMED = re.compile(
    r"\b(?:option|choice|answer)\s*(?:is\s*)?:?\s*[(\[]?([A-Ja-j])\b[)\]]?(?!')|^\s*([A-J])\s+(?:is|because|since|-)\s",
    re.I,
)
_SEVERAL = re.compile(r"^[(\[]?[A-J][)\]]?(?:\s*(?:,|;|and|&|or|/)\s*[(\[]?[A-J][)\]]?)+$", re.I)
_LETTER = re.compile(r"\b[A-J]\b", re.I)
_YES = frozenset({"yes", "true", "yeah", "yep", "correct", "right", "affirmative"})
_NO = frozenset({"no", "false", "nope", "incorrect", "wrong", "untrue"})
_SHORT_TRUTHS = _YES | _NO


def option_of(text: str) -> str | None:
    """The option letter a plain text names, upper case: "B", "(b)", "B) 75%", "option B"; None where it names none."""
    bare = _OPTION_TRUTH.match(text)
    if bare:
        return bare.group(1).upper()
    lettered = _OPTION_WITH_TEXT.match(text)
    if lettered:
        return next(letter for letter in lettered.groups()[:3] if letter).upper()
    named = {(letter or other).upper() for letter, other in _OPTION_NAMED.findall(text)}
    return named.pop() if len(named) == 1 else None


def options_of(text: str) -> frozenset[str] | None:
    """The letters of an answer that is nothing but several options; None for any other text."""
    return frozenset(letter.upper() for letter in _LETTER.findall(text)) if _SEVERAL.match(text) else None


def option_text(text: str) -> str | None:
    """The words of "B. Paris"; None where there is no letter before them."""
    lettered = _OPTION_WITH_TEXT.match(text)
    return lettered.group(4) if lettered else None


def is_option(truth: str) -> bool:
    """Whether a plain truth is one bare option letter."""
    return _OPTION_TRUTH.match(truth) is not None


def is_yes_no(truth: str) -> bool:
    """Whether a normal truth is yes, no, true, false or a synonym."""
    return truth in _SHORT_TRUTHS


def yes_or_no(answer: str) -> bool | None:
    """What a normal answer says: True for yes; None where it says neither, or both.

    The first word decides; else the one such word in the answer, turned round by a negation before it.
    """
    words = tokens(answer)
    if not words:
        return None
    if words[0] in _YES or words[0] in _NO:
        return words[0] in _YES
    said = [k for k, word in enumerate(words[:12]) if word in _SHORT_TRUTHS and word != "no"]
    if len(said) != 1:
        return None
    negated = any(word in NEGATIONS for word in words[: said[0]])
    return (words[said[0]] in _YES) != negated
