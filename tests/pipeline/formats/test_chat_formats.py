"""Chat-shaped formats on small records: the exact messages, and what each must not take."""

import base64
import json
from typing import Any

import pytest

from pipeline.errors import FormatError
from pipeline.formats.base import Parsed, message, tool_call
from pipeline.formats.bfcl import BFCL, BFCL_REPLAY
from pipeline.formats.display_text import DISPLAY_TEXT
from pipeline.formats.openai_chat import OPENAI_CHAT
from pipeline.formats.registry import FORMATS, detect
from pipeline.formats.sharegpt import SHAREGPT
from pipeline.formats.tool_schemas import openai_tools
from pipeline.formats.tooltalk import TOOLTALK
from pipeline.formats.verl import VERL
from pipeline.formats.who_and_when import MULTI_AGENT_CHAT
from pipeline.schema import Message

USER = {"role": "user", "content": "How far is the moon?"}
CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "search", "arguments": '{"q":"moon"}'}}],
}
RESULT = {"role": "tool", "tool_call_id": "c1", "name": "search", "content": "384400 km"}
ANSWER = {"role": "assistant", "content": "384400 km."}
CHAT = [USER, CALL, RESULT, ANSWER]
READ = [
    message("user", "How far is the moon?"),
    message("assistant", tool_calls=[tool_call("search", '{"q":"moon"}', "c1")]),
    message("tool", "384400 km", tool_call_id="c1", name="search"),
    message("assistant", "384400 km."),
]
SEARCH = {"name": "search", "description": "Find.", "parameters": {"type": "object", "properties": {}}}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n0").decode()


def read(record: Any, format_name: str) -> Parsed:
    """What the registry's format of that name reads; the registry must choose it by itself."""
    known = detect(record)
    assert known is not None
    assert known.name == format_name
    return known.parse(record)


def chat(*items: dict[str, Any], **beside: Any) -> list[Message]:
    """The messages openai_chat reads from `items`."""
    return read({"messages": list(items), **beside}, "openai_chat").messages


@pytest.mark.parametrize(
    "record",
    [
        CHAT,
        {"messages": CHAT},
        {"messages": json.dumps(CHAT), "instance_id": "a-1"},
        {"traj": CHAT, "task_id": 0, "trial": 0},
        {"conversations": CHAT},
        {"trajectory": CHAT},
        {"prompt": CHAT[:1], "completion": CHAT[1:]},
        {"messages": CHAT[:3], "response": {"choices": [{"message": ANSWER}]}},
        {"request": {"messages": CHAT[:3]}, "response": {"body": {"choices": [{"message": ANSWER}]}}},
    ],
    ids=["list", "messages", "text", "traj", "conversations", "trajectory", "trl", "response", "logged"],
)
def test_the_same_chat_reads_the_same_under_every_wrapper(record: Any) -> None:
    parsed = read(record, "openai_chat")
    assert parsed.messages == READ
    assert parsed.is_trace


@pytest.mark.parametrize(
    "call",
    [
        {"id": "c1", "type": "function", "function": {"name": "search", "arguments": {"q": "moon"}}},
        {"id": "c1", "name": "search", "arguments": {"q": "moon"}, "requestor": "assistant"},
        {"id": "c1", "function": "search", "args": {"q": "moon"}, "placeholder_args": None},
        {"id": "c1", "name": "search", "args": {"q": "moon"}, "type": "tool_call"},
        {"id": "c1", "type": "custom", "custom": {"name": "search", "input": '{"q":"moon"}'}, "function": None},
    ],
    ids=["openai", "tau2", "agentdojo", "langchain", "custom"],
)
def test_a_call_reads_the_same_in_every_dialect(call: dict[str, Any]) -> None:
    assert chat(USER, {"role": "assistant", "content": None, "tool_calls": [call]}, RESULT, ANSWER) == READ


