"""Redaction takes out what was found, all of it, and nothing else."""

import time
from typing import Any

import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.formats.base import message
from pipeline.privacy.detectors import PERSONAL_DATA, SECRET, Place
from pipeline.privacy.redaction import cut_out, redact_columns, redact_messages, redact_strings, redact_text
from pipeline.stages.privacy import find_spans
from tests.factories import assistant, make_frame, make_trajectory, tool, user
from tests.strategies import trajectories

KEY = "AK" + "IA" + "ABCDEFGH2345JKLM"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Nothing here.", "Nothing here."),
        ("", ""),
        ("Mail jane@acme.io!", "Mail [REDACTED:email]!"),
        (f"{KEY} {KEY}", "[REDACTED:aws_key] [REDACTED:aws_key]"),
        ("é\U0001f600 jane@acme.io", "é\U0001f600 [REDACTED:email]"),
        ("postgres://app:hunter22@db.acme.io/x", "postgres://app:[REDACTED:url_password]@db.acme.io/x"),
        ('{"to":"jane@acme.io"}', '{"to":"[REDACTED:email]"}'),
        ('{"note":"to\\njane@acme.io\\n"}', '{"note":"to\\n[REDACTED:email]\\n"}'),
        ('{"card":4111111111111111}', '{"card":"[REDACTED:credit_card]"}'),
        ('[1, 4111111111111111, "x"]', '[1, "[REDACTED:credit_card]", "x"]'),
        ('{"jane@acme.io":1}', '{"[REDACTED:email]":1}'),
        ('{"card":4111111111111111', '{"card":[REDACTED:credit_card]'),
    ],
)
def test_the_datum_gives_way_to_its_label(text: str, expected: str) -> None:
    assert redact_text(text) == expected
    assert redact_text(expected) == expected


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([], "0123456789"),
        ([Place(0, 10, "a", SECRET)], "[REDACTED:a]"),
        ([Place(2, 4, "a", SECRET), Place(4, 6, "b", SECRET)], "01[REDACTED:a][REDACTED:b]6789"),
        ([Place(2, 5, "a", PERSONAL_DATA), Place(4, 8, "b", PERSONAL_DATA)], "01[REDACTED:a]89"),
        ([Place(2, 5, "a", PERSONAL_DATA), Place(4, 8, "b", SECRET)], "01[REDACTED:b]89"),
        ([Place(4, 5, "b", SECRET), Place(2, 8, "a", SECRET)], "01[REDACTED:a]89"),
        ([Place(8, 99, "a", SECRET), Place(50, 60, "b", SECRET)], "01234567[REDACTED:a]"),
    ],
)
def test_overlapping_places_become_one(places: list[Place], expected: str) -> None:
    assert cut_out("0123456789", places) == expected


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10)
    | st.sampled_from(["jane@acme.io", f'"{KEY}"\n', 4111111111111111, "to\tjane@acme.io\\", "phone 2127365000"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(value=JSON_VALUES, cuts=st.lists(st.tuples(st.integers(0, 80), st.integers(1, 20)), max_size=3))
@settings(max_examples=300, deadline=None)
def test_json_stays_json_wherever_it_is_cut(value: Any, cuts: list[tuple[int, int]]) -> None:
    text = orjson.dumps([value]).decode()
    places = [Place(start, start + length, "x", SECRET) for start, length in cuts]
    orjson.loads(cut_out(text, places))
    orjson.loads(redact_text(text))


@given(
    text=st.text(st.characters(exclude_characters='{["'), min_size=1, max_size=60),
    cuts=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=4),
)
@settings(max_examples=300, deadline=None)
def test_text_outside_of_the_places_is_unchanged(text: str, cuts: list[tuple[int, int]]) -> None:
    covered = [any(start <= k < start + length for start, length in cuts) for k in range(len(text))]
    left = "".join(char for char, hidden in zip(text, covered, strict=True) if not hidden)
    places = [Place(start, start + length, "\x00", SECRET) for start, length in cuts]
    assert cut_out(text, places).replace("[REDACTED:\x00]", "") == left


def with_spans(*rows: dict[str, Any]) -> pl.DataFrame:
    frame = make_frame(*rows).collect()
    return frame.join(find_spans(frame), on="trajectory_id", how="left", maintain_order="left")


def test_nothing_of_a_secret_remains_in_any_exported_field() -> None:
    messages = [
        user(f"My key is {KEY}"),
        message(
            "assistant",
            f"So {KEY}",
            reasoning=f"The key {KEY}…",
            tool_calls=[
                {"id": "c0", "name": "open", "arguments": "{}"},
                {"id": "c1", "name": "open", "arguments": f'{{"a":"\\"{KEY}\\"","n":4111111111111111}}'},
            ],
        ),
        tool(f"ok {KEY}", "c1"),
        assistant("Done"),
    ]
    row = make_trajectory(messages, final_answer=KEY, ground_truth=f"{KEY}\n{KEY}")
    redacted = redact_columns(redact_messages(with_spans(row)), ("prompt", "final_answer", "ground_truth"))
    assert KEY not in str(redacted.drop("spans").to_dicts())
    assert "4111111111111111" not in str(redacted.drop("spans").to_dicts())
    call = redacted["messages"][0][1]["tool_calls"][1]
    assert orjson.loads(call["arguments"]) == {"a": '"[REDACTED:aws_key]"', "n": "[REDACTED:credit_card]"}
    assert redacted["ground_truth"][0] == "[REDACTED:aws_key]\n[REDACTED:aws_key]"
    assert redacted["messages"][0][3] == assistant("Done")


def test_rows_without_spans_and_rows_never_searched_come_out_as_they_went_in() -> None:
    rows = with_spans(make_trajectory(), make_trajectory([]), make_trajectory() | {"messages": None})
    unsearched = rows.with_columns(spans=pl.lit(None, rows.schema["spans"]))
    for frame in (rows, unsearched, rows.clear()):
        assert_frame_equal(redact_columns(redact_messages(frame), ("prompt",)), frame)


@given(held=st.lists(trajectories(), min_size=1, max_size=3))
@settings(max_examples=30, deadline=None)
def test_a_redacted_trajectory_holds_nothing_more_to_redact(held: list[dict[str, Any]]) -> None:
    columns = ("prompt", "final_answer", "ground_truth")
    redacted = redact_columns(redact_messages(with_spans(*held)), columns)
    assert find_spans(redacted)["spans"].list.len().sum() == 0
    assert redacted["messages"].list.len().to_list() == [
        None if r["messages"] is None else len(r["messages"]) for r in held
    ]


def test_a_column_of_texts_is_redacted_as_each_text_is() -> None:
    texts = [None, "", "plain", "jane@acme.io", '{"a":4111111111111111}', "jane@acme.io"]
    expected = [None if text is None else redact_text(text) for text in texts]
    assert redact_strings(pl.Series("evidence", texts, pl.String)).to_list() == expected


def test_a_long_json_text_full_of_data_is_redacted_in_good_time() -> None:
    began = time.process_time()
    text = orjson.dumps([{"to": "jane@acme.io", "n": 4111111111111111, "s": "a\n\n jane@acme.io" * 20}] * 1000).decode()
    redacted = redact_text(text)
    assert "acme" not in redacted
    assert len(orjson.loads(redacted)) == 1000
    assert time.process_time() - began < 10
