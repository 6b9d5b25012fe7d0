"""Which texts may hold a secret or a personal datum, and exactly where they hold it.

Two steps, as Python over every text would cost minutes: `groups_in` is a handful of searches in Rust, a superset of
what any detector can fire on (a property test holds that); `find_places` runs the detectors on what is left.
"""

import bisect
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import polars as pl

from pipeline.privacy.personal_patterns import (
    RESERVED_DOMAINS,
    find_cards,
    find_emails,
    find_ibans,
    find_ips,
    find_phones,
    find_ssns,
)
from pipeline.privacy.secret_patterns import (
    PREFIXED,
    SHAPED,
    find_jwts,
    find_private_keys,
    find_tokens,
    find_url_passwords,
)

SECRET = "secret"
PERSONAL_DATA = "personal_data"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Characters [start, end) of a text that hold a secret or a personal datum."""

    start: int
    end: int
    label: str
    kind: str


_LITERALS = sorted({literal for literals, _ in PREFIXED.values() for literal in literals} | {"eyJ", "PRIVATE KEY", "@"})

_SHAPED_SECRET = "shaped_secret"
_LITERAL = "literal"

_NUMBERED = {
    "credit_card": (r"[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}|[0-9]{4}[ -]?[0-9]{6}[ -]?[0-9]{4}", find_cards),
    "iban": (r"[A-Z]{2}[0-9]{2}[ -]?[A-Z0-9]{4}[ -]?[A-Z0-9]{4}", find_ibans),
    "us_ssn": (r"[0-9]{3}-[0-9]{2}-[0-9]{4}|[0-9]{9}", find_ssns),
    "ip_address": (r"(?:[0-9]{1,3}\.){3}[0-9]|[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]{2}", find_ips),
    "phone": (
        r"[0-9](?:[ .-]?[0-9]){8}|\([0-9]{3}\)[ -]?[0-9]{3}[ .-][0-9]{4}|\+[1-9][0-9]{0,2}(?:[ ./()-]{0,2}[0-9]){6}",
        find_phones,
    ),
}
"""Label to a pattern of the Rust dialect that stands in every text the detector fires on, and the detector.
The surer ones first: a card number is no phone number."""

_PREFILTERS = {
    _SHAPED_SECRET: "|".join(f"(?:{shape})" for shape, _ in SHAPED.values()),
    **{label: pattern for label, (pattern, _) in _NUMBERED.items()},
}

ALL_GROUPS = frozenset({_LITERAL, *_PREFILTERS})

_JSON_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{4}|.)", re.DOTALL)


def groups_in(text: pl.Expr) -> pl.Expr:
    """The groups of detectors that could fire on the text, as a list; one left out cannot. Null stays null."""
    held = [text.str.contains_any(_LITERALS).alias(_LITERAL)]
    held.extend(text.str.contains(pattern).alias(label) for label, pattern in _PREFILTERS.items())
    named = [pl.when(flag).then(pl.lit(flag.meta.output_name())) for flag in held]
    return pl.when(text.is_not_null()).then(pl.concat_list(named).list.drop_nulls())


def find_places(
    text: str, allowed_domains: Collection[str] = RESERVED_DOMAINS, groups: Collection[str] = ALL_GROUPS
) -> list[Place]:
    """The secrets and personal data of a text, in order and without overlap; where two overlap the secret stays.

    In a text that looks like JSON an escape is never part of a place, so that cutting a place out leaves whole escapes.
    `groups` spares the detectors that `groups_in` has ruled out.
    """
    view = _without_escapes(text) if is_json_like(text) else text
    found = [Place(*place, label, SECRET) for label, places in _secrets(view, groups) for place in places]
    found.extend(
        Place(*place, label, PERSONAL_DATA)
        for label, places in _personal(view, allowed_domains, groups)
        for place in places
    )
    return _without_overlap(found)


def is_json_like(text: str) -> bool:
    """Whether the text starts as a JSON object, array or string does."""
    return text.lstrip()[:1] in ("{", "[", '"')


def _secrets(text: str, groups: Collection[str]) -> Iterator[tuple[str, Iterator[tuple[int, int]]]]:
    """Places by label, of the detectors whose literals stand in the text."""
    if _LITERAL in groups:
        if "PRIVATE KEY" in text:
            yield "private_key", find_private_keys(text)
        for label, (literals, patterns) in PREFIXED.items():
            if any(literal in text for literal in literals):
                yield label, find_tokens(patterns, text)
        if "eyJ" in text:
            yield "jwt", find_jwts(text)
        if "@" in text:
            yield "url_password", find_url_passwords(text)
    if _SHAPED_SECRET in groups:
        for label, (_, patterns) in SHAPED.items():
            yield label, find_tokens(patterns, text)


def _personal(
    text: str, allowed_domains: Collection[str], groups: Collection[str]
) -> Iterator[tuple[str, Iterator[tuple[int, int]]]]:
    """Places by label."""
    if _LITERAL in groups and "@" in text:
        yield "email", find_emails(text, allowed_domains)
    for label, (_, find) in _NUMBERED.items():
        if label in groups:
            yield label, find(text)


def _without_overlap(places: Iterable[Place]) -> list[Place]:
    """The places in order, without those that touch an earlier one of the input; of one label's own the longer wins."""
    kept: list[Place] = []
    for place in places:
        at = bisect.bisect_left(kept, place.start, key=lambda other: other.end)
        at += at < len(kept) and kept[at].end == place.start
        if at == len(kept) or place.end <= kept[at].start:
            kept.insert(at, place)
        elif kept[at].label == place.label and _length(place) > _length(kept[at]):
            after = next((k for k in range(at, len(kept)) if kept[k].start >= place.end), len(kept))
            if all(other.label == place.label for other in kept[at:after]):
                kept[at:after] = [place]
    return kept


def _length(place: Place) -> int:
    return place.end - place.start


def _without_escapes(text: str) -> str:
    """The text at the same length with JSON escapes blanked by a character no pattern takes, an escaped slash kept."""
    if "\\" not in text:
        return text
    return _JSON_ESCAPE.sub(lambda match: "//" if match[0] == "\\/" else "\x00" * len(match[0]), text)
