"""The id of a record is the id of what it says."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import FormatError
from pipeline.landing.decoding import decode_json
from pipeline.landing.identity import UniqueIds, canonical_hash, dump_hash, json_ready, without_suffix

SAME = [
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ({"a": {"b": None}, "c": None}, {"a": {}}),
    ({"a": 1.0}, {"a": 1}),
    ({"a": [1.0, 2.5]}, {"a": [1, 2.5]}),
    ({"a": float("nan")}, {}),
    ({"a": b"\xff\x00"}, {"a": "/wA="}),
    ({"a": datetime(2025, 1, 2, 3, 4, tzinfo=UTC)}, {"a": "2025-01-02T03:04:00+00:00"}),
    ("one\r\ntwo\r\n", "one\ntwo"),
    ("one\rtwo\n\n", "one\ntwo\n"),
]
DIFFERENT = [
    ({"a": 1}, {"a": "1"}),
    ({"a": None}, {"b": 0}),
    ({"a": [None, 1]}, {"a": [1]}),
    ({"a": "x:null"}, {"a": "x"}),
    ({"a": "x\r\n"}, {"a": "x\n"}),
    ("one\n\ntwo", "one\ntwo"),
    ([1, 2], [2, 1]),
]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_record_in_another_spelling_has_the_same_id(one: Any, other: Any) -> None:
    assert canonical_hash(one) == canonical_hash(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_records_have_different_ids(one: Any, other: Any) -> None:
    assert canonical_hash(one) != canonical_hash(other)


def test_an_id_is_twenty_hex_digits_that_stay() -> None:
    assert canonical_hash({"messages": [{"role": "user", "content": "q"}]}) == "8a800cc98290f4810f7c"


def test_what_orjson_refuses_has_an_id_too() -> None:
    assert canonical_hash({"a": 2**70, 1: "\ud800"}) == canonical_hash({"a": str(2**70), "1": "\ufffd"})


def test_a_value_nested_past_writing_is_refused() -> None:
    deep: Any = []
    for _ in range(2000):
        deep = [deep]
    with pytest.raises(FormatError, match="nested too deeply"):
        canonical_hash(deep)


@given(JSON)
def test_the_id_is_the_same_by_every_way_of_reckoning_it(value: Any) -> None:
    decoded = decode_json(orjson.dumps(value))
    assert dump_hash(decoded.value, decoded.dump) == canonical_hash(value)
    if not isinstance(value, str):
        assert canonical_hash(json_ready(value)) == canonical_hash(value)


def test_identical_records_are_numbered_from_two() -> None:
    ids = UniqueIds()
    assert [ids.assign(raw_id) for raw_id in ("a", "b", "a", "a")] == ["a", "b", "a-2", "a-3"]
    assert [without_suffix(each) for each in ("a", "a-12")] == ["a", "a"]
