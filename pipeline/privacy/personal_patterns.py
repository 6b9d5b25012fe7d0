"""Where personal data stands in a text: shapes by pattern, then checked by phonenumbers and python-stdnum.

presidio-analyzer, the other well-kept choice, cannot be imported without spaCy, and asks the network for a list of
domains to check an e-mail address. Names, postal addresses and dates of birth are not found: without a language model
nothing finds them reliably.
"""

import ipaddress
import re
from collections.abc import Collection, Iterator

import phonenumbers
from stdnum import iban, luhn
from stdnum.us import ssn

from pipeline.privacy.secret_patterns import Place

RESERVED_DOMAINS = ("example.com", "example.org", "example.net", "example.edu")
"""Domains that belong to nobody (RFC 2606); a subdomain of them neither."""

_RESERVED_TLDS = frozenset({"example", "test", "invalid", "localhost", "local", "internal"})
_FILE_TLDS = frozenset({"png", "jpg", "jpeg", "gif", "svg", "webp", "js", "ts", "css", "py", "md", "json", "html"})
_ROBOTS = frozenset({"git", "hg", "svn"})

EMAIL = re.compile(r"(?<![\w.%+~-])\w[\w.%+~-]{0,63}@(?:[^\W_](?:[\w-]{0,62})\.){1,8}[^\W\d_]{2,24}(?![\w@])")
CARD = re.compile(
    r"(?<![\w.])(?:[0-9]{4}([ -]?)[0-9]{4}\1[0-9]{4}\1[0-9]{4}(?:[0-9]{3})?|3[47][0-9]{2}([ -]?)[0-9]{6}\2[0-9]{5}"
    r"|3[0689][0-9]{2}([ -]?)[0-9]{6}\3[0-9]{4})(?![\w-]|\.[0-9])"
)
CARD_ISSUER = re.compile(
    r"4[0-9]{15}(?:[0-9]{3})?$|5[1-5][0-9]{14}$|2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)[0-9]{12}$"
    r"|3[47][0-9]{13}$|3(?:0[0-5]|[689][0-9])[0-9]{11}$|35(?:2[89]|[3-8][0-9])[0-9]{12}$"
    r"|6(?:011|4[4-9][0-9]|5[0-9]{2})[0-9]{12}(?:[0-9]{3})?$|62[0-9]{14}(?:[0-9]{3})?$"
)
"""Numbers an issuer gives out, by first digits and length; Luhn alone passes one id in ten."""

IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?(?![A-Za-z0-9])")
SSN = re.compile(r"(?<![\w-])[0-9]{3}-[0-9]{2}-[0-9]{4}(?![\w-])")
BARE_SSN = re.compile(r"(?<![\w.-])[0-9]{9}(?![\w-]|\.[0-9])")
SSN_CONTEXT = re.compile(r"(?:ssn|social[ _-]?security)[^0-9,;{}\n]{0,30}$", re.IGNORECASE)

IPV4 = re.compile(r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w.]*[0-9])(?![A-Za-z_])")
IPV6 = re.compile(r"(?<![\w:.])[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]{2,35}(?![\w:]|\.[0-9])")
_VERSION_CONTEXT = re.compile(
    r"(?:versions?|ver|release|build|firmware|oid|section|[A-Za-z]/|[=~<>^]=|@)\W{0,3}$", re.IGNORECASE
)
_PUBLIC_RESOLVERS = frozenset({"8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9", "1.2.3.4", "208.67.222.222"})

INTERNATIONAL_PHONE = re.compile(r"(?<![\w+])\+[1-9][0-9]{0,2}(?:[ ./()-]{0,2}[0-9]){6,13}(?![\w-]|\.[0-9])")
FORMATTED_PHONE = re.compile(
    r"(?<![\w.$€£+-])(?:1[ .-])?(?:\([0-9]{3}\)[ -]?[0-9]{3}[ .-][0-9]{4}|[0-9]{3}([ .-])[0-9]{3}\1[0-9]{4})"
    r"(?![\w-]|[.,][0-9])"
)
BARE_PHONE = re.compile(r"(?<![\w.$€£+-])0?[0-9](?:[ .-]?[0-9]){8,10}(?![\w-]|[.,][0-9])")
PHONE_CONTEXT = re.compile(
    r"(?:phone|mobile|\bcell\b|\bfax|\btel\b|whatsapp|\bcall (?:me|us)\b|contact[ _-]?(?:no|num))[^0-9,;{}\n]{0,30}$",
    re.IGNORECASE,
)
_LEADING_DATE = re.compile(r"(?:19|20)[0-9]{2}-[01][0-9]-")

