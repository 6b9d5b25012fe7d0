"""Text protocols spoken in chats: what stands beside the turns, what broke off, and chats kept as JSON text."""

from typing import Any

import orjson
import pytest

from pipeline.formats.base import Parsed, message, tool_call
from pipeline.formats.chat_wrappers import with_chat_decoded
from pipeline.formats.registry import detect, split_text
from pipeline.stages.pairing import mark_orphan_observation
from pipeline.stages.truncated import mark_truncated
from tests.factories import make_frame, make_trajectory, reasons_of

Turn = tuple[str, str]

REACT = (("user", "Question: q"), ("assistant", "Thought: t\nAction: search[a]"), ("user", "Observation: b"))
CODEACT = (("user", "Task:\nq"), ("assistant", "<execute>\nf()\n</execute>"), ("user", "Observation:\nb"))
HERMES = (
    ("user", "q"),
    ("assistant", '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'),
    ("user", "<tool_response>\nb\n</tool_response>"),
)
MINI_SWE = (
    ("user", "q"),
    ("assistant", "```mswea_bash_command\nls\n```"),
    ("user", "<returncode>0</returncode>\n<output>\nb\n</output>"),
)
PROTOCOLS = {"react_chat": REACT, "codeact": CODEACT, "hermes": HERMES, "mini_swe": MINI_SWE}
SEARCH = {"type": "function", "function": {"name": "search", "parameters": {"type": "object", "properties": {}}}}


def chat(*turns: Turn) -> list[dict[str, Any]]:
    return [{"role": role, "content": content} for role, content in turns]


def read(record: Any, name: str) -> Parsed:
    record = with_chat_decoded(record)
    found = detect(record)
    assert found is not None
    assert found.name == name
    return found.parse(record)


def roles(parsed: Parsed) -> list[str]:
    return [item["role"] for item in parsed.messages]


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize(
    ("beside", "truth", "reward", "success", "left"),
    [
        ({"ground_truth": "1759"}, "1759", None, None, {}),
        ({"answer": ["x"]}, "x", None, None, {}),
        ({"gt": "y", "id": 3}, "y", None, None, {"id": 3}),
        ({"label": "Paris"}, "Paris", None, None, {}),
        ({"label": 1}, None, None, True, {}),
        ({"reward": 0.5, "success": False}, None, 0.5, False, {}),
        ({"eval_result": {"score": 1}, "resolved": True}, None, 1.0, True, {"eval_result": {"score": 1}}),
        ({"ground_truth": None}, None, None, None, {"ground_truth": None}),
        ({"notes": "n"}, None, None, None, {"notes": "n"}),
    ],
)
def test_what_stands_beside_the_turns_is_read(
    name: str,
    beside: dict[str, Any],
    truth: str | None,
    reward: float | None,
    success: bool | None,  # noqa: FBT001  # a table's column
    left: dict[str, Any],
) -> None:
    parsed = read({"messages": chat(*PROTOCOLS[name]), **beside}, name)
    assert (parsed.ground_truth, parsed.reward, parsed.success) == (truth, reward, success)
    assert parsed.metadata == left
    assert roles(parsed) == ["user", "assistant", "tool"]


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("declared", [[SEARCH], orjson.dumps([SEARCH]).decode(), [SEARCH["function"]]])
def test_tools_beside_the_turns_are_declared(name: str, declared: Any) -> None:
    parsed = read({"messages": chat(*PROTOCOLS[name]), "tools": declared}, name)
    assert parsed.tools == [SEARCH]
    assert parsed.metadata == {}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_images_stay_in_parts_and_are_placed_from_beside(name: str) -> None:
    first, *others = chat(*PROTOCOLS[name])
    parts = [{"type": "text", "text": first["content"]}, {"type": "image_url", "image_url": {"url": "a.png"}}]
    inside = read([{**first, "content": parts}, *others], name)
    assert [item["images"] for item in inside.messages] == [["a.png"], None, None]
    beside = read({"messages": [first, *others], "images": ["b.png"]}, name)
    assert [item["images"] for item in beside.messages] == [["b.png"], None, None]
    assert "images" not in beside.metadata


def test_the_task_of_mint_goes_before_what_stands_beside_it() -> None:
    state = {"history": chat(*CODEACT), "success": False}
    parsed = read({"state": state, "task": {"reference": "4"}, "answer": "5", "success": True}, "codeact")
    assert (parsed.ground_truth, parsed.success) == ("4", False)


def test_a_second_react_observation_in_a_row_is_an_orphan() -> None:
    parsed = read(chat(*REACT, ("user", "Observation: c"), ("assistant", "Action: finish[d]")), "react_chat")
    assert parsed.messages[2:4] == [
        message("tool", "b", tool_call_id="call_1_0", name="search"),
        message("tool", "c"),
    ]
    assert reasons_of(mark_orphan_observation(make_frame(make_trajectory(parsed.messages)))) == ["orphan_observation"]


