"""What no event format may claim, and what becomes of their records when broken anywhere."""

import copy
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from pipeline.errors import FormatError
from pipeline.formats import registry
from pipeline.formats.base import Parsed
from tests.pipeline.formats.event_records import (
    atif_record,
    event,
    export,
    flat,
    genai_trace,
    managed_lines,
    openhands_call,
    read,
    result,
    run,
    text,
    trail_span,
    use,
)

EVENT_FORMATS = registry.FORMATS[: registry.FORMATS.index(registry.ANTHROPIC_MESSAGES) + 1]


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        "text",
        [],
        {},
        [1, 2],
        {"hello": "world"},
        {"tools": [{"name": "a", "input_schema": {"type": "object"}}]},
        {"$defs": {"ChatMessage": {"type": "object"}}, "title": "InputMessages", "type": "array"},
        {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]},
        {"history": [{"role": "assistant", "name": "Expert", "content": "x"}], "mistake_agent": "Expert"},
        {"trajectory": [{"role": "user", "content": "hi"}]},
        {"instance_id": "i", "source": "mcp", "declared_capabilities": [{"name": "scan", "type": "execution"}]},
        {"users": {"mia": {"name": "Mia"}}},
        {"cursor_session": "cur_01", "content": "This file is of another tool."},
        {"id": "q", "content": [{"type": "text", "text": "x"}]},
        {"steps": [{"action": "x"}], "benchmark": 7},
        {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "t", "attributes": []}]}]}]},
    ],
)
def test_other_things_are_claimed_by_no_event_format(value: Any) -> None:
    groups = list(registry.group_values(enumerate([value]), EVENT_FORMATS))
    assert [group.record for group in groups] == [value]
    assert [known.name for known in EVENT_FORMATS if known.detects(value)] == []


WHOLE_FILES: dict[str, list[Any]] = {
    "claude_code": [
        event("user", "u1", None, "Do A"),
        event("assistant", "u2", "u1", [text("Yes."), use("a", "A")], message_id="m1"),
        event("user", "u3", "u2", [result("a", [text("done")])], toolUseResult={"agentId": "x"}),
    ],
    "anthropic_messages": [
        {
            "system": "S",
            "tools": [{"name": "Bash", "input_schema": {}}],
            "messages": [
                {"role": "assistant", "content": [use("a", "A")]},
                {"role": "user", "content": [result("a", "x")]},
            ],
        }
    ],
    "atif": [atif_record()],
    "openhands": [
        {
            "history": [
                {"id": 1, "source": "user", "action": "message", "args": {"content": "Fix it."}},
                openhands_call(3, "a", response="r1", calls=["a"]),
                {
                    "id": 5,
                    "source": "agent",
                    "observation": "run",
                    "content": "A",
                    "cause": 3,
                    "extras": {"image_urls": []},
                },
            ],
            "metadata": {"llm_config": {"model": "m"}},
        }
    ],
    "swe_agent": [
        {
            "trajectory": [{"action": "ls", "observation": "a", "thought": "Look."}],
            "history": [{"role": "user", "content": "Fix it.", "agent": "main"}],
            "info": {"submission": "x"},
        }
    ],
    "swe_agent nebius": [
        {"trajectory": [{"role": "ai", "text": "```\nls\n```"}, {"role": "user", "text": "a"}], "target": True}
    ],
    "adp": [
        {
            "id": "x",
            "content": [
                {"class_": "api_action", "function": "f", "kwargs": {}, "description": "d"},
                {"class_": "web_observation", "axtree": "p", "image_observation": {"content": "1.png"}},
                {"class_": "message_action", "content": "<finish>1</finish>"},
            ],
            "details": {"tools": "[]", "test_result": '{"report": {"resolved": true}}'},
        }
    ],
    "agent_reward_bench": [
        {
            "benchmark": "b",
            "goal": [text("g")],
            "summary_info": {"cum_reward": 1},
            "steps": [
                {"action": "click('1')", "axtree": "p", "chat_messages": [{"role": "system", "content": "s"}]},
                {"action": None, "axtree": "q", "chat_messages": [{"role": "assistant", "content": "s"}]},
            ],
        }
    ],
    "otlp_genai": [export(*genai_trace())],
    "openinference": [
        {
            "trace_id": "t",
            "spans": [
                trail_span(
                    "l",
                    "LLM",
                    1,
                    trail_span("x", "TOOL", 2, tool__name="f", output__value="y"),
                    **flat("input", {"role": "user", "content": "q"}),
                    **flat("output", {"role": "assistant", "calls": [("c", "f", "{}")]}),
                )
            ],
        }
    ],
    "langsmith": [
        run(
            "llm",
            "1",
            "1",
            inputs={"messages": [{"role": "user", "content": "q"}]},
            outputs={"choices": [{"message": {"role": "assistant", "content": "a"}}]},
        ),
        run("tool", "2", "2", "1", outputs={"output": "x"}),
    ],
    "langsmith batch": [
        {
            "post": [run("llm", "1", "1", inputs={"messages": [{"role": "user", "content": "q"}]})],
            "patch": [
                {"id": "1", "trace_id": "t", "dotted_order": "1", "outputs": {"role": "assistant", "content": "a"}}
            ],
        }
    ],
    "anthropic_managed": managed_lines(),
}


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a value."""
    if at:
        yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, held in items:
        yield from paths(held, (*at, key))


@pytest.mark.parametrize("name", WHOLE_FILES)
def test_a_file_broken_at_any_one_place_gives_a_trajectory_or_a_format_error(name: str) -> None:
    whole = WHOLE_FILES[name]
    assert [known for known, _ in read(*whole)] == [name.split()[0]]
    parsed_records = refused = 0
    for path in paths(whole):
        for wrong in (None, 7, "x", [], {}, [1], {"type": []}, True):
            broken = copy.deepcopy(whole)
            holder: Any = broken
            for key in path[:-1]:
                holder = holder[key]
            holder[path[-1]] = wrong
            for group in registry.group_values(enumerate(broken), EVENT_FORMATS):
                known = next((known for known in EVENT_FORMATS if known.detects(group.record)), None)
                if known is None:
                    continue
                try:
                    parsed = known.parse(group.record)
                except FormatError:
                    refused += 1
                    continue
                parsed_records += 1
                assert_well_formed(parsed, (path, wrong))
    assert parsed_records > 0
    assert refused > 0 or name == "swe_agent nebius"


def assert_well_formed(parsed: Parsed, where: Any) -> None:
    """Every message has the types of the schema, and the metadata can be written."""
    for item in parsed.messages:
        assert item["role"] in ("system", "user", "assistant", "tool"), where
        for held in (item["content"], item["reasoning"], item["tool_call_id"], item["name"]):
            assert held is None or isinstance(held, str), where
        for call in item["tool_calls"] or ():
            assert all(held is None or isinstance(held, str) for held in call.values()), where
        assert all(isinstance(image, str) for image in item["images"] or ()), where
    for told in (parsed.prompt, parsed.final_answer, parsed.ground_truth):
        assert told is None or isinstance(told, str), where
    assert parsed.success in (None, True, False), where
    assert parsed.reward is None or isinstance(parsed.reward, float), where
    orjson.dumps(parsed.metadata)