def test_legacy_function_calls_pair_by_position() -> None:
    called = {"role": "assistant", "content": "I look.", "function_call": {"name": "search", "arguments": "{}"}}
    result = {"role": "function", "name": "search", "content": "found"}
    assert chat(USER, called, result, called, result) == [
        READ[0],
        message("assistant", "I look.", tool_calls=[tool_call("search", "{}", "call_1_0")]),
        message("tool", "found", tool_call_id="call_1_0", name="search"),
        message("assistant", "I look.", tool_calls=[tool_call("search", "{}", "call_3_0")]),
        message("tool", "found", tool_call_id="call_3_0", name="search"),
    ]


def test_anthropic_blocks_become_calls_and_observations() -> None:
    blocks = [
        {"type": "thinking", "thinking": "Look it up."},
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "t1", "name": "search", "input": {"q": "moon"}},
    ]
    back = [{"type": "tool_result", "tool_use_id": "t1", "content": "far"}, {"type": "text", "text": "And?"}]
    said = [USER, {"role": "assistant", "content": blocks}, {"role": "user", "content": back}, ANSWER]
    read_back = OPENAI_CHAT.parse({"request": {"messages": said}}).messages
    assert read_back == [
        READ[0],
        message(
            "assistant", "I look.", reasoning="Look it up.", tool_calls=[tool_call("search", '{"q":"moon"}', "t1")]
        ),
        message("tool", "far", tool_call_id="t1"),
        message("user", "And?"),
        READ[3],
    ]


def test_an_observation_keeps_the_id_of_a_call_that_is_nowhere() -> None:
    stray = {"role": "tool", "tool_call_id": "gone", "content": "x"}
    assert chat(USER, CALL, RESULT, stray, ANSWER)[3] == message("tool", "x", tool_call_id="gone")


def test_an_observation_without_id_or_open_call_stays_without() -> None:
    assert chat(USER, CALL, RESULT, {"role": "tool", "content": "x"})[3] == message("tool", "x")


@pytest.mark.parametrize(
    ("said", "reasoning", "content"),
    [
        ({"content": "<think>far</think>\n\nFar."}, "far", "Far."),
        ({"content": "\n<thinking>far</thinking>Far."}, "far", "Far."),
        ({"content": "Far.", "reasoning_content": "far"}, "far", "Far."),
        ({"content": "Far.", "reasoning": "far"}, "far", "Far."),
        ({"content": "<think>far</think>Far.", "reasoning_content": "far"}, "far", "Far."),
        ({"content": "<think>far</think>"}, "far", None),
        ({"content": "<think></think>Far."}, None, "Far."),
        ({"content": "<think>never closed"}, None, "<think>never closed"),
        ({"content": "Far. <think>later</think>"}, None, "Far. <think>later</think>"),
        ({"content": ""}, None, ""),
        ({"content": None, "refusal": "I will not."}, None, "I will not."),
    ],
)
def test_reasoning_stands_apart_from_content(said: dict[str, Any], reasoning: str | None, content: str | None) -> None:
    read_back = chat(USER, {"role": "assistant", **said})[1]
    assert (read_back["reasoning"], read_back["content"]) == (reasoning, content)


def test_content_parts_become_text_and_image_references() -> None:
    parts = [
        {"type": "text", "text": "What is"},
        {"type": "image_url", "image_url": {"url": "https://example.invalid/cat.png", "detail": "low"}},
        {"type": "input_text", "text": "this?"},
    ]
    assert chat({"role": "user", "content": parts}, ANSWER)[0] == message(
        "user", "What is\nthis?", images=["https://example.invalid/cat.png"]
    )


