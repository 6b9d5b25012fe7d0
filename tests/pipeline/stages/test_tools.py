"""The gates on declared tools and arguments, and the schemas they rest on."""

from typing import Any

import orjson
import pytest

from pipeline.config import StructureGate, Unknown
from pipeline.formats.base import message
from pipeline.schema import Message, ToolCall
from pipeline.stages.tool_schemas import BadSchema, check_arguments, declared_tools, normalize_schema
from pipeline.stages.tools import mark_bad_arguments, mark_undeclared_tool
from tests.factories import assistant, make_frame, make_trajectory, user

SEARCH: dict[str, Any] = {
    "name": "search",
    "parameters": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
}
PASSING, REVIEWING = StructureGate(), StructureGate(undeclared_tool_unknown=Unknown.REVIEW, bad_schema=Unknown.REVIEW)


def tools(*functions: dict[str, Any]) -> str:
    return orjson.dumps([{"type": "function", "function": function} for function in functions]).decode()


def called(name: str | None, arguments: str | None) -> list[Message]:
    call: ToolCall = {"id": "c0", "name": name, "arguments": arguments}
    return [user("Go"), message("assistant", tool_calls=[call])]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("", None),
        ("[]", None),
        ("{", None),
        ('{"name":"a"}', None),
        ('["a"]', None),
        ('[{"type":"function"}]', None),
        (tools({"name": "a"}), {"a": None}),
        ('[{"name":"a","parameters":{}}]', {"a": None}),
        ('[{"name":"a","input_schema":{"type":"object"}}]', {"a": '{"type":"object"}'}),
        (tools({"name": "a"}, {"name": "b", "parameters": {"type": "dict"}}), {"a": None, "b": '{"type":"dict"}'}),
    ],
)
def test_declared_tools_are_read_in_every_shape(text: str | None, expected: dict[str, str | None] | None) -> None:
    assert declared_tools(text) == expected


@pytest.mark.parametrize(
    ("messages", "declared", "passing", "reviewing"),
    [
        (called("search", "{}"), tools(SEARCH), None, None),
        (called("Search", "{}"), tools(SEARCH), "undeclared_tool", "undeclared_tool"),
        (called(None, "{}"), tools(SEARCH), "undeclared_tool", "undeclared_tool"),
        (called("search", "{}"), None, None, "unknown_schema"),
        (called("search", "{}"), "[]", None, "unknown_schema"),
        (called("search", "{}"), "not json", None, "unknown_schema"),
        ([user("Go"), assistant("Done")], None, None, None),
        ([user("Go"), assistant("Done")], tools(SEARCH), None, None),
    ],
)
def test_undeclared_is_a_call_to_a_tool_off_the_list(
    messages: list[Message], declared: str | None, passing: str | None, reviewing: str | None
) -> None:
    frame = make_frame(make_trajectory(messages, tools=declared))
    for gate, expected in ((PASSING, passing), (REVIEWING, reviewing)):
        assert mark_undeclared_tool(frame, gate).collect()["reason"].to_list() == [expected]


def test_the_evidence_of_an_undeclared_tool_names_it_and_what_was_declared() -> None:
    messages = [user("Go"), assistant(None, ("search", {}), ("open", {}), ("shut", {}))]
    marked = mark_undeclared_tool(make_frame(make_trajectory(messages, tools=tools(SEARCH))), PASSING).collect()
    assert orjson.loads(marked["evidence"][0]) == {
        "message_index": 1,
        "call_index": 1,
        "tool": "open",
        "declared": ["search"],
        "num_faults": 2,
    }


@pytest.mark.parametrize(
    ("arguments", "path", "wanted", "found"),
    [
        ('{"query":"moon"}', None, None, None),
        ('{"query":"moon","more":1}', None, None, None),
        ('{"query":3}', "/query", 'type: ["string"]', "3"),
        ("{}", "", 'required: "query"', "{}"),
        (None, "", 'required: "query"', "{}"),
        (" ", "", 'required: "query"', "{}"),
        ("[1]", "", "a JSON object", "[1]"),
        ('"query"', "", "a JSON object", '"query"'),
        ('{"query":NaN}', "", "a JSON object", 'not JSON from character 9: {"query":NaN}'),
    ],
)
def test_bad_arguments_name_the_place_what_was_wanted_and_what_stands_there(
    arguments: str | None, path: str | None, wanted: str | None, found: str | None
) -> None:
    frame = make_frame(make_trajectory(called("search", arguments), tools=tools(SEARCH)))
    marked = mark_bad_arguments(frame, PASSING).collect().row(0, named=True)
    assert marked["reason"] == (None if wanted is None else "bad_arguments")
    if wanted is not None:
        told = orjson.loads(marked["evidence"])
        assert told.pop("found") == found
        assert told == {
            "message_index": 1,
            "call_index": 0,
            "tool": "search",
            "path": path,
            "wanted": wanted,
            "num_faults": 1,
        }


