"""What the cheap features of trajectories say, worked out by hand on small rows, and that they say something on all."""

import math
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.formats.base import message, tool_call
from pipeline.judging.features import TRAJECTORY_FEATURES, trajectory_features
from pipeline.schema import REPLAYED
from tests.factories import assistant, make_trajectory, tool, user
from tests.strategies import trajectories


def replayed(*rows: dict[str, Any]) -> pl.DataFrame:
    """Rows as replay leaves them."""
    whole = [{"spans": None, "repaired": None} | row for row in rows]
    return pl.DataFrame(whole, schema=REPLAYED)


def features_of(row: dict[str, Any]) -> dict[str, float]:
    """The features of one row."""
    return trajectory_features(replayed(row)).row(0, named=True)


MOON = "The moon is 384400 km away."


def said(reply: str, *, seen: str = MOON) -> dict[str, Any]:
    """A row with one call, this observation and this reply."""
    asked = assistant("I look.", ("search", {"query": "moon"}))
    return make_trajectory([user("How far is the moon?"), asked, tool(seen), assistant(reply)])


def test_the_columns_are_the_documented_ones_in_order() -> None:
    found = trajectory_features(replayed(make_trajectory()))
    assert found.columns == ["subject_id", *TRAJECTORY_FEATURES]
    assert set(found.dtypes[1:]) == {pl.Float64}
    assert found["subject_id"].to_list() == ["t0"]


def test_no_rows_have_no_features() -> None:
    found = trajectory_features(replayed())
    assert found.columns == ["subject_id", *TRAJECTORY_FEATURES]
    assert found.height == 0


def test_a_clean_row_counts_as_its_reader_would() -> None:
    found = features_of(said("It is 384400 km away."))
    wanted = {
        "num_turns": math.log(3),
        "num_calls": math.log(2),
        "num_tools_called": math.log(2),
        "task_chars": math.log(21),
        "reply_chars": math.log(22),
        "calls_nothing": 0.0,
        "share_failed": 0.0,
        "share_empty": 0.0,
        "share_unanswered": 0.0,
        "share_repeated": 0.0,
        "numbers_observed": 1.0,
        "numbers_nowhere": 0.0,
        "answer_observed": 1.0,
        "answer_in_last": 1.0,
        "answer_is_last": 1.0,
        "answer_in_task": 0.0,
        "answer_gap": -6.0,
        "observations_used": 1.0,
        "last_used": 1.0,
        "has_answer": 0.0,
        "has_reply": 1.0,
        "reply_is_last": 1.0,
        "ends_whole": 1.0,
        "gives_up": 0.0,
        # "away" is the only word of four letters; the observation has it
        "words_known": 1.0,
        "words_from_task": 0.0,
        "variety": 1 / 5,
        # the query {"query": "moon"}: moon is in the task, query is not
        "arguments_unseen": 0.5,
        "arguments_from_task": 0.5,
        "task_words_asked": 1.0,
    }
    assert {name: pytest.approx(found[name], abs=1e-9) for name in wanted} == wanted


@pytest.mark.parametrize(
    ("reply", "name", "value"),
    [
        ("It is 384,400.0 km.", "answer_observed", 1.0),
        ("It is 12 km.", "answer_observed", 0.0),
        ("It is 12 km.", "numbers_nowhere", 1.0),
        ("It is 12 km.", "answer_is_last", 0.0),
        ("It is far.", "answer_observed", 0.5),
        ("It is far.", "answer_gap", 1.0),
        ("It is 388244 km.", "answer_gap", math.log10(3844 / 388244)),
        ("I cannot say.", "gives_up", 1.0),
        ("I'm sorry to say: 384400.", "apologises", 1.0),
        ("Maybe it is far off.", "hedge_rate", math.log(1 + 100 / 5)),
        ("It is far. But it is not far.", "turn_rate", math.log(1 + 100 / 8)),
        ("It is far. But it is not far.", "negation_rate", math.log(1 + 100 / 8)),
        ("So it is far.", "conclusion_rate", math.log(1 + 100 / 4)),
        ("How far do you want to go?", "asks_back", 1.0),
        ("It is 384400 km and then", "ends_whole", 0.0),
        ("```\nx\n```", "has_code", 1.0),
        ("Луна", "foreign_letters", 0.5),
        ("Luna", "foreign_letters", 0.0),
    ],
)
def test_a_reply_shows_in_its_feature(reply: str, name: str, value: float) -> None:
    assert features_of(said(reply))[name] == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize(
    ("seen", "name", "value"),
    [
        ("Traceback (most recent call last):\n  boom", "share_failed", 1.0),
        ('{"error": "no island called X"}', "last_failed", 1.0),
        ("ValueError: x", "share_failed", 1.0),
        ("The error of measurement is small.", "share_failed", 0.0),
        ("", "share_empty", 1.0),
        ("[Executed Successfully with No Output]", "last_empty", 1.0),
        ("None", "share_empty", 1.0),
        ("None of the 3 ships.", "share_empty", 0.0),
    ],
)
def test_an_observation_shows_in_its_feature(seen: str, name: str, value: float) -> None:
    assert features_of(said("It is far.", seen=seen))[name] == value


