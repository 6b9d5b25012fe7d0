"""Calls are read out of text as they were emitted, and broken ones stay calls."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.formats.base import tool_call
from pipeline.rollouts.tool_texts import DIALECTS, HERMES, LlamaJson, Said, object_members

CALL = '<tool_call>\n{"name": "look", "arguments": {"q": 1}}\n</tool_call>'
LOOK = tool_call("look", '{"q": 1}')
LLAMA = LlamaJson()
PIECES = (
    "<tool_call>",
    "</tool_call>",
    "{",
    "}",
    '"name"',
    ":",
    '"',
    "\\",
    ",",
    '"arguments"',
    "[",
    "3",
    ";",
    " ",
    '"f"',
)


def _hermes(body: str) -> str:
    return f"<tool_call>{body}</tool_call>"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Said(None)),
        ("  It is 4. ", Said("It is 4.")),
        (CALL, Said(None, (LOOK,))),
        (f"Let me look.\n{CALL}", Said("Let me look.", (LOOK,))),
        (f"{CALL}\n{CALL}", Said(None, (LOOK, LOOK))),
        (f"One.{CALL}Two.{CALL} Three.", Said("One.\nTwo.\nThree.", (LOOK, LOOK))),
        # ended by the model itself, its closing tag forgotten
        (CALL.removesuffix("\n</tool_call>"), Said(None, (LOOK,))),
        # arguments as emitted: spaces, doubled keys, escapes, long integers
        (_hermes('{"arguments": { "q" :1.0,"q":2 }, "name":"f"}'), Said(None, (tool_call("f", '{ "q" :1.0,"q":2 }'),))),
        (_hermes('{"name":"f","arguments":{"q":"\\u00e9\\n"}}'), Said(None, (tool_call("f", '{"q":"\\u00e9\\n"}'),))),
        (_hermes(f'{{"name":"f","arguments":{"9" * 5000}}}'), Said(None, (tool_call("f", "9" * 5000),))),
        (_hermes('{"name":"f","arguments":"{\\"q\\": 1}"}'), Said(None, (tool_call("f", '{"q": 1}'),))),
        (_hermes('{"name":"f","parameters":{"q": 1}}'), Said(None, (tool_call("f", '{"q": 1}'),))),
        (_hermes('{"name":"f"}'), Said(None, (tool_call("f", "{}"),))),
        # broken: the text stays as arguments
        (
            _hermes('{"name": "f", "arguments": {"q": '),
            Said(None, (tool_call("f", '{"name": "f", "arguments": {"q":'),)),
        ),
        (
            _hermes('{"name": "f", "arguments": {}} so'),
            Said(None, (tool_call("f", '{"name": "f", "arguments": {}} so'),)),
        ),
        (_hermes('{"name": 3, "arguments": {}}'), Said(None, (tool_call(None, "{}"),))),
        (_hermes('{"arguments": {"q": 1}}'), Said(None, (tool_call(None, '{"q": 1}'),))),
        (_hermes("[1]"), Said(None, (tool_call(None, "[1]"),))),
        (_hermes("look it up"), Said(None, (tool_call(None, "look it up"),))),
        (_hermes(""), Said(None, (tool_call(None, ""),))),
        (_hermes('{"name": "\\ud8"'), Said(None, (tool_call(None, '{"name": "\\ud8"'),))),
    ],
)
def test_hermes_tags_are_read(text: str, expected: Said) -> None:
    assert HERMES.read(text, is_cut=False) == expected


def test_a_call_that_broke_off_was_not_made_and_those_before_it_were() -> None:
    cut = CALL.removesuffix("\n</tool_call>")
    assert HERMES.read(cut, is_cut=True) == Said(cut)
    assert HERMES.read(f"{CALL}\n{cut}", is_cut=True) == Said(cut, (LOOK,))
    assert LLAMA.read('{"name": "look", "parameters": {"q"', is_cut=True) == Said('{"name": "look", "parameters": {"q"')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"name": "look", "parameters": {"q": 1}}', Said(None, (LOOK,))),
        ('\n{"name": "look", "arguments": {"q": 1}} ', Said(None, (LOOK,))),
        ('<|python_tag|>{"name": "look", "parameters": {"q": 1}}', Said(None, (LOOK,))),
        (
            '{"name": "look", "parameters": {"q": 1}}; {"name": "look", "parameters": {"q": 1}}',
            Said(None, (LOOK, LOOK)),
        ),
        ('{"name": "look", "parameters": {"q": 1}} Done.', Said("Done.", (LOOK,))),
        ('{"name": "f", "parameters": {"q": }}', Said(None, (tool_call("f", '{"name": "f", "parameters": {"q": }}'),))),
        ('{"answer": 4}', Said('{"answer": 4}')),
        ('{"name": "Bob"}', Said('{"name": "Bob"}')),
        ("{4}", Said("{4}")),
        ("I call look.", Said("I call look.")),
        ('Sure: {"name": "look", "parameters": {"q": 1}}', Said('Sure: {"name": "look", "parameters": {"q": 1}}')),
        ("", Said(None)),
    ],
)
def test_llama_json_is_read(text: str, expected: Said) -> None:
    assert LLAMA.read(text, is_cut=False) == expected


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a"', '{"a":', '{"a": 1', '{"a": 1,}', '{"a": 1 "b": 2}', "{1: 2}"])
def test_what_is_no_object_has_no_members(text: str) -> None:
    assert object_members(text, 0) is None


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=12).map("".join), st.booleans())
def test_no_text_is_too_broken_to_read(text: str, is_cut: bool) -> None:  # noqa: FBT001 - drawn
    for dialect in DIALECTS:
        said = dialect.read(text, is_cut=is_cut)
        assert all(isinstance(call["arguments"], str) for call in said.tool_calls)
        assert said.content is None or said.content == said.content.strip() != ""


def test_nesting_without_end_is_a_broken_call() -> None:
    deep = '{"name": "f", "arguments": ' + "[" * 200_000
    assert HERMES.read(f"<tool_call>{deep}</tool_call>", is_cut=False) == Said(None, (tool_call("f", deep),))