@pytest.mark.parametrize(
    "image", [PNG, {"bytes": base64.b64decode(PNG), "path": None}, base64.b64decode(PNG)], ids=["text", "dict", "bytes"]
)
def test_metis_rows_place_their_images_where_the_text_names_them(image: Any) -> None:
    said = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is this?"}]},
        CALL,
        {"role": "tool", "tool_call_id": "c1", "content": "cropped: <image>"},
        ANSWER,
    ]
    parsed = read({"messages": json.dumps(said), "images": [image, "crop.png"]}, "openai_chat")
    assert parsed.messages[0] == message("user", "<image>\nWhat is this?", images=[f"data:image/png;base64,{PNG}"])
    assert parsed.messages[2]["images"] == ["crop.png"]
    assert parsed.metadata == {}


def test_images_that_no_text_names_go_to_the_first_user_message() -> None:
    assert chat({"role": "system", "content": "s"}, USER, ANSWER, images="a.png")[1]["images"] == ["a.png"]


def test_the_calls_a_simulated_user_makes_are_not_the_agents() -> None:
    users = {"role": "user", "content": None, "tool_calls": [{"id": "u1", "name": "toggle", "arguments": {}}]}
    speaking = {**users, "content": "I do that."}
    result = {"role": "tool", "content": "toggled"}
    assert chat(USER, ANSWER, users, result, USER, speaking, result, ANSWER) == [
        READ[0], READ[3], READ[0], message("user", "I do that."), READ[3],
    ]  # fmt: skip


def test_a_result_named_by_its_own_id_answers_that_call() -> None:
    result = {"role": "tool", "id": "c1", "content": "384400 km", "name": "search", "requestor": "assistant"}
    assert chat(USER, CALL, result, ANSWER) == READ


def test_swe_agent_results_name_their_call_in_a_list() -> None:
    result = {
        "role": "tool",
        "tool_call_ids": ["c1"],
        "name": "search",
        "content": [{"type": "text", "text": "384400 km"}],
    }
    assert chat(USER, CALL, result, ANSWER) == READ


def test_agentdojo_shows_the_error_in_place_of_an_empty_result() -> None:
    result = {
        "role": "tool",
        "tool_call_id": "c1",
        "content": [{"type": "text", "content": ""}],
        "error": "ValueError: no",
    }
    parsed = read({"messages": [USER, CALL, result, ANSWER], "utility": True, "security": False}, "openai_chat")
    assert parsed.messages[2]["content"] == "ValueError: no"
    assert parsed.success is True
    assert parsed.metadata == {"security": False}


def test_tau_bench_observations_written_as_user_messages_are_observations() -> None:
    said = [USER, CALL, {"role": "user", "content": "384400 km"}, ANSWER, {"role": "user", "content": "###STOP###"}]
    parsed = read({"messages": said, "benchmark_name": "taubench"}, "openai_chat")
    assert parsed.messages[2] == message("tool", "384400 km", tool_call_id="c1", name="search")
    assert [item["role"] for item in parsed.messages] == ["user", "assistant", "tool", "assistant", "user"]
    assert read({"messages": said}, "openai_chat").messages[2]["role"] == "user"


def test_function_tags_become_calls_with_observations() -> None:
    tagged = {
        "role": "assistant",
        "content": "Listing.\n<function=bash>\n<parameter=command>ls\n-a</parameter>\n</function>",
    }
    observed = {"role": "user", "content": "OBSERVATION:\nfile.py"}
    assert chat(USER, tagged, observed, ANSWER) == [
        READ[0],
        message("assistant", "Listing.", tool_calls=[tool_call("bash", {"command": "ls\n-a"}, "call_1_0")]),
        message("tool", "file.py", tool_call_id="call_1_0", name="bash"),
        READ[3],
    ]


def test_an_observation_written_after_a_function_tag_stays_visible_in_the_content() -> None:
    tagged = "<function=bash>\n<parameter=command>ls</parameter>\n</function>\nOBSERVATION:\nmade up"
    read_back = chat(USER, {"role": "assistant", "content": tagged})
    assert read_back[1]["content"] == "\nOBSERVATION:\nmade up"
    assert len(read_back) == 2


