"""Where secrets stand in a text: detect-secrets' patterns, and the providers it has none for.

From detect-secrets only the plugins with a shape of their own are used: its entropy and keyword plugins fire on every
hash and on every `password = ` of a trace that writes code, its Artifactory and IBM ones on ordinary words, its OpenAI
one takes time quadratic in the text, and its IP plugin is about people and stands in `personal_patterns`.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from typing import cast

import orjson
from detect_secrets.plugins.aws import AWSKeyDetector
from detect_secrets.plugins.azure_storage_key import AzureStorageKeyDetector
from detect_secrets.plugins.base import RegexBasedDetector
from detect_secrets.plugins.discord import DiscordBotTokenDetector
from detect_secrets.plugins.github_token import GitHubTokenDetector
from detect_secrets.plugins.gitlab_token import GitLabTokenDetector
from detect_secrets.plugins.mailchimp import MailchimpDetector
from detect_secrets.plugins.pypi_token import PypiTokenDetector
from detect_secrets.plugins.sendgrid import SendGridDetector
from detect_secrets.plugins.slack import SlackDetector
from detect_secrets.plugins.square_oauth import SquareOAuthDetector
from detect_secrets.plugins.stripe import StripeDetector
from detect_secrets.plugins.telegram_token import TelegramBotTokenDetector
from detect_secrets.plugins.twilio import TwilioKeyDetector

Place = tuple[int, int]
"""Characters [start, end) of a text."""

Patterns = tuple[re.Pattern[str], ...]


def _own(*patterns: str) -> Patterns:
    return tuple(re.compile(pattern, re.ASCII) for pattern in patterns)


def _theirs(plugin: type[RegexBasedDetector]) -> Patterns:
    """A plugin's patterns held to ASCII, so that a search in Rust for the same shape finds no less."""
    patterns = cast("Sequence[re.Pattern[str]]", plugin.denylist)  # declared abstract, a list in every plugin
    return tuple(re.compile(pattern.pattern, pattern.flags & ~re.UNICODE | re.ASCII) for pattern in patterns)


PREFIXED: dict[str, tuple[tuple[str, ...], Patterns]] = {
    "aws_key": (("A3T", "ABIA", "ACCA", "AKIA", "ASIA"), _theirs(AWSKeyDetector)[:1]),
    "azure_storage_key": (("AccountKey=",), _theirs(AzureStorageKeyDetector)),
    "github_token": (
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
        (*_theirs(GitHubTokenDetector), *_own(r"github_pat_[A-Za-z0-9_]{36,255}")),
    ),
    "gitlab_token": (
        (
            "glpat-",
            "gldt-",
            "glft-",
            "glsoat-",
            "glrt-",
            "GR1348941",
            "glcbt-",
            "glimt-",
            "glptt-",
            "glagent-",
            "gloas-",
        ),
        _theirs(GitLabTokenDetector),
    ),
    "openai_key": (
        ("T3BlbkFJ", "sk-proj-", "sk-svcacct-", "sk-admin-"),
        _own(r"sk-[A-Za-z0-9_-]{20,200}T3BlbkFJ[A-Za-z0-9_-]{20,200}", r"sk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{20,}"),
    ),
    "anthropic_key": (("sk-ant-",), _own(r"sk-ant-[A-Za-z0-9_-]{20,}")),
    "openrouter_key": (("sk-or-",), _own(r"sk-or-(?:v1-)?[A-Za-z0-9_-]{20,}")),
    "huggingface_token": (("hf_", "api_org_"), _own(r"(?:hf_|api_org_)[A-Za-z0-9]{34,40}")),
    "google_key": (
        ("AIza", "GOCSPX-", "ya29."),
        _own(r"AIza[0-9A-Za-z_-]{35}", r"GOCSPX-[A-Za-z0-9_-]{28}", r"ya29\.[0-9A-Za-z_-]{20,}"),
    ),
    "groq_key": (("gsk_",), _own(r"gsk_[A-Za-z0-9]{40,}")),
    "xai_key": (("xai-",), _own(r"xai-[A-Za-z0-9]{60,}")),
    "nvidia_key": (("nvapi-",), _own(r"nvapi-[A-Za-z0-9_-]{40,}")),
    "wandb_key": (("wandb_v1_",), _own(r"wandb_v1_[A-Za-z0-9_]{40,}")),
    "databricks_token": (("dapi",), _own(r"dapi[a-f0-9]{32}(?:-[0-9])?")),
    "npm_token": (("npm_",), _own(r"npm_[A-Za-z0-9]{36}")),
    "pypi_token": (("pypi-Ag",), _theirs(PypiTokenDetector)),
    "sendgrid_key": (("SG.",), _theirs(SendGridDetector)),
    "square_secret": (("sq0csp-",), _theirs(SquareOAuthDetector)),
    "stripe_key": (("k_live_",), (*_theirs(StripeDetector), *_own(r"[rs]k_live_[0-9a-zA-Z]{24,247}"))),
}
"""Label to the literals one of which every match holds, and the patterns."""

