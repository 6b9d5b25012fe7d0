"""The gates on emptiness and length, edge by edge."""

from typing import Any

import pytest

from pipeline.config import LengthGate
from pipeline.formats.base import message
from pipeline.schema import Message
from pipeline.stages.empty import mark_empty
from pipeline.stages.length import mark_overlong
from tests.factories import assistant, make_frame, make_trajectory, tool, user


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], "messages"),
        ([user("Hi"), assistant("Hello")], None),
        ([message("system", "Be kind."), assistant("Hello")], None),
        ([message("user", None, images=["a.png"]), assistant("A cat")], None),
        ([user(" \n"), assistant("Hello")], "prompt"),
        ([assistant("Hello"), tool("x")], "prompt"),
        ([user("Hi"), assistant(None, ("search", {}))], None),
        ([user("Hi"), assistant(" ")], "reply"),
        ([user("Hi"), message("assistant", None, reasoning="Let me think")], "reply"),
        ([user("Hi"), user("Anyone?")], "reply"),
    ],
)
def test_empty_is_no_messages_no_prompt_or_no_reply(messages: list[Message], expected: str | None) -> None:
    marked = mark_empty(make_frame(make_trajectory(messages))).collect().row(0, named=True)
    assert marked["reason"] == (None if expected is None else "empty")
    told = None if expected is None else f'{{"missing":"{expected}","num_messages":{len(messages)}}}'
    assert marked["evidence"] == told


def test_null_messages_are_empty() -> None:
    row: dict[str, Any] = make_trajectory() | {"messages": None}
    marked = mark_empty(make_frame(row)).collect().row(0, named=True)
    assert (marked["reason"], marked["evidence"]) == ("empty", '{"missing":"messages","num_messages":0}')


@pytest.mark.parametrize(
    ("num_tokens", "reason", "evidence"),
    [
        (99, None, None),
        (100, None, None),
        (101, "overlong", '{"num_tokens":101,"max_tokens":100}'),
        (None, None, None),
    ],
)
def test_overlong_begins_one_past_the_limit(num_tokens: int | None, reason: str | None, evidence: str | None) -> None:
    frame = make_frame(make_trajectory(num_tokens=num_tokens))
    marked = mark_overlong(frame, LengthGate(max_tokens=100)).collect().row(0, named=True)
    assert (marked["reason"], marked["evidence"]) == (reason, evidence)