@pytest.mark.parametrize(
    ("turns", "wanted"),
    [
        ([("user", "Observation: a web page"), *REACT[1:]], "user assistant tool"),
        ([*REACT, ("assistant", "Thought: hm."), ("user", "Observation: go on")], "user assistant tool assistant user"),
        (
            [*REACT, ("assistant", "Action: finish[b]"), ("user", "Observation: Answer is CORRECT")],
            "user assistant tool assistant",
        ),
        ([*REACT[:2], ("user", "Wait."), REACT[2]], "user assistant user tool"),
    ],
)
def test_other_react_observations_are_no_orphans(turns: list[Turn], wanted: str) -> None:
    parsed = read(chat(*turns), "react_chat")
    assert roles(parsed) == wanted.split()
    assert all(item["tool_call_id"] for item in parsed.messages if item["role"] == "tool")


def test_code_in_a_fence_that_never_closed_is_content_and_truncated() -> None:
    broke_off = "I add.\n```python\n1+1\n```\n```output\n2\n```\nAnd\n```python\nprint(2+"
    parsed = read({"question": "q", "code": [broke_off], "pred": []}, "tir")
    assert parsed.messages[1:] == [
        message("assistant", "I add.", tool_calls=[tool_call("python", {"code": "1+1"}, "call_0_0")]),
        message("tool", "2", tool_call_id="call_0_0", name="python"),
        message("assistant", "And\n```python\nprint(2+"),
    ]
    assert reasons_of(mark_truncated(make_frame(make_trajectory(parsed.messages)))) == ["truncated"]


def test_a_hermes_call_that_broke_off_is_content_and_truncated() -> None:
    broke_off = "I look.\n<tool_call>\n{'name': 'f', 'argu"
    for record in (
        f"<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n{broke_off}\n",
        {"messages": chat(("user", "q"), ("assistant", broke_off))},
    ):
        parsed = read(record, "hermes")
        assert parsed.messages == [message("user", "q"), message("assistant", broke_off)]
        assert reasons_of(mark_truncated(make_frame(make_trajectory(parsed.messages)))) == ["truncated"]


@pytest.mark.parametrize("answer", [("tool", "b"), ("user", "<tool_response>\nb\n</tool_response>")])
def test_a_hermes_call_whose_closing_tag_was_the_stop_word_is_a_call(answer: Turn) -> None:
    parsed = read(chat(("user", "q"), ("assistant", '<tool_call>\n{"name": "f", "arguments": {}}\n'), answer), "hermes")
    assert parsed.messages[1:] == [
        message("assistant", tool_calls=[tool_call("f", "{}", "call_1_0")]),
        message("tool", "b", tool_call_id="call_1_0", name="f"),
    ]


def test_a_hermes_response_that_no_call_asked_for_is_an_orphan_and_a_question_about_the_tag_is_none() -> None:
    more = (("assistant", "So."), HERMES[2], ("assistant", "x"), ("user", "<tool_response> means what?"))
    parsed = read(chat(*HERMES, *more), "hermes")
    assert roles(parsed)[2:] == ["tool", "assistant", "tool", "assistant", "user"]
    assert [item["tool_call_id"] for item in parsed.messages if item["role"] == "tool"] == ["call_1_0", None]


def test_a_query_that_broke_off_is_content_and_truncated() -> None:
    record = {"question": "q", "gen_text_store": "I search. <|begin_of_query|> the moo"}
    parsed = read(record, "search_tags")
    assert parsed.messages == [message("user", "q"), message("assistant", "I search. <|begin_of_query|> the moo")]
    assert reasons_of(mark_truncated(make_frame(make_trajectory(parsed.messages)))) == ["truncated"]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_chat_kept_as_json_text_is_read_as_its_protocol(name: str) -> None:
    turns = chat(*PROTOCOLS[name])
    for text in (orjson.dumps(turns).decode(), "\n " + orjson.dumps(turns, option=orjson.OPT_INDENT_2).decode()):
        record = {"messages": text, "images": ["a.png"], "id": 1}
        assert read(record, name) == read({**record, "messages": turns}, name)
        assert record["messages"] == text


def test_json_text_is_decoded_under_conversations_and_in_from_and_value() -> None:
    turns = chat(*HERMES)
    assert with_chat_decoded({"conversations": orjson.dumps(turns).decode()}) == {"conversations": turns}
    speech = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    assert with_chat_decoded({"conversations": orjson.dumps(speech).decode()}) == {"conversations": speech}


@pytest.mark.parametrize(
    "record",
    [
        {"messages": "[{]"},
        {"messages": '[{"role": "user"'},
        {"messages": '[{"role": 3}]'},
        {"messages": "[]"},
        {"messages": "[1, 2]"},
        {"messages": chat(*REACT)},
        {"messages": "plain words"},
        [1],
        "text",
        None,
    ],
)
def test_what_is_no_json_text_of_a_chat_stays_itself(record: Any) -> None:
    assert with_chat_decoded(record) is record


