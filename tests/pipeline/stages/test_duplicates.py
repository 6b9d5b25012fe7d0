"""Marking repeated trajectories from matches found elsewhere, and the text they are compared by."""

import json

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import DuplicateGate
from pipeline.dedup.lookup import MATCHES, find_duplicates
from pipeline.dedup.signatures import INDEX, fingerprint
from pipeline.formats.base import message
from pipeline.reasons import REASON_DTYPE, Reason
from pipeline.stages.duplicates import mark_duplicate, mark_near_duplicate
from pipeline.stages.fingerprint import comparison_text, image_references
from tests.factories import assistant, make_frame, make_trajectory, reasons_of, tool, user

ATTEMPT = [assistant("Looking.", ("search", {"q": "moon"})), tool("384400 km"), assistant("It is 384400 km.")]
TOLD = 'Looking.\nsearch {"q":"moon"}\n384400 km\nIt is 384400 km.'


def _matches(*rows: tuple[str, str, str, str, float]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=MATCHES, orient="row")


def _mark(lf: pl.LazyFrame, matches: pl.DataFrame) -> pl.LazyFrame:
    return mark_near_duplicate(mark_duplicate(lf, matches), matches)


def _text(messages: list, prompt: str | None) -> str | None:
    frame = make_frame(make_trajectory(messages, prompt=prompt))
    return frame.select(text=comparison_text()).collect().item()


def test_the_compared_text_is_the_task_and_what_follows_it() -> None:
    scaffold = [message("system", "You are a helpful agent."), user("Example: 1 + 1 is 2.\n\nHow far is the moon?")]
    assert _text([*scaffold, *ATTEMPT], "How far is the moon?") == f"How far is the moon?\n{TOLD}"


def test_later_user_turns_and_reasoning_count_and_later_system_text_does_not() -> None:
    messages = [user("a"), message("system", "b"), user("c"), message("assistant", "e", reasoning="d")]
    assert _text(messages, "a") == "a\nc\nd\ne"


def test_without_a_user_message_everything_counts() -> None:
    assert _text(ATTEMPT, None) == TOLD


def test_a_trajectory_without_messages_is_compared_by_its_prompt() -> None:
    assert (_text([user("a")], "a") or "").strip() == "a"
    frame = make_frame(make_trajectory([], prompt="a") | {"messages": None})
    assert frame.select(text=comparison_text()).collect().item() == "a"


def test_image_references_are_those_of_all_messages_in_order() -> None:
    messages = [message("user", "a", images=["1.png", "2.png"]), assistant("b"), message("tool", "c", images=["3.png"])]
    frame = make_frame(make_trajectory(messages), make_trajectory())
    assert frame.select(images=image_references()).collect()["images"].to_list() == ["1.png\n2.png\n3.png", ""]


def test_each_kind_gets_its_reason_with_the_earliest_match_as_evidence() -> None:
    frame = make_frame(*(make_trajectory() for _ in range(3)))
    matches = _matches(("t2", "near_duplicate", "2025-01-01", "x", 0.875), ("t1", "duplicate", "2025-01-02", "t0", 1.0))
    marked = _mark(frame, matches).collect()
    assert marked["reason"].to_list() == [None, Reason.DUPLICATE, Reason.NEAR_DUPLICATE]
    assert marked["trajectory_id"].to_list() == ["t0", "t1", "t2"]
    assert [text and json.loads(text) for text in marked["evidence"]] == [
        None,
        {"day": "2025-01-02", "trajectory_id": "t0", "similarity": 1.0},
        {"day": "2025-01-01", "trajectory_id": "x", "similarity": 0.875},
    ]


def test_an_earlier_gate_keeps_its_word() -> None:
    frame = make_frame(make_trajectory(reason=Reason.EMPTY.value))
    assert reasons_of(_mark(frame, _matches(("t0", "duplicate", "2025-01-01", "x", 1.0)))) == [Reason.EMPTY]


def test_trajectories_go_from_text_to_reason() -> None:
    again = [user("HOW far is the moon?"), *ATTEMPT]
    rows = [
        make_trajectory([user("How far is the moon?"), *ATTEMPT]),
        make_trajectory(again, prompt="HOW far is the moon?"),
        make_trajectory([user("How far is the sun?"), assistant("150 million km.")]),
        make_trajectory([message("user", "How far is the moon?", images=["x.png"]), *ATTEMPT]),
    ]
    frame, gate = make_frame(*rows), DuplicateGate()
    texts = frame.select("trajectory_id", text=comparison_text(), images=image_references()).collect()
    matches = find_duplicates(fingerprint(texts, "2025-01-01", gate), pl.LazyFrame(schema=INDEX), gate)
    assert reasons_of(_mark(frame, matches)) == [None, Reason.DUPLICATE, None, None]


@given(
    reasons=st.lists(st.sampled_from([None, "empty", "overlong"]), min_size=1, max_size=8),
    kinds=st.dictionaries(st.integers(0, 9), st.sampled_from(["duplicate", "near_duplicate"]), max_size=6),
)
def test_rows_other_columns_and_earlier_reasons_stay_and_twice_is_once(
    reasons: list[str | None], kinds: dict[int, str]
) -> None:
    frame = make_frame(*(make_trajectory(reason=reason) for reason in reasons)).with_columns(
        evidence=pl.when(pl.col("reason").is_not_null()).then(pl.lit('{"earlier": true}'))
    )
    matches = _matches(*((f"t{k}", kind, "2025-01-01", "x", 0.9) for k, kind in kinds.items()))
    marked = _mark(frame, matches).collect()
    before = frame.collect()
    assert marked.drop("reason", "evidence").equals(before.drop("reason", "evidence"))
    expected = [reason or kinds.get(k) for k, reason in enumerate(reasons)]
    assert marked["reason"].equals(pl.Series("reason", expected, dtype=REASON_DTYPE))
    assert marked.filter(pl.Series(reasons).is_not_null())["evidence"].unique().to_list() in ([], ['{"earlier": true}'])
    assert _mark(marked.lazy(), matches).collect().equals(marked)
