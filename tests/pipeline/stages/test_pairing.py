"""Calls and observations: how they pair, and what the gates say where they do not."""

import orjson
import polars as pl
import pytest

from pipeline.formats.base import message, tool_call
from pipeline.schema import Message
from pipeline.stages.pairing import mark_orphan_observation, mark_unpaired_call
from pipeline.stages.steps import explode_steps
from tests.factories import assistant, make_frame, make_trajectory, tool, user

ASKED = user("Go")
ONE = assistant(None, ("search", {}))
TWO = assistant(None, ("search", {}), ("open", {}))


def steps_of(messages: list[Message]) -> tuple[list[tuple], list[tuple]]:
    steps, orphans = explode_steps(make_frame(make_trajectory(messages)).collect())
    return (
        steps.select("message_index", "call_index", "tool_name", "observation", "observation_index").rows(),
        orphans.select("observation_index", "observation").rows(),
    )


def test_steps_come_in_order_with_their_observations() -> None:
    messages = [ASKED, TWO, tool("second", "c1"), tool("first", "c0"), assistant("Done")]
    assert steps_of(messages) == ([(1, 0, "search", "first", 3), (1, 1, "open", "second", 2)], [])


def test_an_id_used_again_in_a_later_turn_is_another_call() -> None:
    messages = [ASKED, ONE, ONE, tool("late"), ONE, tool("later"), tool("surplus")]
    paired = [(1, 0, "search", None, None), (2, 0, "search", "late", 3), (4, 0, "search", "later", 5)]
    assert steps_of(messages) == (paired, [(6, "surplus")])


def test_calls_of_one_message_with_one_id_are_answered_in_order() -> None:
    call = tool_call("search", {}, "c0")
    messages = [ASKED, message("assistant", tool_calls=[call, call]), tool("a"), tool("b")]
    assert steps_of(messages)[0] == [(1, 0, "search", "a", 2), (1, 1, "search", "b", 3)]


def test_an_observation_before_its_call_and_one_without_an_id_answer_nothing() -> None:
    messages = [ASKED, tool("early"), ONE, tool("nameless", None)]
    assert steps_of(messages) == ([(2, 0, "search", None, None)], [(1, "early"), (3, "nameless")])


def test_an_empty_observation_is_one_and_calls_of_other_roles_are_none() -> None:
    asked = message("user", "Go", tool_calls=[{"id": "c9", "name": "search", "arguments": "{}"}])
    assert steps_of([asked, ONE, tool(None)]) == ([(1, 0, "search", None, 2)], [])


def test_steps_of_several_trajectories_do_not_mix() -> None:
    rows = [make_trajectory([ASKED, ONE, tool("a")]), make_trajectory([ASKED, ONE]), make_trajectory([])]
    steps, orphans = explode_steps(make_frame(*rows).collect())
    assert steps.select("trajectory_id", "observation").rows() == [("t0", "a"), ("t1", None)]
    assert orphans.is_empty()


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([ASKED, ONE, tool("a"), assistant("Done")], None),
        ([ASKED, ONE], (1, 0, "c0", "search", 1)),
        ([ASKED, ONE, assistant("Done")], (1, 0, "c0", "search", 1)),
        ([ASKED, TWO, tool("a", "c0"), assistant("Done")], (1, 1, "c1", "open", 1)),
        ([ASKED, assistant("Done", ("finish", {"answer": "4"}))], None),
        ([ASKED, assistant("Done", ("search", {}), ("finish", {}))], (1, 0, "c0", "search", 1)),
        ([ASKED, assistant(None, ("finish", {})), assistant("More")], (1, 0, "c0", "finish", 1)),
        ([ASKED, assistant("Done", ("finish", {})), user("Thanks")], None),
        (
            [ASKED, message("assistant", tool_calls=[{"id": None, "name": "f", "arguments": None}]), tool("a", None)],
            (1, 0, None, "f", 1),
        ),
        ([], None),
    ],
)
def test_unpaired_is_a_call_without_an_observation_but_for_a_last_terminal_one(
    messages: list[Message], expected: tuple | None
) -> None:
    marked = mark_unpaired_call(make_frame(make_trajectory(messages))).collect().row(0, named=True)
    assert marked["reason"] == (None if expected is None else "unpaired_call")
    names = ["message_index", "call_index", "call_id", "tool", "num_faults"]
    assert marked["evidence"] == (
        None if expected is None else orjson.dumps(dict(zip(names, expected, strict=True))).decode()
    )


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([ASKED, ONE, tool("a"), assistant("Done")], None),
        ([ASKED, ONE, tool("a", "c7", "search"), tool("b", "c8")], (2, "c7", "search", 2)),
        ([ASKED, ONE, tool("a"), tool("b")], (3, "c0", None, 1)),
        ([ASKED, tool("a", None), assistant("Done")], (1, None, None, 1)),
    ],
)
def test_an_orphan_is_an_observation_without_a_call(messages: list[Message], expected: tuple | None) -> None:
    marked = mark_orphan_observation(make_frame(make_trajectory(messages))).collect().row(0, named=True)
    assert marked["reason"] == (None if expected is None else "orphan_observation")
    names = ["message_index", "call_id", "tool", "num_faults"]
    assert marked["evidence"] == (
        None if expected is None else orjson.dumps(dict(zip(names, expected, strict=True))).decode()
    )


def test_null_messages_pass_both_gates() -> None:
    frame = make_frame(make_trajectory() | {"messages": None})
    assert mark_orphan_observation(mark_unpaired_call(frame)).select(pl.col("reason")).collect().rows() == [(None,)]