def test_a_metis_row_that_answers_without_a_call_declares_its_tools() -> None:
    system = f"Use a tool only where you must.\n\n# Tools\n\n<tools>\n{orjson.dumps(SEARCH).decode()}\n</tools>"
    turns = chat(("system", system), ("user", "<image>\nq"), ("assistant", "<reason>r</reason>\n<answer>2</answer>"))
    parsed = read({"messages": orjson.dumps(turns).decode(), "images": ["a.png"]}, "hermes")
    assert parsed.tools == [SEARCH]
    assert parsed.messages[1:] == [
        message("user", "<image>\nq", images=["a.png"]),
        message("assistant", "<reason>r</reason>\n<answer>2</answer>"),
    ]


def test_a_chat_with_native_calls_and_tools_in_its_system_turn_is_no_hermes() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "search", "arguments": "{}"}}
    turns = [*chat(("system", "<tools>\n{}\n</tools>"), ("user", "q")), {"role": "assistant", "tool_calls": [call]}]
    assert read({"messages": turns}, "openai_chat").messages[2]["tool_calls"] == [tool_call("search", "{}", "c")]


def test_blank_lines_between_chatml_conversations_are_no_records() -> None:
    one = "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\na<|im_end|>\n"
    for text, wanted in (
        (f"{one}\n<|im_start|>system\ns<|im_end|>\n{one}", 2),
        (f"\n\n{one}\n \n<|im_start|>system\ns<|im_end|>\n{one}\n\n", 2),
        (f"{one}\nprose\n<|im_start|>system\ns<|im_end|>\n{one}", 3),
    ):
        parts = split_text(text)
        assert "".join(parts) == text
        assert len(parts) == wanted
        assert all(part.strip() for part in parts)


def test_blank_parts_join_their_neighbours_in_every_text_format() -> None:
    class Lines:
        """A text format: every line is a record."""

        name = "lines"

        def detects(self, record: Any) -> bool:
            return isinstance(record, str)

        def parse(self, record: Any) -> Parsed:
            return Parsed([], metadata={"text": record})

        def split(self, text: str) -> list[str] | None:
            return text.splitlines(keepends=True)

    assert split_text(" \n\na\n\n \nb\nc\n\n", (Lines(),)) == [" \n\na\n\n \n", "b\n", "c\n\n"]
    assert split_text("\n \n", (Lines(),)) == ["\n \n"]


def tooleval(told: str) -> Parsed:
    finish = {"role": "tool", "message": "{'name': 'Finish', 'arguments': '{"}
    chain = {"role": "user", "message": "q", "next": [finish]}
    answer = {"method": "CoT", "total_steps": 2, "final_answer": told, "answer_details": [chain]}
    return read({"query": "q", "available_tools": [], "answer": answer}, "toolbench")


@pytest.mark.parametrize(
    ("told", "answer"),
    [
        ('{"return_type": "give_answer", "final_answer": "all of it"}', "all of it"),
        ('{\n  "return_type": "give_answer",\n  "final_answer": "one\ntwo"\n}', "one\ntwo"),
        ('{\n  "return_type": "give_answer",\n  "final_answer": "cut off",\n}', "cut off"),
        ('{\n  "return_type": "give_answer",\n  "final_answer": "cut of', "cut of"),
    ],
)
def test_the_answer_of_a_finish_that_is_no_json_is_read(told: str, answer: str) -> None:
    parsed = tooleval(told)
    assert (parsed.final_answer, parsed.success) == (answer, None)
    assert parsed.messages[-1] == message("assistant", answer)


def test_an_agent_that_gave_up_did_not_succeed() -> None:
    assert tooleval('{"return_type": "give_up_and_restart"}').success is False


@pytest.mark.parametrize(
    ("declared", "calls"),
    [
        (["execute_bash", "execute_ipython_cell"], [("execute_bash", "command"), ("execute_ipython_cell", "code")]),
        (["execute_bash", "bash"], [("bash", "code"), ("python", "code")]),
        ([], [("bash", "code"), ("python", "code")]),
    ],
)
def test_adp_code_is_called_by_the_name_that_is_declared(declared: list[str], calls: list[tuple[str, str]]) -> None:
    content = [{"class_": "code_action", "language": language, "content": "x"} for language in ("bash", "python")]
    tools = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in declared]
    parsed = read({"id": "a", "content": content, "details": {"tools": tools} if tools else {}}, "adp")
    made = [call for item in parsed.messages for call in item["tool_calls"] or ()]
    assert [(call["name"], orjson.loads(call["arguments"] or "")) for call in made] == [
        (name, {argument: "x"}) for name, argument in calls
    ]
