"""Two ways of writing the same answer, made one: normal form, tokens, and their F1."""

import re
import unicodedata
from collections import Counter

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_SUPERSCRIPT_RUN = re.compile("[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_VULGAR = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅞])")
_TYPOGRAPHY = str.maketrans(
    dict.fromkeys("\u2212\u2013\u2014\u2010\u2011", "-")
    | dict.fromkeys("\u2018\u2019\u00b4", "'")
    | dict.fromkeys("\u201c\u201d", '"')
    | {"\u2044": "/"}
)
_ACCENTS = re.compile("[\u0300-\u036f]")
_WRAPPER = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mbox|emph|operatorname|boxed|fbox)\s*\{([^{}]*)\}")
_THIN_SPACE = re.compile(r"\\[,;:! ]|\\quad|~")
_TAGS = re.compile(r"</?(?:b|i|em|strong|p|sub|sup|answer|solution)>", re.I)
_SHORT_RANGE = re.compile(r"\b(\d\d)(\d\d)\s?-\s?(\d\d)\b(?!-)")
_SPACES = re.compile(r"\s+")
_ARTICLES = re.compile(r"\b(?:a|an|the)\b(?=\s+\S)")
_PAIRS = (
    ('"', '"'),
    ("'", "'"),
    ("`", "`"),
    ("**", "**"),
    ("*", "*"),
    ("_", "_"),
    ("\\(", "\\)"),
    ("\\[", "\\]"),
    ("$", "$"),
)
_TOKEN = re.compile(
    r"\d+(?:[.,]\d+)*|[^\W\d_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]", re.U
)
_LEAD_IN = re.compile(
    r"^(?:so|thus|therefore|hence)?,?\s*(?:(?:the|my)\s+)?(?:final\s+|correct\s+)?answer\s*(?:is\b\s*:?|:|=)\s*", re.I
)

NEGATIONS = frozenset(
    {"not", "no", "never", "neither", "nor", "none", "without", "cannot", "isn", "wasn", "aren", "doesn", "don", "didn"}
)


def plain(text: str) -> str:
    """The text with markup taken off and typographic variants made one; case and inner punctuation kept."""
    if not text.isascii():
        text = _SUPERSCRIPT_RUN.sub(lambda run: "^" + run.group().translate(_SUPERSCRIPTS), text)
        text = unicodedata.normalize("NFKC", _VULGAR.sub(" ", text)).translate(_TYPOGRAPHY)
    if "\\" in text or "~" in text or "{" in text:
        text = _THIN_SPACE.sub(" ", _WRAPPER.sub(r" \1 ", text).replace("{,}", ","))
        text = text.replace("\\$", "$").replace("\\%", "%").replace("\\left", "").replace("\\right", "")
    if "<" in text:
        text = _TAGS.sub(" ", text)
    text = _SPACES.sub(" ", text).strip()
    return unwrap(_LEAD_IN.sub("", text))


def unwrap(text: str) -> str:
    """The text without the quotes, emphasis and closing punctuation around it; a decimal point or factorial stays."""
    if text[:1].isalnum() and text[-1:].isalnum():
        return text
    previous = None
    while text != previous:
        previous = text
        text = text.strip()
        for start, end in _PAIRS:
            inner = text[len(start) : -len(end)]
            if inner and text.startswith(start) and text.endswith(end) and start not in inner and end not in inner:
                text = inner
        while text and (text[-1] in ",;:" or (text[-1] in ".?" and not text.endswith(".."))):
            text = text[:-1].rstrip()
        while text and (text[0] in ",;:" or (text[0] == "." and not text[1:2].isdigit())):
            text = text[1:].lstrip()
        if len(text) > 1 and text[-1] == "!" and text[-2].isalpha() and len(text.split()) > 1:
            text = text[:-1]
    return text


def normal(text: str) -> str:
    """The form in which two exactly matching answers are equal: plain, lower case, without accents and articles."""
    return fold(plain(text))


def fold(text: str) -> str:
    """The normal form of a text that is plain already."""
    text = text.lower()
    if not text.isascii():
        text = unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFD", text)))
    if "-" in text:
        text = _SHORT_RANGE.sub(r"\1\2-\1\3", text)
    return _SPACES.sub(" ", _ARTICLES.sub("", text)).strip()


def tokens(normalised: str) -> list[str]:
    """The words and numbers of a normal text, articles left out; a Chinese or Japanese character is a word."""
    return [token for token in _TOKEN.findall(normalised) if token not in ("a", "an", "the")]


def token_f1(answer: list[str], truth: list[str]) -> float:
    """SQuAD's token F1: the harmonic mean of precision and recall over the bags of tokens."""
    common = (Counter(answer) & Counter(truth)).total()
    return 2 * common / (len(answer) + len(truth)) if common else 0.0


def contains(outer: list[str], inner: list[str]) -> bool:
    """Whether the tokens of `inner` stand together, in order, in `outer`."""
    width = len(inner)
    return 0 < width < len(outer) and any(
        outer[k : k + width] == inner for k in range(len(outer) - width + 1) if outer[k] == inner[0]
    )