_CONTEXT_CHARS = 50
"""How far before a bare number the word that says what it is may begin."""

_NATIONAL_REGIONS = ("US", "GB")
"""Whose numbers are read without a country code, and only where the text calls them phone numbers."""


def find_emails(text: str, allowed_domains: Collection[str] = RESERVED_DOMAINS) -> Iterator[Place]:
    """E-mail addresses, but for reserved domains, `git@host` and file names like `logo@2x.png`."""
    for match in EMAIL.finditer(text):
        local, _, domain = match[0].lower().rpartition("@")
        tld = domain.rpartition(".")[2]
        if tld in _RESERVED_TLDS or tld in _FILE_TLDS or local in _ROBOTS:
            continue
        if not any(domain == allowed or domain.endswith("." + allowed) for allowed in allowed_domains):
            yield match.span()


def find_cards(text: str) -> Iterator[Place]:
    """Payment card numbers: an issuer's shape, and a Luhn check digit."""
    for match in CARD.finditer(text):
        digits = match[0].replace(" ", "").replace("-", "")
        if CARD_ISSUER.match(digits) and luhn.is_valid(digits) and len(set(digits)) > 1:
            yield match.span()


def find_ibans(text: str) -> Iterator[Place]:
    """International bank account numbers with the length of their country and valid check digits."""
    for match in IBAN.finditer(text):
        end = match.end()
        while end - match.start() >= 15:
            if iban.is_valid(text[match.start() : end], check_country=False):
                yield match.start(), end
                break
            # a word in capitals after the number may have been taken for its last group
            end = max(text.rfind(" ", match.start(), end), match.start())


def find_ssns(text: str) -> Iterator[Place]:
    """US social security numbers: written 3-2-4, or nine digits the text calls by their name."""
    for match in SSN.finditer(text):
        if ssn.is_valid(match[0]):
            yield match.span()
    for match in BARE_SSN.finditer(text):
        if _follows(SSN_CONTEXT, text, match.start()) and ssn.is_valid(match[0]):
            yield match.span()


def find_ips(text: str) -> Iterator[Place]:
    """Public IP addresses: no private, reserved or documentation range, no known resolver, no version number."""
    for pattern in (IPV4, IPV6):
        for match in pattern.finditer(text):
            before = text[max(0, match.start() - 12) : match.start()]
            if match[0] in _PUBLIC_RESOLVERS or _VERSION_CONTEXT.search(before):
                continue
            try:
                address = ipaddress.ip_address(match[0])
            except ValueError:
                continue
            if address.is_global and not address.is_multicast:
                yield match.span()


def find_phones(text: str) -> Iterator[Place]:
    """Phone numbers: international ones, US ones as they are written, and bare ones the text calls phone numbers.

    Written plainly a number must be one that is given out; where the text or its brackets say that it is a phone
    number, a possible one is enough (555 numbers are never given out).
    """
    for match in INTERNATIONAL_PHONE.finditer(text):
        if _is_number(match[0], None, strict=True) or _follows(PHONE_CONTEXT, text, match.start()):
            yield match.span()
    for match in FORMATTED_PHONE.finditer(text):
        loose = "(" in match[0] or _follows(PHONE_CONTEXT, text, match.start())
        if _is_number(match[0], "US", strict=not loose):
            yield match.span()
    for match in BARE_PHONE.finditer(text):
        if (
            _follows(PHONE_CONTEXT, text, match.start())
            and not _LEADING_DATE.match(match[0])
            and any(_is_number(match[0], region, strict=region != "US") for region in _NATIONAL_REGIONS)
        ):
            yield match.span()


def _follows(context: re.Pattern[str], text: str, start: int) -> bool:
    """Whether the words just before `start` say what stands there."""
    return context.search(text[max(0, start - _CONTEXT_CHARS) : start]) is not None


def _is_number(text: str, region: str | None, *, strict: bool) -> bool:
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.is_valid_number(number) if strict else phonenumbers.is_possible_number(number)
