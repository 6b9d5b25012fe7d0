"""Numbers in answers: reading one as a person writes it, and deciding whether two are equal."""

import re
from dataclasses import dataclass, replace
from fractions import Fraction

from pipeline.answers.units import SCALES, UNITS

MAX_CHARS = 200
"""Longer texts hold no single number; also what keeps the patterns below cheap."""

MAX_EXPONENT = 400
"""Beyond the largest float a number is symbolic."""

FLOAT_NOISE = Fraction(1, 10**6)
"""Relative difference that adding up floats leaves: 2.9999999 is the integer 3, 3.0001 is not."""

_FRACTION = re.compile(r"(\d)?\s*\\[dtc]?frac\s*(?:\{\s*(-?[\d,.]+)\s*\}|(\d))\s*(?:\{\s*(-?[\d,.]+)\s*\}|(\d))")
_NUMBER = re.compile(
    r"(?P<sign>[+-]?)\s*(?P<currency>us\$|[$€£¥₹])?\s*(?P<sign2>-?)\s*"
    r"(?:(?P<whole>\d+)\s+(?P<mixed_over>\d+)\s*/\s*(?P<mixed_under>\d+)"
    r"|\(?(?P<over>-?\d+(?:\.\d+)?)\)?\s*/\s*\(?(?P<under>\d+(?:\.\d+)?)\)?(?![\d/])"
    r"|(?P<digits>\d{1,3}(?:[, ]\d{3})+(?![\d])(?:\.\d+)?|\d+(?:\.\d*)?|\.\d+)"
    r"(?:e(?P<exponent>[+-]?\d+)(?![\d.])"
    r"|\s*(?:x|\u00d7|\*|·|\\times|\\cdot)\s*10\s*(?:\^|\*\*)\s*[{(]?\s*(?P<power>[+-]?\d+)\s*[)}]?)?)",
    re.I,
)
_BRACED_WORD = re.compile(r"(?<=[\d ])\{([A-Za-z ]+)\}")
_POWER_OF_TEN = re.compile(r"^10\s*(?:\^|\*\*)\s*[{(]?\s*([+-]?\d+)\s*[)}]?")
_HEDGE = re.compile(
    r"^(?:(?:is|about|approximately|approx\.?|around|roughly|exactly|only|just|(?:a )?total of|[≈~=:]|\\approx)\s*)+",
    re.I,
)
_UNIT = re.compile(r"^[^\W\d_]?[^\d,;:=<>+!?\[\]{}]{0,40}?(?:\^\s*\{?-?[23]\}?)?[^\d,;:=<>+!?\[\]{}]{0,20}$")
_NO_UNIT = re.compile(r"[a-z]\(|^[/*^]|\\[a-z]+")
_PERCENT = re.compile(r"^(?:%|percent(?:age)?|per cent)\s*")
_ANY_DIGIT = re.compile(r"\d")
_LINK = re.compile(
    r"\b(?:is|are|was|were|be|has|have|had|in|on|of|equals?|totals?|costs?|makes?|takes?|gets?|needs?|about|around|there)\b",
    re.I,
)
_CHANGES_MEANING = re.compile(
    r"\b(?:not|no|never|cannot|unknown|or|and|to|either|between|except|less|fewer|greater|more than|at least|at most"
    r"|than|under|over|above|below|plus|minus|half|version)\b|n't\b",
    re.I,
)
_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_WORDS = {word: k for k, word in enumerate(_ONES.split())} | {
    word + joint: 10 * (k + 2) + j
    for k, word in enumerate(_TENS.split())
    for j, joint in enumerate(["", *(f"-{one}" for one in _ONES.split()[1:10])])
}
_NUMBER_WORD = re.compile(rf"\b(?:{'|'.join(sorted(_WORDS, key=len, reverse=True))})\b", re.I)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number as written."""

    value: Fraction
    decimals: int | None
    """Digits after the point; None for a fraction, whose decimal form may not end."""
    significant: int
    """Significant digits as written."""
    approximate: bool
    """Written in scientific notation or with more digits than a float holds: never compared as an exact integer."""
    percent: bool
    unit: str
    """Lower case, as written; a currency sign counts; empty where there is none."""


def read_quantity(text: str) -> Quantity | None:
    """The number a plain text consists of, with its unit; None unless there is exactly one.

    Reads thousands separators, signs, currencies, fractions, mixed numbers, scientific notation, percent, number words,
    scale words (million), `x = 3`, and a short sentence with one number in it ("There are 5 apples").
    """
    if len(text) > MAX_CHARS:
        return None
    if "{" in text:
        text = _BRACED_WORD.sub(r" \1", text)
    text = _HEDGE.sub("", _formula_side(_FRACTION.sub(_slash, text)).strip()).strip()
    text = _NUMBER_WORD.sub(lambda word: str(_WORDS[word.group().lower()]), text)
    if text[:1] == "(" and text.find(")") == len(text) - 1:
        text = text[1:-1].strip()
    whole = _whole(text)
    return whole if whole is not None else _lone(text)


def _formula_side(text: str) -> str:
    """What stands right of the last equals sign, if the left is one formula or name and no list of equations."""
    left, sign, right = text.rpartition("=")
    if not sign or not left.strip() or left.rstrip()[-1] in "<>!=≠" or re.search(r"[,;\n]| and | or ", left):
        return text
    return right


def _slash(match: re.Match[str]) -> str:
    r"""A LaTeX fraction as `1/2`, a mixed one as `1 1/2`."""
    whole, over, over_digit, under, under_digit = match.groups()
    over, under = over or over_digit, under or under_digit
    if under.startswith("-"):
        under, over = under[1:], f"-{over}"
    return f"{whole} {over}/{under}" if whole else f"{over}/{under}"


def _whole(text: str) -> Quantity | None:
    """The number that, with a unit, is the whole text."""
    power = _POWER_OF_TEN.match(text)
    if power:
        value = _scaled(Fraction(1), power.group(1))
        written = None if value is None else Quantity(value, None, 1, approximate=True, percent=False, unit="")
        return _with_rest(written, text[power.end() :])
    match = _NUMBER.match(text)
    if match is None:
        return None
    part = match.groupdict()
    sign = -1 if (part["sign"] == "-") != (part["sign2"] == "-") else 1
    unit = (part["currency"] or "").lower()
    decimals, significant, approximate = None, 99, False
    if part["whole"] is not None or part["over"] is not None:
        under = Fraction(part["mixed_under"] or part["under"])
        if not under:
            return None
        value = Fraction(part["whole"] or 0) + Fraction(part["mixed_over"] or part["over"]) / under
    else:
        digits = part["digits"].replace(",", "").replace(" ", "")
        exponent = part["exponent"] or part["power"]
        value = _scaled(Fraction(digits.rstrip(".") or "0"), exponent)
        decimals = len(digits.partition(".")[2]) if exponent is None else None
        significant = len(digits.replace(".", "").lstrip("0"))
        approximate = exponent is not None or significant > 15
    if value is None:
        return None
    written = Quantity(sign * value, decimals, significant, approximate=approximate, percent=False, unit=unit)
    return _with_rest(written, text[match.end() :])


def _scaled(value: Fraction, exponent: str | None) -> Fraction | None:
    """The value times ten to the exponent; None where that is beyond any float."""
    if exponent is None:
        return value
    if len(exponent) > 4 or abs(int(exponent)) > MAX_EXPONENT:
        return None
    return value * Fraction(10) ** int(exponent)


def _with_rest(written: Quantity | None, rest: str) -> Quantity | None:
    """The quantity, once the text after the digits reads as scale, percent sign and unit; None if it says more."""
    rest = rest.strip().rstrip(".").lower()
    if written is None or _CHANGES_MEANING.search(rest):
        return None
    first, _, others = rest.lstrip("-").strip().partition(" ")
    if first in SCALES:
        written, rest = replace(written, value=written.value * SCALES[first], decimals=None), others.strip()
    unit = _PERCENT.sub("", rest).lstrip("-").strip()
    if unit not in UNITS and not _reads_as_unit(unit):
        return None
    return replace(written, percent=_PERCENT.match(rest) is not None, unit=written.unit or unit)


def _reads_as_unit(text: str) -> bool:
    """Whether the text can be the words after a number: no call, operator or command, and no variable (2x)."""
    return len(text) != 1 and len(text) <= 60 and _UNIT.match(text) is not None and _NO_UNIT.search(text) is None


def _lone(text: str) -> Quantity | None:
    """The one number of a short sentence that says nothing else about it."""
    words = text.split()
    if not 2 <= len(words) <= 15 or _CHANGES_MEANING.search(text):
        return None
    start = _ANY_DIGIT.search(text)
    if start is None:
        return None
    begin = start.start()
    while begin and text[begin - 1] in "-+.$€£¥₹(":
        begin -= 1
    before = text[:begin]
    if not before.endswith(" ") or not _LINK.search(before):
        return None
    return _whole(text[begin:].strip("() "))


def compare_quantities(answer: Quantity, truth: Quantity, relative_tolerance: float) -> tuple[bool | None, str]:
    """Whether the answer is the true number, and on what ground.

    None where a percent sign can be read two ways, or one number is a coarse rounding of the other.
    """
    mine, theirs = UNITS.get(answer.unit), UNITS.get(truth.unit)
    if mine is not None and theirs is not None:
        if mine[0] != theirs[0]:
            return False, f"{mine[0]} is not {theirs[0]}"
        return _close(answer, truth, mine[1] / theirs[1], relative_tolerance)
    matches, ground = _close(answer, truth, Fraction(1), relative_tolerance)
    if answer.percent == truth.percent:
        return matches, ground
    factor = Fraction(1, 100) if answer.percent else Fraction(100)
    if _close(answer, truth, factor, relative_tolerance)[0]:
        return True, "percent written as a fraction"
    if matches and abs(truth.value) <= 1:
        return None, "a number up to 1 with and without a percent sign"
    return (True, "percent sign left out") if matches else (matches, ground)


def _close(answer: Quantity, truth: Quantity, factor: Fraction, relative_tolerance: float) -> tuple[bool | None, str]:
    """Whether the answer times `factor` is the true number. Integers must be exact."""
    mine, theirs = answer.value * factor, truth.value
    if mine == theirs:
        return True, "equal"
    difference = abs(mine - theirs)
    loose = answer.approximate or truth.approximate
    if difference <= FLOAT_NOISE * abs(theirs) and (mine.denominator != 1 or loose):
        return True, "equal but for float noise"
    if theirs.denominator == 1 and not loose:
        return False, "another number"
    if difference <= Fraction(relative_tolerance) * abs(theirs):
        return True, "within tolerance"
    rounded = _is_rounding(answer, truth, difference) if factor == 1 else False
    return rounded, "another number" if rounded is False else "rounded"


def _is_rounding(answer: Quantity, truth: Quantity, difference: Fraction) -> bool | None:
    """Whether one number is the other rounded; None where it is so coarse that they may be two numbers.

    The rounding must keep three digits and drop two places: 12.5 for 12.46 may well be another result. Rounding to
    a whole number counts only with both; of less, nothing can be said for the answer.
    """
    verdict: bool | None = False
    for rough, fine in ((answer, truth), (truth, answer)):
        if rough.decimals is None or difference > Fraction(1, 2 * 10**rough.decimals):
            continue
        dropped = 2 if fine.decimals is None else fine.decimals - rough.decimals
        if dropped >= 2 and rough.significant >= 3:
            return True
        if dropped >= 1 and rough.decimals >= 1:
            verdict = None
    return verdict