@pytest.mark.parametrize(
    ("beside", "expected"),
    [
        ({"reward": 1}, (1.0, None, None)),
        ({"reward": False}, (0.0, False, None)),
        ({"eval_result": {"score": 0.5}, "meta": {"is_correct": False}}, (0.5, False, None)),
        ({"reward_info": {"reward": 1.0}}, (1.0, None, None)),
        ({"resolved": 1}, (None, True, None)),
        ({"resolved": "False"}, (None, False, None)),
        ({"resolved": None}, (None, None, None)),
        ({"label": True}, (None, True, None)),
        ({"label": "Paris"}, (None, None, "Paris")),
        ({"ground_truth": ["Paris"]}, (None, None, "Paris")),
        ({"answer": ["Paris", "paris"]}, (None, None, '["Paris","paris"]')),
        ({"gt": 1972}, (None, None, "1972")),
        ({"score": float("nan"), "success": "unsure"}, (None, None, None)),
    ],
)
def test_outcomes_are_read_from_where_sources_keep_them(beside: dict[str, Any], expected: tuple[Any, ...]) -> None:
    parsed = read({"messages": CHAT, **beside}, "openai_chat")
    assert (parsed.reward, parsed.success, parsed.ground_truth) == expected


def test_what_stands_beside_the_messages_is_metadata() -> None:
    info = {"task": {"user_id": "u1"}}
    parsed = read({"traj": CHAT, "reward": 0.0, "info": info, "trial": 2, "tools": [SEARCH]}, "openai_chat")
    assert parsed.metadata == {"info": info, "trial": 2}
    assert parsed.tools == [{"type": "function", "function": SEARCH}]


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ([{"type": "function", "function": SEARCH}], [SEARCH]),
        ([{"type": "function", **SEARCH}], [SEARCH]),
        (json.dumps([SEARCH]), [SEARCH]),
        (
            {"name": "search", "input_schema": {"type": "object"}},
            [{"name": "search", "parameters": {"type": "object"}}],
        ),
        (
            [{"name": "search", "inputSchema": {"type": "object"}}],
            [{"name": "search", "parameters": {"type": "object"}}],
        ),
        ([{"type": "web_search"}], [{"name": "web_search"}]),
        ([], []),
        ("[]", []),
        (None, None),
        ("not json", None),
        (7, None),
    ],
)
def test_tools_are_declared_in_one_shape(declared: Any, expected: list[Any] | None) -> None:
    tools = openai_tools(declared)
    assert (tools if tools is None else [tool["function"] for tool in tools]) == expected


def test_schemas_lose_the_nulls_of_arrow_structs_and_foreign_type_names() -> None:
    properties = {
        "a": {"type": "dict", "properties": {"type": {"type": "float"}}, "enum": None},
        "b": None,
        "c": {"type": "tuple", "items": {"type": "any"}, "default": None},
    }
    tools = openai_tools([{"name": "f", "parameters": {"type": "dict", "properties": properties, "required": ["a"]}}])
    assert tools is not None
    assert tools[0]["function"]["parameters"] == {
        "type": "object",
        "properties": {
            "a": {"type": "object", "properties": {"type": {"type": "number"}}},
            "c": {"type": "array", "items": {}, "default": None},
        },
        "required": ["a"],
    }


def test_a_chat_in_which_nobody_answers_is_a_question() -> None:
    parsed = read({"messages": [USER], "answer": "384400 km"}, "openai_chat")
    assert (parsed.is_trace, parsed.ground_truth) == (False, "384400 km")