SHAPED: dict[str, tuple[str, Patterns]] = {
    "discord_token": (
        r"[MNO][a-zA-Z0-9_-]{23,25}\.[a-zA-Z0-9_-]{6}\.[a-zA-Z0-9_-]{27}",
        _theirs(DiscordBotTokenDetector),
    ),
    "mailchimp_key": (r"[0-9a-z]{32}-us[0-9]", _theirs(MailchimpDetector)),
    "openai_key": (r"sk-[A-Za-z0-9]{32}", _own(r"sk-[A-Za-z0-9]{32,}")),
    "slack_token": (
        r"(?i)xox[a-z]-[0-9a-z-]|xapp-[0-9]|hooks\.slack\.com",
        (
            *_theirs(SlackDetector),
            *_own(r"xox[abposre]-[0-9A-Za-z-]{20,}", r"xapp-[0-9]-[A-Z0-9]+-[0-9]+-[a-f0-9]{32,}"),
        ),
    ),
    "telegram_token": (r"[0-9]{8}:[0-9A-Za-z_-]{35}", _theirs(TelegramBotTokenDetector)),
    "twilio_key": (r"(?:AC|SK)[a-z0-9]{32}", _theirs(TwilioKeyDetector)),
}
"""Label to a pattern of the Rust dialect that finds every text a match stands in, and the patterns."""

PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:[^\"]{0,20000}?-----END (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----|[A-Za-z0-9+/=:,\-\s\x00\\]{0,20000})"
)
"""The whole block and not, as detect-secrets has it, its first line; without an end, as far as the key may go."""

JWT = re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}={0,2}\.[A-Za-z0-9_=-]+(?:\.[A-Za-z0-9_.+/=-]*)?")
"""With its signature, which detect-secrets leaves outside of the match, and only at the start of a word: anywhere else
a long run of `eyJeyJ` would be walked through once for each of them."""

URL_PASSWORD = re.compile(r":/{2,4}[^\s/?#@:\"'<>\x00]{0,128}:([^\s/?#@\"'<>\x00]{1,256})@[\w\[]")
"""A password before the host of a URL; `/{2,4}` because an escaped slash takes two characters in JSON."""

_PLACEHOLDER = re.compile(
    r"^[<{$%\[(*].*|(?:your|my)?[-_ ]?(?:pass(?:word|wd)?|pwd|secret|token)$|[x.*]+$", re.IGNORECASE
)
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")

_MIN_DISTINCT = 6
"""Characters a token is made of; `sk-xxxxxxxx…` is a placeholder."""


def find_tokens(patterns: Patterns, text: str) -> Iterator[Place]:
    """Matches that are no part of a longer word and no placeholder."""
    for pattern in patterns:
        for match in pattern.finditer(text):
            start, end = match.span()
            inside = start > 0 and text[start - 1] in _WORD and text[start] in _WORD
            overrun = end < len(text) and text[end] in _WORD and text[end - 1] in _WORD
            if not inside and not overrun and len(set(match[0])) >= _MIN_DISTINCT:
                yield start, end


def find_private_keys(text: str) -> Iterator[Place]:
    """Private key blocks, from their first dash to their last."""
    for match in PRIVATE_KEY.finditer(text):
        yield match.span()


def find_jwts(text: str) -> Iterator[Place]:
    """JSON web tokens whose header decodes to a JSON object with an `alg`."""
    for match in JWT.finditer(text):
        if _is_jwt_header(match[0].partition(".")[0]):
            yield match.span()


def find_url_passwords(text: str) -> Iterator[Place]:
    """Passwords in the user part of a URL; not the URL, and no `<password>` or `${PASSWORD}`."""
    for match in URL_PASSWORD.finditer(text):
        if not _PLACEHOLDER.match(match[1]):
            yield match.span(1)


def _is_jwt_header(part: str) -> bool:
    try:
        header = orjson.loads(base64.urlsafe_b64decode(part.rstrip("=") + "=" * (-len(part.rstrip("=")) % 4)))
    except (binascii.Error, ValueError):
        return False
    return isinstance(header, dict) and "alg" in header