def test_calls_are_counted_as_repeated_and_unanswered_by_name_and_arguments() -> None:
    call = ("search", {"query": "moon"})
    row = make_trajectory(
        [
            user("How far is the moon?"),
            assistant("One.", call),
            tool("Nothing."),
            assistant("Two.", call),
            tool("Nothing."),
            assistant("Three.", ("fetch", {"query": "moon"})),
        ]
    )
    found = features_of(row)
    assert found["share_repeated"] == pytest.approx(1 / 3)
    assert found["share_unanswered"] == pytest.approx(1 / 3)
    assert found["reply_is_last"] == 1.0
    assert found["num_tools_called"] == pytest.approx(math.log(3))


def test_arguments_count_as_seen_only_by_what_came_before_the_call() -> None:
    before = make_trajectory(
        [
            user("Which port?"),
            assistant(None, ("search", {"query": "Brindle"})),
            tool("The harbour is Greywick."),
            assistant(None, ("search", {"query": "Greywick"})),
            tool("Ok."),
        ]
    )
    after = make_trajectory(
        [
            user("Which port?"),
            assistant(None, ("search", {"query": "Greywick"})),
            tool("The harbour is Greywick."),
            assistant(None, ("search", {"query": "Brindle"})),
            tool("Ok."),
        ]
    )
    # of each call's words, "query" and one name: the name of the second call was told before it, in the first row
    assert features_of(before)["arguments_unseen"] == pytest.approx((1.0 + 0.5) / 2)
    assert features_of(after)["arguments_unseen"] == pytest.approx(1.0)


def test_demonstrations_around_the_task_are_no_information_about_it() -> None:
    messages = [
        user("Task: Paris is 700 km off.\nTask: How far?"),
        assistant(None, ("go", {"to": "Paris"})),
        tool("ok"),
    ]
    assert features_of(make_trajectory(messages, prompt="How far?"))["call_unseen"] == 1.0
    assert features_of(make_trajectory(messages, prompt=None))["call_unseen"] == 0.0


def test_an_observation_nobody_comes_back_to_is_unused() -> None:
    assert features_of(said("Whatever."))["observations_used"] == 0.0
    assert features_of(said("Whatever.", seen="moon"))["observations_used"] == 1.0


def test_repairs_of_replay_are_counted_among_the_observations() -> None:
    row = said("It is far.")
    assert trajectory_features(replayed(row | {"repaired": [2]}))["share_repaired"].to_list() == [1.0]


def test_recorded_outcomes_change_nothing() -> None:
    row = make_trajectory()
    told = row | {"ground_truth": "384400", "reward": 1.0, "success": True, "metadata": '{"finish_reason":"stop"}'}
    assert_frame_equal(trajectory_features(replayed(row)), trajectory_features(replayed(told)))


def test_a_row_has_the_same_features_whatever_rows_it_comes_with() -> None:
    rows = [
        said("It is far."),
        make_trajectory([]),
        said("It is 384400 km."),
        make_trajectory([user("Hello?"), assistant("Hello 12 times.")]),
    ]
    together = trajectory_features(replayed(*rows))
    alone = pl.concat([trajectory_features(replayed(row)) for row in rows])
    assert_frame_equal(together, alone, check_exact=True)
    assert_frame_equal(trajectory_features(replayed(*rows[::-1])), together[::-1], check_exact=True)


def test_equal_ids_of_several_days_are_several_rows() -> None:
    found = trajectory_features(replayed(said("It is 384400 km."), said("It is far.")))
    assert found["answer_observed"].to_list() == [1.0, 0.5]


def test_a_huge_text_costs_no_more_than_its_ends() -> None:
    row = said("It is 384400 km. " + "x" * 10_000_000, seen="7 " * 1_000_000)
    assert features_of(row)["numbers_observed"] == 0.0


def test_numbers_beyond_floats_are_compared_all_the_same() -> None:
    digits = "9" * 500
    found = features_of(said(f"It is {digits}.", seen=f"{digits}1 and {digits}"))
    assert found["answer_observed"] == 1.0
    assert math.isfinite(found["answer_gap"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(trajectories(), max_size=4))
def test_whatever_the_row_every_feature_is_a_finite_number(rows: list[dict[str, Any]]) -> None:
    found = trajectory_features(replayed(*rows))
    assert found.height == len(rows)
    assert found.null_count().sum_horizontal().sum() == 0
    assert all(found[name].is_finite().all() for name in TRAJECTORY_FEATURES)


SHARES = [
    name
    for name, says in TRAJECTORY_FEATURES.items()
    if says.startswith(("share of", "1 where", "the same of the call", "distance of that"))
]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(trajectories())
def test_shares_and_flags_lie_between_zero_and_one(row: dict[str, Any]) -> None:
    found = features_of(row)
    assert {name: found[name] for name in SHARES if not 0 <= found[name] <= 1} == {}


def test_there_are_more_than_thirty_shares_and_flags() -> None:
    assert len(SHARES) > 30


def test_a_message_without_any_text_is_read() -> None:
    silent = message("assistant", None, tool_calls=[tool_call(None, None, None)])
    found = features_of(make_trajectory([user("Hello?"), silent]))
    assert (found["num_calls"], found["has_reply"], found["share_unanswered"]) == (math.log(2), 0.0, 1.0)