def test_a_run_without_messages_is_an_empty_trace() -> None:
    parsed = read({"messages": [], "instance_id": "a-1", "resolved": False}, "openai_chat")
    assert (parsed.messages, parsed.is_trace, parsed.success) == ([], True, False)


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        ({"messages": [USER, {"role": "critic", "content": "no"}]}, "messages[1].role: want system, user"),
        ({"messages": [USER, ANSWER, ANSWER, "text"]}, "messages[3]: want an object with a role, found str"),
        ({"messages": [USER, ANSWER, ANSWER, {"content": "x"}]}, "messages[3].role: want system, user"),
        ({"messages": [USER, ANSWER, ANSWER, {"role": ["user"]}]}, "messages[3].role: want system, user"),
        ({"messages": [USER, {**CALL, "tool_calls": 3}]}, "messages[1].tool_calls: want a list of calls, found int"),
        ({"messages": [USER, {**CALL, "tool_calls": ["x"]}]}, "messages[1].tool_calls[0]: want an object, found str"),
        ({"messages": [USER, {**CALL, "tool_calls": "x"}]}, "messages[1].tool_calls: want a list of calls, found text"),
        ({"messages": [USER, {**CALL, "tool_calls": [{"name": 3}]}]}, "messages[1].tool_calls[0].name: want text"),
        ({"messages": "nope", "traj_id": "a"}, "messages: want a JSON list of messages, found text that is not JSON"),
        (
            {"messages": [{"role": "user", "content": [{"type": []}]}]},
            "messages[0].content[0].type: want text, found list",
        ),
        ({"messages": CHAT, "images": [3]}, "images[0]: want bytes, text or an object, found int"),
    ],
)
def test_a_broken_chat_says_where_and_what_was_wanted(record: Any, fault: str) -> None:
    assert OPENAI_CHAT.detects(record)
    with pytest.raises(FormatError) as caught:
        OPENAI_CHAT.parse(record)
    assert str(caught.value).startswith(fault)


def test_arguments_too_large_for_64_bits_stay_whole() -> None:
    huge = {"id": "c1", "function": {"name": "f", "arguments": {"n": 2**80}}}
    read_back = chat(USER, {"role": "assistant", "content": None, "tool_calls": [huge]})
    assert read_back[1]["tool_calls"] == [tool_call("f", '{"n": 1208925819614629174706176}', "c1")]


