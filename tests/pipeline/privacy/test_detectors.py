"""What the detectors find, what they leave alone, and that the search before them rules out nothing they would find.

Every secret here is made up; they are put together at run time, so that no scanner takes this file for a leak.
"""

import time

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.privacy.detectors import ALL_GROUPS, find_places, groups_in

LOWER, MIXED, DIGITS, HEX = (
    "abcdefghijklmnopqrstuvwxyz",
    "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7",
    "0123456789",
    "0a1b2c3d4e5f6789",
)


def token(prefix: str, alphabet: str, length: int) -> str:
    return prefix + (alphabet * (length // len(alphabet) + 1))[:length]


PEM = "-----BEGIN {0}-----\n" + MIXED * 4 + "\n" + MIXED * 2 + "=\n-----END {0}-----"
JWT = "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxIn0." + MIXED

SECRETS = [
    ("aws_key", token("AK" + "IA", "ABCDEFGH2345", 16)),
    ("aws_key", token("AS" + "IA", "ABCDEFGH2345", 16)),
    ("azure_storage_key", token("Account" + "Key=", MIXED, 86) + "=="),
    ("github_token", token("gh" + "p_", MIXED, 36)),
    ("github_token", token("github_" + "pat_", MIXED, 60)),
    ("gitlab_token", token("gl" + "pat-", MIXED, 20)),
    ("openai_key", token("sk-", MIXED, 20) + "T3Blbk" + "FJ" + MIXED[:20]),
    ("openai_key", token("sk-" + "proj-", MIXED, 48)),
    ("openai_key", token("sk-", MIXED, 48)),
    ("anthropic_key", token("sk-" + "ant-api03-", MIXED, 60)),
    ("openrouter_key", token("sk-" + "or-v1-", HEX, 64)),
    ("huggingface_token", token("h" + "f_", MIXED, 34)),
    ("google_key", token("AI" + "za", MIXED, 35)),
    ("google_key", token("GOC" + "SPX-", MIXED, 28)),
    ("groq_key", token("gs" + "k_", MIXED, 52)),
    ("nvidia_key", token("nv" + "api-", MIXED, 64)),
    ("databricks_token", token("da" + "pi", HEX, 32)),
    ("npm_token", token("np" + "m_", MIXED, 36)),
    ("pypi_token", token("py" + "pi-AgEIcHlwaS5vcmc", MIXED, 80)),
    ("sendgrid_key", token("S" + "G.", MIXED, 22) + "." + token("", MIXED, 43)),
    ("slack_token", "xo" + "xb-" + DIGITS + "-" + DIGITS + "-" + MIXED[:24]),
    ("slack_token", "https://hooks.slack" + ".com/services/T" + DIGITS + "/B" + DIGITS + "/" + MIXED),
    ("square_secret", token("sq0" + "csp-", MIXED, 43)),
    ("stripe_key", token("sk_" + "live_", MIXED, 24)),
    ("telegram_token", DIGITS[1:] + ":" + token("AA", MIXED, 33)),
    ("twilio_key", token("A" + "C", HEX, 32)),
    ("mailchimp_key", token("", HEX, 32) + "-us12"),
    ("discord_token", token("M", MIXED, 24) + "." + MIXED[:6] + "." + MIXED[:27]),
    ("private_key", PEM.format("RSA PRIVATE KEY")),
    ("private_key", PEM.format("PRIVATE KEY")),
    ("private_key", PEM.format("OPENSSH PRIVATE KEY")),
    ("private_key", PEM.format("PGP PRIVATE KEY BLOCK")),
    ("jwt", JWT),
    ("url_password", "hunter2!"),
]

PERSONAL = [
    ("email", "jane.doe+news@mail.acme.io"),
    ("email", "jörg@müller.de"),
    ("phone", "(212) 555-1234"),
    ("phone", "212-736-5000"),
    ("phone", "212.736.5000"),
    ("phone", "+49 151 23456789"),
    ("phone", "+1 (212) 736-5000"),
    ("phone", "+442079460958"),
    ("credit_card", "4111111111111111"),
    ("credit_card", "4111 1111 1111 1111"),
    ("credit_card", "5555-5555-5555-4444"),
    ("credit_card", "378282246310005"),
    ("credit_card", "3782 822463 10005"),
    ("iban", "DE89370400440532013000"),
    ("iban", "GB29 NWBK 6016 1331 9268 19"),
    ("iban", "NO93 8601 1117 947"),
    ("us_ssn", "536-90-4399"),
    ("ip_address", "93.184.216.34"),
    ("ip_address", "2a00:1450:4001:81b::200e"),
]

FRAMES = ["{}", "Here: {} and so on.", "\n{}\n", '"{}"', '{{"a": "{}"}}', "({})", "{}, {}", "x={};"]


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize(("label", "datum"), SECRETS + PERSONAL)
def test_each_datum_is_found_whole_wherever_it_stands(label: str, datum: str, frame: str) -> None:
    shown = f"postgres://app:{datum}@db.acme.io/x" if label == "url_password" else datum
    if label == "private_key" and frame.startswith('{{"'):
        shown = datum = datum.replace("\n", "\\n")
    text = frame.format(shown, shown)
    found = [(place.label, text[place.start : place.end]) for place in find_places(text)]
    assert found == [(label, datum)] * frame.count("{}")


CONTEXT = [
    ("phone", "My phone number is 5551234567.", "5551234567"),
    ("phone", '{"mobile_phone": 2127365000}', "2127365000"),
    ("phone", "Call me at 555-123-4567 tonight", "555-123-4567"),
    ("us_ssn", "SSN: 536904399", "536904399"),
    ("us_ssn", '{"social_security": "536904399"}', "536904399"),
    ("email", '{"note":"mail:\\njane@acme.io"}', "jane@acme.io"),
    ("email", "https://acme.io/?to=jane@acme.io&x=1", "jane@acme.io"),
    ("url_password", '{"dsn":"redis:\\/\\/:hunter22@cache.acme.io"}', "hunter22"),
    ("ip_address", "GET http://93.184.216.34:8080/ HTTP/1.1", "93.184.216.34"),
]


@pytest.mark.parametrize(("label", "text", "datum"), CONTEXT)
def test_what_stands_before_a_number_can_say_what_it_is(label: str, text: str, datum: str) -> None:
    assert [(place.label, text[place.start : place.end]) for place in find_places(text)] == [(label, datum)]


INNOCENT = [
    "jane@example.com, joe@mail.example.org, root@localhost, a@b.test",
    "git@github.com:acme/tool.git, logo@2x.png, lodash@4.17.21, @app.route, @decorator",
    "order 1234567890, id 5551234567, timestamp 1700000000, 1700000000000 and 1700000000000000000",
    "2024-01-15 10:30:00, 2024-01-15T10:30:00.123456789Z, 20240115103000",
    '{"phone": null, "date": "2024-01-15 10:30", "total": 1234567890}',
    "3.14159265358979 1,234,567,890 1234567890.12 $2127365000 0.4111111111111111",
    "4111111111111112 1234567812345670 0000000000000000 40128888888818811234567890",
    "GB00 NWBK 6016 1331 9268 19, DE89370400440532013001, AB12 CDEF GHIJ KLMN",
    "000-12-3456 666-12-3456 900-12-3456 123-456-789 12-345-6789 078-05-1120",
    "10.0.0.1 192.168.1.1 127.0.0.1 172.16.0.1 169.254.1.1 203.0.113.7 8.8.8.8 999.1.1.1",
    "v1.2.3.4, version 4.17.21.3, Chrome/91.0.44.124, numpy==1.2.3.4, OID 1.3.6.1.4.1, build 5.6.7.8",
    "std::vector<int>, aa:bb:cc:dd:ee:ff, 12:30:45, 2001:db8::1, 2024:01:15",
    "sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx, task-management-service-for-the-north, hf_hub_download",
    "postgres://user:<password>@host/db postgres://user:${PASSWORD}@host postgres://user:****@host http://user@host",
    "eyJhbGciOi.not.base64 eyJ.eyJ.x",
    "-----BEGIN PUBLIC KEY-----\nabc\n-----END PUBLIC KEY-----, a PRIVATE KEY is private",
    "d41d8cd98f00b204e9800998ecf8427e da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "550e8400-e29b-41d4-a716-446655440000",
    "@@ -1234567,12 +1234567,14 @@ def f(x): x = x +1",
    "data:image/png;base64," + "iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4" * 3,
]


@pytest.mark.parametrize("text", INNOCENT)
def test_what_only_looks_like_a_datum_is_left_alone(text: str) -> None:
    assert [(place.label, text[place.start : place.end]) for place in find_places(text)] == []


def test_allowed_domains_are_a_choice_and_cover_subdomains_only() -> None:
    text = "a@acme.io b@x.acme.io c@notacme.io d@example.com"
    found = [text[place.start : place.end] for place in find_places(text, ("acme.io",))]
    assert found == ["c@notacme.io", "d@example.com"]


def test_a_password_in_a_url_is_a_secret_and_not_an_address_and_a_card_is_no_phone() -> None:
    text = "https://joe:s3cretpw@db.acme.io phone: 4111111111111111"
    assert [place.label for place in find_places(text)] == ["url_password", "credit_card"]


def test_a_key_block_without_an_end_is_taken_as_far_as_it_goes() -> None:
    text = "-----BEGIN RSA PRIVATE KEY-----\n" + MIXED + "\n" + MIXED
    assert [(place.start, place.end) for place in find_places(text)] == [(0, len(text))]


PIECES = st.sampled_from(
    [datum for _, datum in SECRETS + PERSONAL]
    + [text for _, text, _ in CONTEXT]
    + INNOCENT
    + [
        "postgres://app:hunter2!@db.acme.io",
        "\\n",
        "\\",
        '"',
        "{",
        " ",
        "-",
        ".",
        "٣٤٥",
        "\u017f",
        "K",
        "1",
        "A",
        "@",
        "+",
    ]
)


@given(
    pieces=st.lists(PIECES | st.text(max_size=12), max_size=5),
    drop=st.integers(0, 30),
    start=st.sampled_from(["", "{"]),
)
@example(pieces=["ho" + "ok\u017f.slack.com/services/T1/B1/x"], drop=0, start="")
@settings(max_examples=400, deadline=None)
def test_the_search_in_rust_rules_out_nothing_the_detectors_find(pieces: list[str], drop: int, start: str) -> None:
    text = start + "".join(pieces)[drop:]
    groups = pl.select(groups_in(pl.lit(text))).item().to_list()
    assert set(groups) <= ALL_GROUPS
    assert find_places(text, groups=groups) == find_places(text)


@given(text=st.text(max_size=40) | st.lists(PIECES, max_size=3).map(" ".join))
@settings(max_examples=200, deadline=None)
def test_places_stand_in_order_inside_the_text_and_apart(text: str) -> None:
    places = find_places(text)
    ends = [0]
    for place in places:
        assert ends[-1] <= place.start < place.end <= len(text)
        ends.append(place.end)


RUNS = [
    "eyJ",
    "eyJ=",
    "sk-",
    "sk-aT3BlbkFJ",
    "glagent-",
    "a@",
    "a.",
    "a@a.",
    "-----BEGIN PRIVATE KEY-----",
    "://a:",
    "1 ",
    "12-",
]
RUNS += [
    "+1",
    "(212) ",
    "AB12",
    "AKIA",
    "xoxb-1-",
    "a",
    "=",
    "\\",
    "1.1.1.",
    "2a00:",
    "jane@acme.io ",
    "phone 1",
    "ghp_",
]


@pytest.mark.parametrize("run", RUNS)
def test_no_text_makes_a_detector_slow(run: str) -> None:
    began = time.process_time()
    for start in ("", "{", "T3BlbkFJ "):
        find_places(start + run * (100_000 // len(run)))
    assert time.process_time() - began < 3
