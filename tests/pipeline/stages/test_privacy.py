"""The spans of secrets and personal data, and the gates that rest on them."""

import orjson
import polars as pl
import pytest

from pipeline.config import PrivacyGate
from pipeline.formats.base import message
from pipeline.schema import SPAN
from pipeline.stages.privacy import find_spans, mark_personal_data, mark_secret, mark_unusable_truth
from tests.factories import assistant, make_frame, make_trajectory, reasons_of, tool, user

KEY = "AK" + "IA" + "ABCDEFGH2345JKLM"
BOTH = make_trajectory([user(f"jane@acme.io {KEY}"), assistant("Done")], prompt=None)
CLEAN = make_trajectory()


def searched(*rows: dict) -> pl.LazyFrame:
    frame = make_frame(*rows).collect()
    return frame.join(find_spans(frame), on="trajectory_id", how="left", maintain_order="left").lazy()


def test_spans_say_where_in_characters_and_come_in_order() -> None:
    messages = [
        user("é jane@acme.io"),
        message(
            "assistant",
            "Done",
            reasoning=f"{KEY}!",
            tool_calls=[
                {"id": "c0", "name": "f", "arguments": None},
                {"id": "c1", "name": "f", "arguments": '{"a":"jane@acme.io"}'},
            ],
        ),
        tool(None),
    ]
    row = make_trajectory(
        messages, prompt="Hi", final_answer="536-90-4399", ground_truth="x", metadata=f'"{KEY}"', tools=KEY
    )
    spans = find_spans(make_frame(CLEAN, row).collect())
    assert spans.schema == {"trajectory_id": pl.String, "spans": pl.List(SPAN)}
    assert spans["trajectory_id"].to_list() == ["t0", "t1"]
    assert spans["spans"][0].to_list() == []
    assert [tuple(span.values()) for span in spans["spans"][1]] == [
        (None, "final_answer", None, 0, 11, "us_ssn", "personal_data"),
        (0, "content", None, 2, 14, "email", "personal_data"),
        (1, "arguments", 1, 6, 18, "email", "personal_data"),
        (1, "reasoning", None, 0, 20, "aws_key", "secret"),
    ]


def test_the_same_text_in_two_trajectories_is_found_in_both() -> None:
    assert [len(spans) for spans in find_spans(make_frame(BOTH, BOTH, CLEAN).collect())["spans"]] == [2, 2, 0]


def test_null_messages_and_no_rows_have_no_spans() -> None:
    assert find_spans(make_frame(CLEAN | {"messages": None}).collect())["spans"].to_list() == [[]]
    assert find_spans(make_frame().collect()).is_empty()


@pytest.mark.parametrize(
    ("rule", "secret", "personal"),
    [
        ("redact", None, None),
        ("review", "suspected_secret", "suspected_personal_data"),
        ("drop", "secret", "personal_data"),
    ],
)
def test_what_a_span_does_is_a_choice(rule: str, secret: str | None, personal: str | None) -> None:
    gate = PrivacyGate.model_validate({"secrets": rule, "personal_data": rule})
    rows = searched(BOTH, CLEAN)
    assert reasons_of(mark_secret(rows, gate)) == [secret, None]
    assert reasons_of(mark_personal_data(rows, gate)) == [personal, None]
    unsearched = rows.with_columns(spans=pl.lit(None, pl.List(SPAN)))
    assert reasons_of(mark_personal_data(mark_secret(unsearched, gate), gate)) == [None, None]


def test_each_gate_looks_at_its_own_kind_and_never_tells_the_datum() -> None:
    gate = PrivacyGate(secrets="drop", personal_data="drop")
    only_mail = make_trajectory([user("jane@acme.io joe@acme.io"), assistant("Done")], prompt=None)
    assert reasons_of(mark_secret(searched(only_mail), gate)) == [None]
    told = mark_personal_data(searched(only_mail), gate).collect()["evidence"][0]
    assert orjson.loads(told) == {"labels": ["email"], "num_spans": 2, "field": "content", "message_index": 0}


def test_a_prompt_is_unverifiable_where_its_truth_would_be_redacted() -> None:
    rows = searched(BOTH, make_trajectory(ground_truth="jane@acme.io"), make_trajectory(ground_truth="42"))
    assert reasons_of(mark_unusable_truth(rows)) == [None, "unverifiable", None]
