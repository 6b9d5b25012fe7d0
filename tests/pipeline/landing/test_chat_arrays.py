"""A file that is one JSON array of chat messages is one record; any other array is its elements."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline.formats.registry import detect
from pipeline.landing.reading import read_records
from tests.pipeline.landing.shapes import LIMIT, read, talk, told

CHAT = [
    {"role": "system", "content": "s"},
    {"role": "user", "content": "q"},
    {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]},
    {"role": "tool", "content": "1"},
]
OTHER = [{"role": "user", "content": f"question {k}"} for k in range(2)]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("style", ["one line", "pretty", "by lines"])
def test_an_array_of_messages_is_one_record(tmp_path: Path, count: int, style: str) -> None:
    chat = CHAT[:count]
    data = {
        "one line": orjson.dumps(chat),
        "pretty": json.dumps(chat, indent=4).encode() + b"\n",
        "by lines": b"[" + b",\n".join(map(orjson.dumps, chat)) + b"]\n",
    }[style]
    assert told(read(tmp_path / "f", data)) == [chat]


def test_a_chat_has_the_id_it_has_as_a_line_of_json_lines(tmp_path: Path) -> None:
    alone = read(tmp_path / "a", json.dumps(CHAT, indent=1).encode())
    lines = read(tmp_path / "b", orjson.dumps(CHAT) + b"\n" + orjson.dumps(OTHER) + b"\n")
    assert [record.raw_id for record in alone] == [lines[0].raw_id]


def test_several_arrays_of_messages_are_a_record_each(tmp_path: Path) -> None:
    data = b"\n".join(json.dumps(chat, indent=1).encode() for chat in (CHAT, OTHER))
    assert told(read(tmp_path / "f", data)) == [CHAT, OTHER]


@pytest.mark.parametrize(
    "array",
    [
        [talk(0), talk(1)],
        [{"role": "User", "text": "of API-Bank"}, {"role": "AI", "text": "a"}],
        [{"role": "narrator", "content": "x"}, {"role": "chorus", "content": "y"}],
        [{"role": "user", "content": "x", "messages": CHAT}, {"role": "user", "content": "y", "messages": CHAT}],
        [*OTHER, {"id": 3}],
        [*OTHER, "text"],
        [*OTHER, [CHAT[0]]],
        [CHAT, OTHER],
        [{"role": ["user"], "content": "x"}],
    ],
)
def test_an_array_of_anything_else_is_its_elements(tmp_path: Path, array: list[Any]) -> None:
    for data in (orjson.dumps(array), json.dumps(array, indent=2).encode()):
        assert told(read(tmp_path / "f", data)) == array


def test_a_chat_that_is_cut_off_is_one_record_that_says_so(tmp_path: Path) -> None:
    for data in (orjson.dumps(CHAT)[:-1], orjson.dumps(CHAT)[:-9], orjson.dumps(OTHER)[:-4]):
        [record] = read(tmp_path / "f", data)
        assert record.error == "the file ends inside a JSON value: still being written, or cut"
        assert record.snippet is not None
        assert record.snippet.startswith('[{"role":')


def test_a_chat_larger_than_the_limit_is_passed_over_without_being_held(tmp_path: Path) -> None:
    path = tmp_path / "f"
    with path.open("wb") as handle:
        handle.write(b"[" + orjson.dumps(CHAT[1]))
        for _ in range(3000):
            handle.write(b",\n" + orjson.dumps({"role": "user", "content": "x" * 20_000}))
        handle.write(b"]\n" + json.dumps(OTHER, indent=1).encode())
    tracemalloc.start()
    large, other = read(path, limit=1 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    size = path.stat().st_size - len(json.dumps(OTHER, indent=1)) - 1
    assert large.error == f"a JSON value of {size} bytes; want at most 1048576"
    assert other.value == OTHER
    assert peak < 40 << 20  # of 60 MB


def test_the_whole_chat_reaches_its_format(tmp_path: Path) -> None:
    turns = [
        {"role": "user", "content": "Please solve this issue: Fix it."},
        {"role": "assistant", "content": "```mswea_bash_command\nls\n```"},
        {"role": "user", "content": "<returncode>0</returncode>\n<output>\na\n</output>"},
    ]
    (tmp_path / "f").write_text(json.dumps(turns, indent=2))
    [record] = read_records(tmp_path / "f", max_record_bytes=LIMIT)
    known = detect(record.value)
    assert known is not None
    assert known.name == "mini_swe"
    assert [item["role"] for item in known.parse(record.value).messages] == ["user", "assistant", "tool"]