@pytest.mark.parametrize(
    ("declared", "arguments", "passing", "reviewing"),
    [
        (None, "{}", None, None),
        (None, "{", "bad_arguments", "bad_arguments"),
        (tools({"name": "search"}), '{"any":1}', None, None),
        (tools({"name": "open", "parameters": {"type": "string"}}), '{"any":1}', None, None),
        (tools({"name": "search", "parameters": {"type": "nonsense"}}), "{}", None, "unknown_schema"),
        (tools({"name": "search", "parameters": {"type": "nonsense"}}), "{", "bad_arguments", "bad_arguments"),
        (tools({"name": "search", "parameters": [1]}), "{}", None, "unknown_schema"),
    ],
)
def test_arguments_without_a_usable_schema_need_only_be_an_object(
    declared: str | None, arguments: str, passing: str | None, reviewing: str | None
) -> None:
    frame = make_frame(make_trajectory(called("search", arguments), tools=declared))
    for gate, expected in ((PASSING, passing), (REVIEWING, reviewing)):
        assert mark_bad_arguments(frame, gate).collect()["reason"].to_list() == [expected]


def test_a_fault_outweighs_a_bad_schema_and_each_schema_is_of_its_own_row() -> None:
    broken = {"name": "broken", "parameters": {"type": "nonsense"}}
    strict = {"name": "search", "parameters": {"type": "object", "required": ["page"]}}
    both = [user("Go"), assistant(None, ("broken", {}), ("search", {}))]
    frame = make_frame(
        make_trajectory(both, tools=tools(broken, SEARCH)),
        make_trajectory(called("search", '{"query":"a"}'), tools=tools(SEARCH)),
        make_trajectory(called("search", '{"query":"a"}'), tools=tools(strict)),
    )
    marked = mark_bad_arguments(frame, REVIEWING).collect()
    assert marked["reason"].to_list() == ["bad_arguments", None, "bad_arguments"]
    assert [told and orjson.loads(told)["wanted"] for told in marked["evidence"]] == [
        'required: "query"',
        None,
        'required: "page"',
    ]


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "dict"}, {"type": "object"}),
        ({"type": "FLOAT"}, {"type": "number"}),
        ({"type": "tuple", "items": {"type": "int"}}, {"type": "array", "items": {"type": "integer"}}),
        ({"type": "any"}, {}),
        ({"type": ["str", "NoneType"]}, {"type": ["string", "null"]}),
        ({"properties": {"type": {"type": "str"}}}, {"properties": {"type": {"type": "string"}}}),
        ({"enum": [{"type": "dict"}]}, {"enum": [{"type": "dict"}]}),
        (
            {"properties": {"a": {"type": "int", "required": True}, "b": {"required": False}}},
            {"properties": {"a": {"type": "integer"}, "b": {}}, "required": ["a"]},
        ),
        ({"anyOf": [{"type": "bool"}, True]}, {"anyOf": [{"type": "boolean"}, True]}),
        (True, True),
    ],
)
def test_types_of_other_languages_become_json_schemas(schema: Any, expected: Any) -> None:
    before = orjson.dumps(schema)
    assert normalize_schema(schema) == expected
    assert orjson.dumps(schema) == before


@pytest.mark.parametrize(
    "schema",
    [
        '{"$ref":"file:///etc/hostname"}',
        '{"$ref":"http://127.0.0.1:9/x"}',
        '{"pattern":"("}',
        '{"$schema":"http://a/b"}',
    ],
)
def test_a_schema_that_points_outside_or_is_broken_decides_nothing(schema: str) -> None:
    assert isinstance(check_arguments(schema, "{}"), BadSchema)


def test_deep_and_explosive_input_ends_in_a_verdict() -> None:
    deep = '{"a":' * 10_000 + "1" + "}" * 10_000
    fault = check_arguments(None, deep)
    assert fault is not None
    assert not isinstance(fault, BadSchema)
    assert fault.wanted == "a JSON object"
    assert isinstance(check_arguments('{"items":' * 500 + "{}" + "}" * 500, "{}"), BadSchema)
    assert check_arguments('{"$ref":"#"}', "{}") is None
    catastrophic = '{"properties":{"a":{"pattern":"^((a*)*)*\\\\2b$"}}}'
    assert isinstance(check_arguments(catastrophic, orjson.dumps({"a": "a" * 60}).decode()), BadSchema)


def test_evidence_of_a_long_value_is_cut() -> None:
    fault = check_arguments(orjson.dumps(SEARCH["parameters"]).decode(), orjson.dumps({"query": ["x" * 999]}).decode())
    assert fault is not None
    assert not isinstance(fault, BadSchema)
    assert len(fault.found) == 200
