"""What cheap features read off a text: numbers, names, words, and marks of failing, hedging or breaking off."""

import polars as pl

MAX_CHARS = 4000
"""Of a longer text the first and the last half of this many characters count, so that a row costs a bounded time."""

FAILED = (
    r"(?i-u)traceback \(most recent"
    r"|^[\s\[({<\"'*#:-]{0,4}(?:[a-z_]*error|exception|invalid|failed|failure)\b"
    r"|\b(?:execution|request|command|call) failed\b"
    r"|(?:error|exception):|[\"']error[\"']\s*:|\bnot found\b|\bno such\b|\bcannot be found\b|\bdoes not exist\b"
    r"|^no [a-z]+ match|\bcould not\b|\bunable to\b|\bpermission denied\b|\btimed? ?out\b"
)
"""An observation that tells of a failure."""
NOTHING = (
    r"(?i)^\W*(?:none|null|nan|n/a|undefined|\[executed successfully with no output\]|no (?:output|results?))?\W*$"
)
"""An observation that tells nothing."""
GIVES_UP = (
    r"(?i-u)\bi (?:cannot|can't|can not|could not|couldn't|am unable|am not able|was unable|don't know|do not know)\b"
    r"|\bi'm (?:unable|not able)\b|\bno (?:answer|solution) (?:can|could|was)"
    r"|\bimpossible to (?:say|tell|determine|answer)"
    r"|\bnot (?:enough|sufficient) information\b|\bas an? (?:responsible )?(?:ai|language model)\b|\bunanswerable\b"
)
APOLOGISES = r"(?i-u)\b(?:sorry|apologi[sz]e|apologies|regret|unfortunately)\b"
HEDGES = (
    r"(?i-u)\b(?:maybe|perhaps|probably|possibly|likely|might|may|seems?|appears?|assum(?:e|ing|ption)|guess|approximately"
    r"|roughly|unsure|not sure|i think|i believe|presumably)\b"
)
TURNS_AROUND = (
    r"(?i-u)\b(?:but|however|although|though|instead|nevertheless|wait|actually|opposite|contrary|contradict\w*|reject\w*"
    r"|wrong|mistake\w*|correction|or not|no longer|yet)\b"
)
"""Words that take back what was said; one in a text is thinking, many are a text that disagrees with itself."""
NEGATES = r"(?i-u)\b(?:no|not|never|nothing|none|neither|nor|without|\w+n't)\b"
CONCLUDES = r"(?i-u)\b(?:therefore|thus|hence|so|because|since|answer is|final answer|result is|in total|comes to)\b"
WHOLE_END = r"[.!?\x{3002}\x{FF01}\x{FF1F}\x{2026}:)\]}>\"'\x{201D}\x{2019}`*|$\d%\x{B0}]\s*$"
"""How a text ends that was not cut off."""
CODE = r"(?-u)```|<execute>|^\s*(?:def|import|from|class|for|print)\b"

_NUMBER = r"\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+"
_NAME = r"\p{Lu}[\p{L}\d'\x{2019}-]+"
_WORD = r"\p{L}{4,}"


def clipped(text: pl.Expr, max_chars: int = MAX_CHARS) -> pl.Expr:
    """The text, never null, its middle left out where it is long."""
    held = text.fill_null("")
    short = pl.concat_str(held.str.head(max_chars // 2), pl.lit("\n"), held.str.tail(max_chars // 2))
    return pl.when(held.str.len_bytes() <= max_chars).then(held).otherwise(short)


def plain_arguments(arguments: pl.Expr) -> pl.Expr:
    """JSON arguments with escaped white space as white space, so that words do not begin with an n."""
    return clipped(arguments).str.replace_all(r"\\[nrt]", " ")


def numbers(text: pl.Expr) -> pl.Expr:
    """The numbers of a text in order, as text without thousands separators and trailing zeros."""
    token = pl.element().str.replace_all(",", "").str.replace(r"(\.\d*?)0+$", "${1}").str.strip_suffix(".")
    return text.str.extract_all(_NUMBER).list.eval(token)


def names(text: pl.Expr) -> pl.Expr:
    """The different capitalised words of a text, in lower case."""
    return text.str.extract_all(_NAME).list.eval(pl.element().str.to_lowercase()).list.unique(maintain_order=True)


def words(text: pl.Expr) -> pl.Expr:
    """The different words of four letters or more, in lower case; shorter ones are mostly grammar."""
    return text.str.to_lowercase().str.extract_all(_WORD).list.unique(maintain_order=True)


def ratio(part: pl.Expr, whole: pl.Expr, *, empty: float) -> pl.Expr:
    """The share `part / whole`, Float64; `empty` where the whole is zero or null."""
    return pl.when(whole.fill_null(0) > 0).then(part / whole).otherwise(pl.lit(empty)).fill_null(empty).cast(pl.Float64)


def size(count: pl.Expr) -> pl.Expr:
    """log(1 + count), 0 for null: a count whose large values do not drown the rest."""
    return count.fill_null(0).cast(pl.Float64).log1p()


def rate(text: pl.Expr, pattern: str, length: pl.Expr) -> pl.Expr:
    """Matches per hundred of `length` words, log(1 + rate)."""
    return size(100 * ratio(text.str.count_matches(pattern), length, empty=0.0))


def length_words(text: pl.Expr) -> pl.Expr:
    """Words of any length, a word being what stands between white space."""
    return text.str.count_matches(r"\S+")


def has(text: pl.Expr, pattern: str) -> pl.Expr:
    """1 where the pattern is found, else 0."""
    return text.str.contains(pattern).fill_null(value=False).cast(pl.Float64)