def test_verl_rows_are_prompts_with_their_ground_truth() -> None:
    row = {
        "data_source": "openai/gsm8k",
        "prompt": [{"role": "system", "content": "Think."}, {"role": "user", "content": "2+2?"}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": "4"},
        "extra_info": {"split": "train", "index": 0},
    }
    parsed = read(row, "verl")
    assert parsed.messages == [message("system", "Think."), message("user", "2+2?")]
    assert (parsed.prompt, parsed.ground_truth, parsed.is_trace) == ("2+2?", "4", False)
    assert parsed.metadata == {
        "data_source": "openai/gsm8k",
        "ability": "math",
        "extra_info": {"split": "train", "index": 0},
        "reward_model": {"style": "rule"},
    }


def test_verl_takes_json_texts_answer_lists_and_demonstrations() -> None:
    prompt = [USER, ANSWER, {"role": "user", "content": "And the sun?"}]
    row = {
        "prompt": json.dumps(prompt),
        "reward_model": json.dumps({"ground_truth": {"target": ["far", "very far"]}}),
        "images": [PNG],
    }
    parsed = read(row, "verl")
    assert (parsed.prompt, parsed.ground_truth) == ("And the sun?", '["far","very far"]')
    assert parsed.messages[0]["images"] == [f"data:image/png;base64,{PNG}"]


def test_verl_refuses_a_reward_model_that_is_no_object() -> None:
    with pytest.raises(FormatError, match="reward_model: want an object, found list"):
        VERL.parse({"prompt": [USER], "reward_model": []})


def test_sharegpt_calls_are_turns_paired_by_position() -> None:
    turns = [
        {"from": "human", "value": "How far is the moon?"},
        {"from": "function_call", "value": '{"name": "search", "arguments": {"q": "moon"}}'},
        {"from": "observation", "value": "384400 km"},
        {"from": "gpt", "value": "<think>easy</think>384400 km."},
    ]
    parsed = read({"conversations": turns, "tools": json.dumps([SEARCH]), "system": "Be brief.", "id": 7}, "sharegpt")
    assert parsed.messages == [
        message("system", "Be brief."),
        message("user", "How far is the moon?"),
        message("assistant", tool_calls=[tool_call("search", '{"q":"moon"}', "call_2_0")]),
        message("tool", "384400 km", tool_call_id="call_2_0", name="search"),
        message("assistant", "384400 km.", reasoning="easy"),
    ]
    assert parsed.tools == [{"type": "function", "function": SEARCH}]
    assert parsed.metadata == {"id": 7}


def test_sharegpt_takes_parallel_and_python_literal_calls() -> None:
    turns = [
        {"from": "human", "value": "q"},
        {"from": "function_call", "value": "[{'name': 'a', 'arguments': {'x': None}}, {'name': 'b', 'arguments': {}}]"},
        {"from": "observation", "value": "1"},
        {"from": "observation", "value": "2"},
    ]
    read_back = SHAREGPT.parse({"conversations": turns}).messages
    assert read_back[1]["tool_calls"] == [tool_call("a", '{"x":null}', "call_1_0"), tool_call("b", "{}", "call_1_1")]
    assert [item["tool_call_id"] for item in read_back[2:]] == ["call_1_0", "call_1_1"]


@pytest.mark.parametrize(
    ("turn", "fault"),
    [
        ({"from": "narrator", "value": "x"}, "conversations[1].from: want one of"),
        ({"from": "gpt", "value": 3}, "conversations[1].value: want text, found int"),
        ({"from": "function_call", "value": "search(moon"}, "conversations[1].value: want a call as JSON"),
        ("text", "conversations[1]: want an object with from and value, found str"),
    ],
)
def test_a_broken_sharegpt_turn_says_where(turn: Any, fault: str) -> None:
    with pytest.raises(FormatError) as caught:
        read({"conversations": [{"from": "human", "value": "q"}, turn]}, "sharegpt")
    assert str(caught.value).startswith(fault)


def test_bfcl_questions_are_prompts_of_all_their_turns() -> None:
    row = {
        "id": "multi_turn_0",
        "question": [[{"role": "user", "content": "Move it."}], [{"role": "user", "content": "Sort it."}]],
        "function": [{"name": "mv", "parameters": {"type": "dict", "properties": {"n": {"type": "float"}}}}],
        "ground_truth": [["mv(n=1)"], ["sort()"]],
    }
    parsed = read(row, "bfcl")
    assert parsed.messages == [message("user", "Move it."), message("user", "Sort it.")]
    assert (parsed.prompt, parsed.is_trace) == ("Move it.\n\nSort it.", False)
    assert parsed.ground_truth == '[["mv(n=1)"],["sort()"]]'
    assert parsed.tools == [
        {
            "type": "function",
            "function": {"name": "mv", "parameters": {"type": "object", "properties": {"n": {"type": "number"}}}},
        }
    ]
    assert parsed.metadata == {"id": "multi_turn_0"}
    assert BFCL.detects(row)


def test_bfcl_replays_are_traces_of_one_call_at_a_time() -> None:
    turn = {
        "user": [{"role": "user", "content": "Move it."}],
        "calls": ["cd(folder='temp')", "sort('a.txt', desc=True)", "Fs.ls(x=[1, -2], y=z)"],
        "outputs": ["{}", "None"],
    }
    parsed = read({"id": "m_0", "turns": [turn]}, "bfcl_replay")
    assert parsed.messages == [
        message("user", "Move it."),
        message("assistant", tool_calls=[tool_call("cd", {"folder": "temp"}, "call_1_0")]),
        message("tool", "{}", tool_call_id="call_1_0", name="cd"),
        message("assistant", tool_calls=[tool_call("sort", {"arg0": "a.txt", "desc": True}, "call_3_0")]),
        message("tool", "None", tool_call_id="call_3_0", name="sort"),
        message("assistant", tool_calls=[tool_call("Fs.ls", {"x": [1, -2], "y": "z"}, "call_5_0")]),
    ]
    assert parsed.metadata == {"id": "m_0"}


@pytest.mark.parametrize("call", ["cd(folder=", "1 + 1", "f(**x)", 3, "a" * 200_000, "(" * 5000])
def test_a_bfcl_call_that_is_no_python_call_is_a_format_error(call: Any) -> None:
    with pytest.raises(FormatError, match=r"turns\[0\]\.calls\[0\]: want"):
        BFCL_REPLAY.parse({"turns": [{"user": [USER], "calls": [call], "outputs": []}]})


def test_who_and_when_code_is_called_and_the_terminal_observes() -> None:
    record = {
        "question": "What is 2+2 in base 3?",
        "history": [
            {"content": "Plan.", "name": "Math_Expert", "role": "assistant"},
            {"content": "I run it.\n```python\nprint(4)\n```", "name": "Coder_Expert", "role": "user"},
            {
                "content": "exitcode: 0 (execution succeeded)\nCode output: 4",
                "name": "Computer_terminal",
                "role": "user",
            },
            {"content": "There is no code to execute.", "name": "Computer_terminal", "role": "user"},
            {"content": "exitcode: 1 (execution failed)", "name": "Computer_terminal", "role": "user"},
        ],
        "ground_truth": "11",
        "is_correct": False,
        "mistake_agent": "Math_Expert",
        "mistake_step": "4",
    }
    parsed = read(record, "multi_agent_chat")
    assert parsed.messages == [
        message("user", "What is 2+2 in base 3?"),
        message("assistant", "Plan.", name="Math_Expert"),
        message(
            "assistant",
            "I run it.",
            name="Coder_Expert",
            tool_calls=[tool_call("python", {"code": "print(4)"}, "call_1_0")],
        ),
        message("tool", "exitcode: 0 (execution succeeded)\nCode output: 4", tool_call_id="call_1_0", name="python"),
        message("user", "There is no code to execute.", name="Computer_terminal"),
        message("tool", "exitcode: 1 (execution failed)"),
    ]
    assert (parsed.prompt, parsed.success, parsed.ground_truth) == ("What is 2+2 in base 3?", False, "11")
    assert parsed.metadata == {"mistake_agent": "Math_Expert", "mistake_step": "4"}


def test_who_and_when_by_hand_keeps_the_orchestrators_thoughts_apart() -> None:
    record = {
        "question": "Find the shop.",
        "history": [
            {"content": "Find the shop.", "role": "human"},
            {"content": "Search first.", "role": "Orchestrator (thought)"},
            {"content": "Please search.", "role": "Orchestrator (-> WebSurfer)"},
        ],
        "groundtruth": "Shop A",
        "is_corrected": False,
        "mistake_agent": "WebSurfer",
    }
    parsed = read(record, "multi_agent_chat")
    assert parsed.messages == [
        message("user", "Find the shop."),
        message("assistant", reasoning="Search first.", name="Orchestrator"),
        message("assistant", "Please search.", name="Orchestrator (-> WebSurfer)"),
    ]
    assert (parsed.success, parsed.ground_truth) == (False, "Shop A")


def test_mast_trajectories_are_python_dicts_in_a_row() -> None:
    text = "{'content': ['solve {x}'], 'role': 'user', 'name': 'proxy'} {'content': [\"it's 2\"], 'role': 'assistant'}"
    record = {"mas_name": "AG2", "trace": {"key": "a", "trajectory": text}, "mast_annotation": {"1.1": 0}}
    parsed = read(record, "multi_agent_chat")
    assert parsed.messages == [message("user", "solve {x}", name="proxy"), message("assistant", "it's 2")]
    assert parsed.metadata == {"mas_name": "AG2", "mast_annotation": {"1.1": 0}, "trace": {"key": "a"}}


@pytest.mark.parametrize("text", ["[INFO] a log line", "{'role': unknown()}", "{'role': 'user'", 3])
def test_a_mast_trajectory_without_messages_is_a_format_error(text: Any) -> None:
    with pytest.raises(FormatError, match=r"trace\.trajectory: want"):
        MULTI_AGENT_CHAT.parse({"mas_name": "ChatDev", "trace": {"trajectory": text}})


def test_tooltalk_turns_call_first_and_speak_after() -> None:
    request = {"api_name": "AddAlarm", "parameters": {"time": "18:30:00"}}
    turns = [
        {"index": 0, "role": "user", "text": "Wake me at half past six."},
        {
            "index": 1,
            "role": "assistant",
            "text": "Done.",
            "apis": [
                {"request": request, "response": {"alarm_id": "5bff"}, "exception": None},
                {"request": request, "response": None, "exception": "Alarm exists"},
            ],
        },
    ]
    parsed = read({"name": "Alarm", "conversation": turns}, "tooltalk")
    call = '{"time":"18:30:00"}'
    assert parsed.messages == [
        message("user", "Wake me at half past six."),
        message(
            "assistant",
            tool_calls=[tool_call("AddAlarm", call, "call_1_0"), tool_call("AddAlarm", call, "call_1_1")],
        ),
        message("tool", '{"alarm_id":"5bff"}', tool_call_id="call_1_0", name="AddAlarm"),
        message("tool", "Alarm exists", tool_call_id="call_1_1", name="AddAlarm"),
        message("assistant", "Done."),
    ]
    assert parsed.metadata == {"name": "Alarm"}


def test_a_tooltalk_api_without_a_name_is_a_format_error() -> None:
    turns = [{"index": 0, "role": "assistant", "text": "x", "apis": [{"request": {}}]}]
    with pytest.raises(FormatError, match=r"conversation\[0\]\.apis\[0\]\.request\.api_name: want"):
        TOOLTALK.parse({"conversation": turns})


def test_displayed_chats_split_at_their_roles() -> None:
    text = "user: Cancel it.\nPlease.\nassistant: None\ntool: done\nassistant: It is cancelled."
    parsed = read({"messages_display": text}, "display_text")
    assert parsed.messages == [
        message("user", "Cancel it.\nPlease."),
        message("assistant"),
        message("tool", "done"),
        message("assistant", "It is cancelled."),
    ]
    with pytest.raises(FormatError, match="messages_display: want a text opening with a role"):
        DISPLAY_TEXT.parse({"messages_display": "hello"})


@pytest.mark.parametrize(
    "record",
    [
        [{"type": "function", "function": SEARCH}],
        {"tools": [SEARCH]},
        SEARCH,
        {"4WQ150": {"reservation_id": "4WQ150", "user_id": "a", "flights": [{"origin": "DFW"}]}},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "properties": {"messages": {}}},
        {"id": "simple_0", "ground_truth": [{"f": {"a": [10]}}]},
        {"hello": "world"},
        {"messages": []},
        {"messages": ["a", "b"]},
        {"messages": "plain text", "id": 3},
        {"conversations": [{"from": "a@b.c", "to": "d@e.f", "value": "mail"}]},
        {"role": "user", "content": "one message is no chat"},
        [],
        {},
        None,
        3,
        "text",
    ],
)
def test_what_holds_no_trace_is_detected_by_none(record: Any) -> None:
    assert detect(record) is None


@pytest.mark.parametrize("junk", [None, [], {}, "x", 3, [[]], [None], {"messages": {}}, {"conversations": [3]}])
def test_no_format_fails_on_junk(junk: Any) -> None:
    assert [known.name for known in FORMATS if known.detects(junk)] == []


def test_the_general_formats_come_last() -> None:
    assert [known.name for known in FORMATS[-3:]] == ["sharegpt", "openai_chat", "questions"]
    assert OPENAI_CHAT in FORMATS
