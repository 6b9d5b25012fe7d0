"""Records of every format, broken at random places: no format may raise anything but FormatError over them."""

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest

from pipeline.errors import FormatError
from pipeline.formats import registry
from pipeline.formats.base import Parsed
from pipeline.formats.chat_wrappers import with_chat_decoded
from pipeline.landing.identity import UniqueIds, canonical_hash
from pipeline.landing.reading import RawRecord
from pipeline.landing.rows import batches, rows_of
from pipeline.tokens import TokenCounter
from tests.pipeline.formats.test_broken_event_records import WHOLE_FILES, assert_well_formed
from tests.pipeline.formats.test_text_protocols import SOUND

MUTATIONS = 3000
TOTAL_DEPTH = 240
"""Deepest value made; the reader lets none of more levels through."""

SEARCH = {"name": "search", "parameters": {"type": "object", "properties": {"q": {"type": "string"}}}}
CALL = {"id": "c", "type": "function", "function": {"name": "search", "arguments": '{"q": "moon"}'}}
CHAT = [
    {"role": "user", "content": [{"type": "text", "text": "q?"}, {"type": "image_url", "image_url": {"url": "a"}}]},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c", "content": "far"},
    {"role": "assistant", "content": "Far."},
]
TAGGED = [
    {"role": "system", "content": '<tools>\n{"name": "search"}\n</tools>'},
    {"role": "user", "content": "q"},
    {"role": "assistant", "content": '<tool_call>\n{"name": "f", "arguments": {"q": [1, {"a": null}]}}\n</tool_call>'},
    {"role": "user", "content": "<tool_response>\nfar\n</tool_response>"},
]
TOLD = {"reward": 1, "success": True, "tools": [SEARCH], "images": ["a"], "eval_result": {"score": 1}}

FILES: dict[str, list[Any]] = {
    **WHOLE_FILES,
    **{name: value if isinstance(value, list) else [value] for name, value in SOUND.items()},
    "graded_sample": [{"sample": "s", "corpus": "c", "records": [{"raw": {"messages": CHAT}}]}],
    "verl": [
        {"prompt": CHAT[:1], "reward_model": {"ground_truth": "4"}, "extra_info": {"answer": "4"}, "tools": [SEARCH]}
    ],
    "bfcl": [
        {"id": "a", "question": [[{"role": "user", "content": "q"}]], "function": [SEARCH], "ground_truth": [["f()"]]}
    ],
    "bfcl_replay": [
        {"id": "m", "turns": [{"user": CHAT[:1], "calls": ["cd(folder='t')", "Fs.ls(x=[1])"], "outputs": ["{}", "1"]}]}
    ],
    "tooltalk": [
        {
            "name": "Alarm",
            "conversation": [
                {"index": 0, "role": "user", "text": "q"},
                {
                    "index": 1,
                    "role": "assistant",
                    "text": "a",
                    "apis": [{"request": {"api_name": "A", "parameters": {}}, "response": {"x": 1}, "exception": None}],
                },
            ],
        }
    ],
    "multi_agent_chat": [
        {
            "question": "q",
            "history": [
                {"content": "```python\n4\n```", "name": "Coder", "role": "assistant"},
                {"content": "exitcode: 0 (execution succeeded)", "name": "Computer_terminal", "role": "user"},
            ],
            "ground_truth": "1",
            "is_correct": False,
            "mistake_agent": "Coder",
        }
    ],
    "multi_agent_chat mast": [
        {
            "mas_name": "AG2",
            "trace": {"key": "a", "trajectory": "{'content': ['x'], 'role': 'user', 'name': 'p'}"},
            "mast_annotation": {"1.1": 0},
        }
    ],
    "display_text": [{"messages_display": "user: q\nassistant: a", "reward": 1}],
    "react_text": ["Question: q\nThought 1: t\nAction 1: Search[a]\nObservation 1: b\nAction 2: Finish[c]\n"],
    "react_chat fireact": [{"7": {"gt": "a", "reward": True, "em": True, "prompt": [], "traj": CHAT}}],
    "react_chat beside": [
        {"messages": SOUND["react_chat"]["messages"], "gt": "a", "em": True, "answer": ["b"], **TOLD}
    ],
    "hermes text": ["".join(f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n" for turn in TAGGED)],
    "hermes metis": [{"messages": orjson.dumps(TAGGED).decode(), "images": ["a"], "label": "b", **TOLD}],
    "sharegpt": [
        {
            "conversations": [
                {"from": "human", "value": "q"},
                {"from": "function_call", "value": '{"name": "search", "arguments": {"q": "moon"}}'},
                {"from": "observation", "value": "far"},
                {"from": "gpt", "value": "<think>t</think>Far."},
            ],
            "system": "s",
            **TOLD,
        }
    ],
    "openai_chat": [{"messages": CHAT, "answer": "far", "metadata": {"label": 1}, **TOLD}],
    "openai_chat logged": [
        {
            "request": {"body": {"messages": CHAT[:1], "tools": [{"function": SEARCH}]}},
            "response": {"body": {"choices": [{"message": CHAT[1], "finish_reason": "stop"}]}},
        }
    ],
    "openai_chat blocks": [
        {
            "prompt": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "x"}]}],
            "completion": [
                {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}]}
            ],
        }
    ],
    "questions": [{"question": "q", "answer": "3 #### 4", "choices": {"label": ["A"], "text": ["x"]}, "images": "a"}],
}
"""Format, and a word for its spelling, to the values of a small file of it."""


