"""Decoding one JSON value, clean and not."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.landing.decoding import MAX_DEPTH, decode_json

MENDED = [
    (b'{"a":NaN}', {"a": None}, "NaN under 'a' read as null"),
    (b'{"a":[1,-Infinity]}', {"a": [1, None]}, "-Infinity under 'a' read as null"),
    (b'{"a":1e400}', {"a": None}, "1e400 under 'a' read as null"),
    (b'{"a":1,"a":1}', {"a": 1}, "key 'a' stands twice with equal values"),
    (b'{"a" :1 , "b":2,"a": 1}', {"a": 1, "b": 2}, "key 'a' stands twice with equal values"),
    (b'{"b":"\\u0022:","a":1,"a":1}', {"b": '":', "a": 1}, "key 'a' stands twice with equal values"),
    (b'{"a":"x\\ud800y"}', {"a": "x\ufffdy"}, "lone surrogates under 'a' replaced by U+FFFD"),
    (b'{"\\udc00":1}', {"\ufffd": 1}, "lone surrogates under 'a key' replaced by U+FFFD"),
    (
        b'{"a":18446744073709551616}',
        {"a": "18446744073709551616"},
        "an integer of 20 digits, beyond 64 bits, kept as text",
    ),
    (b'{"a":"\xff"}', {"a": "\ufffd"}, "bytes that are not UTF-8 replaced by U+FFFD"),
    (b'{"a":"x\ty"}', {"a": "x\ty"}, "raw control characters kept inside a text"),
]
CLEAN = [
    (b'\xef\xbb\xbf{"a":1}', {"a": 1}),
    (b'{"a":"\\u0000"}', {"a": "\0"}),
    (b'{"a":"\\ud83d\\ude00"}', {"a": "\U0001f600"}),
    (b'{"a":18446744073709551615,"b":-9223372036854775808}', {"a": 2**64 - 1, "b": -(2**63)}),
    (b'{"a":{"a":{"a":1}}}', {"a": {"a": {"a": 1}}}),
    (b'{"text":"\\"a\\":1,\\"a\\" :2","a":1}', {"text": '"a":1,"a" :2', "a": 1}),
    (b'{"a":"1234567890123456789012345"}', {"a": "1234567890123456789012345"}),
    (b' {"a" : 1} \r', {"a": 1}),
]
REFUSED = [
    (b'{"a":1,"a":2}', "duplicated key 'a' with two values"),
    (b'{"a":1,"a":true}', "duplicated key 'a' with two values"),
    (b'[{"b":{"a" : 1,"a": [1]}}]', "duplicated key 'a' with two values"),
    (b'{"a":"x\0y"}', "1 raw NUL bytes, the first at byte 7"),
    (b"[" * 10_000 + b"]" * 10_000, "nested more than 246 levels deep"),
    (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "nested more than 246 levels deep"),
    (b"[NaN," + b"[" * 10_000 + b"]" * 10_000 + b"]", "nested more than 246 levels deep"),
    (b'{"a":\xff}', "not JSON: Expecting value at character 5"),
    (b'{"a":1} x', "not JSON: Extra data at character 8"),
    (b'{"a":', "not JSON: Expecting value at character 5"),
    (b"", "not JSON: Expecting value at character 0"),
]


@pytest.mark.parametrize(("data", "value", "note"), MENDED)
def test_what_can_be_mended_is_mended_with_a_note(data: bytes, value: Any, note: str) -> None:
    decoded = decode_json(data)
    assert (decoded.value, decoded.error, decoded.notes) == (value, None, [note])


@pytest.mark.parametrize(("data", "value"), CLEAN)
def test_what_is_clean_has_no_note(data: bytes, value: Any) -> None:
    decoded = decode_json(data)
    assert (decoded.value, decoded.error, decoded.notes) == (value, None, [])


@pytest.mark.parametrize(("data", "error"), REFUSED)
def test_what_cannot_be_accepted_is_an_error(data: bytes, error: str) -> None:
    decoded = decode_json(data)
    assert (decoded.value, decoded.error) == (None, error)


def test_an_integer_of_ten_thousand_digits_is_text() -> None:
    digits = "7" * 10_000
    assert decode_json(b'{"a":' + digits.encode() + b"}").value == {"a": digits}


@pytest.mark.parametrize(
    ("depth", "is_read"), [(MAX_DEPTH, True), (MAX_DEPTH + 1, False), (1000, False), (1025, False)]
)
def test_nesting_is_read_up_to_the_limit(depth: int, is_read: bool) -> None:  # noqa: FBT001 - a table's column
    assert (decode_json(b"[" * depth + b"]" * depth).error is None) is is_read


def test_a_value_at_the_limit_can_still_be_written_wrapped() -> None:
    value = decode_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH).value
    assert orjson.dumps({"metadata": [value]}) == b'{"metadata":[' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"]}"


KEYS = st.sampled_from(["a", "b", 'q":', "c:", '" :'])
PAIRS = st.lists(st.tuples(KEYS, st.integers(0, 2)), max_size=5)


@given(PAIRS, st.sampled_from([":", " :", " : ", "\t:"]), st.booleans())
def test_a_key_with_two_values_is_never_missed(pairs: list[tuple[str, int]], colon: str, escaped: bool) -> None:  # noqa: FBT001
    def spelled(key: str) -> str:
        return json.dumps(key).replace('\\"', "\\u0022") if escaped else json.dumps(key)

    data = "{" + ",".join(f"{spelled(key)}{colon}{value}" for key, value in pairs) + "}"
    clashes = len(set(pairs)) != len({key for key, _ in pairs})
    repeats = len(pairs) != len({key for key, _ in pairs})
    decoded = decode_json(data.encode())
    assert (decoded.error is not None) is clashes
    assert clashes or (bool(decoded.notes) is repeats and decoded.value == dict(pairs))


@given(st.binary(max_size=60))
def test_no_bytes_make_it_raise(data: bytes) -> None:
    decoded = decode_json(data)
    assert decoded.error is not None or orjson.loads(decoded.dump) == decoded.value
