"""The gate on loops, at the limit and one short of it."""

import orjson
import pytest

from pipeline.config import StructureGate
from pipeline.schema import Message
from pipeline.stages.repeated import mark_repeated_call
from tests.factories import assistant, make_frame, make_trajectory, reasons_of, tool, user

GATE = StructureGate(max_repeats=3)


def rounds(*steps: tuple[str, str, str | None]) -> list[Message]:
    """A user message, then one turn for each (tool, arguments, observation); null: nothing came back."""
    messages = [user("Go")]
    for name, arguments, observation in steps:
        messages.append(assistant(None, (name, arguments)))
        if observation is not None:
            messages.append(tool(observation))
    return messages


SAME = ("search", '{"a":1,"b":2}', "nothing")


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        (rounds(SAME, SAME), None),
        (rounds(SAME, SAME, SAME), ("call", "search", 1, 3)),
        (rounds(SAME, ("search", '{ "b": 2, "a": 1 }', "nothing"), SAME), ("call", "search", 1, 3)),
        (rounds(SAME, ("open", "{}", "x"), SAME, ("open", "{}", "y"), SAME), ("call", "search", 1, 3)),
        (rounds(SAME, SAME, ("search", '{"a":1,"b":2}', "something")), None),
        (rounds(SAME, SAME, ("search", '{"a":1,"b":3}', "nothing")), None),
        (rounds(SAME, SAME, ("lookup", '{"a":1,"b":2}', "nothing")), None),
        (rounds(SAME, SAME, ("search", '{"a":1,"b":2}', None)), None),
        (rounds(*[("scroll", "{}", f"page {k}") for k in range(5)]), None),
        (rounds(*[("run", "ls -l", "")] * 4), ("call", "run", 1, 4)),
        ([user("Go"), *[assistant("No."), user("Try")] * 3], ("text", None, 1, 3)),
        ([user("Go"), *[assistant("No."), user("Try")] * 2, assistant("Yes."), assistant("No.")], None),
        ([user("Go"), *[assistant("No.", ("f", {"k": k})) for k in range(3)]], None),
        ([user("Go"), *[assistant(" ")] * 3], None),
    ],
)
def test_a_loop_is_three_times_the_same_with_the_same_result(messages: list[Message], expected: tuple | None) -> None:
    marked = mark_repeated_call(make_frame(make_trajectory(messages)), GATE).collect().row(0, named=True)
    assert marked["reason"] == (None if expected is None else "repeated_call")
    if expected is not None:
        told = orjson.loads(marked["evidence"])
        assert (told["kind"], told["tool"], told["message_index"], told["num_repeats"]) == expected


def test_two_trajectories_that_say_the_same_are_no_loop() -> None:
    rows = [make_trajectory(rounds(SAME, SAME)), make_trajectory(rounds(SAME, SAME))]
    texts = [make_trajectory([assistant("No.")] * 2), make_trajectory([assistant("No.")] * 2)]
    assert reasons_of(mark_repeated_call(make_frame(*rows, *texts), GATE)) == [None] * 4


def test_null_messages_pass() -> None:
    assert reasons_of(mark_repeated_call(make_frame(make_trajectory() | {"messages": None}), GATE)) == [None]