def nested(depth: int) -> Any:
    """Lists and objects in turn, this many levels deep."""
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"role": value}
    return value


WRONG: tuple[Callable[[int], Any], ...] = (
    lambda room: None,
    lambda room: 7,
    lambda room: -1.5,
    lambda room: True,
    lambda room: "",
    lambda room: "x",
    lambda room: [],
    lambda room: ["x", {}],
    lambda room: {},
    lambda room: {"role": ["user"], "type": {}, "content": 3},
    lambda room: "[{]}<a> " * 10_000,
    nested,
)
"""What a value is replaced by, given the levels of nesting still allowed."""


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, held in items:
        yield (*above, key)
        yield from places(held, (*above, key))


def broken(values: list[Any], rng: random.Random) -> list[Any]:
    """The values with one to three places replaced, twisted or dropped."""
    values = copy.deepcopy(values)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        found = list(places(values))
        if not found:
            break
        path = rng.choice(found)
        holder: Any = values
        for key in path[:-1]:
            holder = holder[key]
        held = holder[path[-1]]
        if isinstance(held, str) and rng.random() < 0.4:
            holder[path[-1]] = twisted(held, rng)
        elif rng.random() < 0.15:
            del holder[path[-1]]
        else:
            holder[path[-1]] = rng.choice(WRONG)(TOTAL_DEPTH - len(path))
    return values


def twisted(text: str, rng: random.Random) -> str:
    """The text with a piece of it cut out, or said twice, or something put in between."""
    start, end = sorted(rng.randint(0, len(text)) for _ in range(2))
    again = text[start:end] * 2
    middle = rng.choice(("", again, "\x00\ufffd", '{"name": ["f"], "arguments": 3}', "<tool_call>[[", "\n"))
    return text[:start] + middle + text[end:]


def look_at(value: Any) -> None:
    """Ask every format about one value of a file, as the reader does; any error passes through."""
    for known in registry.FORMATS:
        for name in ("session_key", "unpack", *(("split",) if isinstance(value, str) else ())):
            ask = getattr(known, name, None)
            if ask is not None:
                ask(value)


def parsed_of(record: Any) -> Parsed | None:
    """What the first format that knows the record reads; None if none does, or it says that the record is broken."""
    record = with_chat_decoded(record)
    claimed = [known for known in registry.FORMATS if known.detects(record)]  # all are asked, also behind the first
    try:
        return claimed[0].parse(record) if claimed else None
    except FormatError:
        return None


def records_of(values: list[Any]) -> list[Any]:
    """The records in a file of these values."""
    parts = [part for value in values for part in (registry.split_text(value) if isinstance(value, str) else [value])]
    return [group.record for group in registry.group_values(enumerate(parts))]


def test_every_format_has_a_sample_that_is_read() -> None:
    read: set[str] = set()
    for values in FILES.values():
        for record in records_of(values):
            known = registry.detect(with_chat_decoded(record))
            if known is not None:
                read.add(known.name)
    assert read == {known.name for known in registry.FORMATS} - {"graded_sample"}


@pytest.mark.parametrize("name", FILES)
def test_a_broken_record_never_raises_and_always_becomes_a_row(name: str) -> None:
    rng = random.Random(name)
    records: list[RawRecord] = []
    outcomes: set[str] = set()
    for _ in range(MUTATIONS // len(FILES) + 1):
        values = broken(FILES[name], rng)
        for value in values:
            look_at(value)
        for record in records_of(values):
            parsed = parsed_of(record)
            if parsed is not None:
                assert_well_formed(parsed, values)
            outcomes.add("not read" if parsed is None else "read")
            records.append(RawRecord(record, canonical_hash(record), [0], len(records)))
    assert "read" in outcomes
    rows = rows_of(records, source="s", raw_path="p", ids=UniqueIds(), purged=set())
    frames = list(batches(rows, TokenCounter(None), max_rows=1000, max_bytes=1 << 30))
    assert sum(frame.height for frame in frames) == len(records)
    assert max(frame["evidence"].str.len_chars().max() or 0 for frame in frames) < 1_000
