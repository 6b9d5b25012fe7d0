"""Hand-made records of every text protocol, with the exact messages they must become."""

import copy
import json
import time
from typing import Any

import pytest

from pipeline.errors import FormatError
from pipeline.formats.base import Parsed
from pipeline.formats.registry import detect, group_values, split_text
from pipeline.schema import Message


def read(record: Any, name: str) -> Parsed:
    found = detect(record)
    assert found is not None
    assert found.name == name
    return found.parse(record)


def short(messages: list[Message]) -> list[tuple[Any, ...]]:
    """Role and content, then reasoning, calls and answered call where a message has them."""
    rows: list[tuple[Any, ...]] = []
    for item in messages:
        extra: dict[str, Any] = {}
        if item["reasoning"]:
            extra["reasoning"] = item["reasoning"]
        if item["tool_calls"]:
            extra["calls"] = [(c["id"], c["name"], json.loads(c["arguments"] or "null")) for c in item["tool_calls"]]
        if item["tool_call_id"]:
            extra["answers"] = item["tool_call_id"]
        rows.append((item["role"], item["content"], extra) if extra else (item["role"], item["content"]))
    return rows


def chat(*turns: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in turns]


def test_react_chat_pairs_observations_and_reads_the_closing_reward() -> None:
    record = {
        "messages": chat(
            ("user", "Question: Who wrote Dune?"),
            ("assistant", "Thought: I look.\nAction: search[Dune [novel] author]"),
            ("user", "Observation: Frank Herbert."),
            ("assistant", "Thought: Clear.\nAction: finish[Frank Herbert]"),
            ("user", "Observation: Episode finished, reward = 1"),
        )
    }
    parsed = read(record, "react_chat")
    assert short(parsed.messages) == [
        ("user", "Question: Who wrote Dune?"),
        ("assistant", None, {
            "reasoning": "I look.", "calls": [("call_1_0", "search", {"input": "Dune [novel] author"})],
        }),
        ("tool", "Frank Herbert.", {"answers": "call_1_0"}),
        ("assistant", "Frank Herbert", {"reasoning": "Clear."}),
    ]  # fmt: skip
    assert (parsed.prompt, parsed.final_answer, parsed.reward) == ("Who wrote Dune?", "Frank Herbert", 1.0)


def test_react_chat_reads_action_input_and_final_answer() -> None:
    record = chat(
        ("user", "Weather?"),
        ("assistant", 'Thought: ask\nAction: weather\nAction Input: {"city": "Bern"}'),
        ("user", "Observation: rain"),
        ("assistant", "Thought: done\nFinal Answer: It rains."),
    )
    parsed = read(record, "react_chat")
    assert short(parsed.messages)[1:] == [
        ("assistant", None, {"reasoning": "ask", "calls": [("call_1_0", "weather", {"city": "Bern"})]}),
        ("tool", "rain", {"answers": "call_1_0"}),
        ("assistant", "It rains.", {"reasoning": "done"}),
    ]
    assert parsed.final_answer == "It rains."


def test_react_chat_keeps_an_observation_the_assistant_wrote_in_its_content() -> None:
    own = "Thought: t\nAction: search[x]\nObservation: made up"
    record = chat(("user", "q"), ("assistant", own), ("user", "Observation: real"))
    parsed = read(record, "react_chat")
    assert short(parsed.messages)[1:] == [
        ("assistant", own, {"calls": [("call_1_0", "search", {"input": "x"})]}),
        ("tool", "real", {"answers": "call_1_0"}),
    ]


def test_react_alpaca_reads_one_string_and_the_columns_beside_it() -> None:
    text = (
        "Below is an instruction.\n\n### Instruction:\nWhere is Bern?\n\n### Response:\nThought: look\n"
        "Action: search[Bern]\nObservation: In Switzerland.\nThought: ok\nAction: finish[Switzerland]\n"
        "Observation: Episode finished, reward = False\n"
    )
    record = {"reward": False, "em": False, "f1": 0, "gt": "CH", "pred": "switzerland", "prompt": "", "traj": text}
    parsed = read(record, "react_alpaca")
    assert short(parsed.messages) == [
        ("system", "Below is an instruction."),
        ("user", "Where is Bern?"),
        ("assistant", None, {"reasoning": "look", "calls": [("call_0_0", "search", {"input": "Bern"})]}),
        ("tool", "In Switzerland.", {"answers": "call_0_0"}),
        ("assistant", "Switzerland", {"reasoning": "ok"}),
    ]
    assert (parsed.ground_truth, parsed.reward, parsed.success) == ("CH", 0.0, False)
    assert parsed.metadata == {"outcome": "Episode finished, reward = False", "f1": 0, "pred": "switzerland"}


def test_a_fireact_file_unpacks_to_its_attempts_in_either_spelling() -> None:
    turns = chat(("user", "q"), ("assistant", "Thought: t\nAction: finish[a]"))
    value = {
        "7": {"gt": "a", "reward": True, "em": True, "prompt": [], "traj": turns},
        "8": {"gt": "b", "reward": False, "em": False, "prompt": "",
              "traj": "### Instruction:\nq\n\n### Response:\nThought: t\nAction: finish[a]\n"},
    }  # fmt: skip
    records = [group.record for group in group_values([(0, value)])]
    assert [(read(r, n).success, r["idx"]) for r, n in zip(records, ("react_chat", "react_alpaca"), strict=True)] == [
        (True, "7"),
        (False, "8"),
    ]


REFLEXION = """
########################################
BEGIN TRIAL 1
Trial summary: Correct: 1, Incorrect: 1, Halted: 1
#######################################
------------- BEGIN CORRECT AGENTS -------------

Question: A or B?
Thought 1: look
Action 1: Search[A]
Observation 1: first line
second line
Thought 2: so A
Action 2: Finish[A]
Observation 2: Answer is CORRECT
Correct answer: A

------------- BEGIN INCORRECT AGENTS -----------

Question: C or D?
Thought 1: guess
Action 1: Finish[C]
Observation 1: Answer is INCORRECT
Correct answer: D

------------- BEGIN HALTED AGENTS --------------

Question: E or F?
Thought 1: look
Action 1: Lookup[E]
Observation 1: nothing
Correct answer: F

"""


def test_react_text_splits_a_log_without_losing_a_character() -> None:
    parts = split_text(REFLEXION)
    assert "".join(parts) == REFLEXION
    parsed = [read(part, "react_text") for part in parts]
    assert [(p.prompt, p.final_answer, p.ground_truth, p.success) for p in parsed] == [
        ("A or B?", "A", "A", True),
        ("C or D?", "C", "D", False),
        ("E or F?", None, "F", False),
    ]
    assert [p.metadata.get("section") for p in parsed] == ["CORRECT", "INCORRECT", "HALTED"]
    assert short(parsed[0].messages) == [
        ("user", "A or B?"),
        ("assistant", None, {"reasoning": "look", "calls": [("call_0_0", "Search", {"input": "A"})]}),
        ("tool", "first line\nsecond line", {"answers": "call_0_0"}),
        ("assistant", "A", {"reasoning": "so A"}),
    ]


def test_react_text_keeps_a_second_observation_in_a_row_as_the_models_own() -> None:
    log = "Question: q\nThought 1: t\nAction 1: Search[x]\nObservation 1: real\nObservation 2: made up\n"
    assert short(read(log, "react_text").messages)[-2:] == [
        ("tool", "real", {"answers": "call_0_0"}),
        ("assistant", "Observation 2: made up"),
    ]


def mint(*turns: tuple[str, str], success: bool | None = True) -> dict[str, Any]:
    shown = "<execute>print(1)</execute>\n\nObservation:\n1\n"
    demo = f"Use tags.\n\n---\n\nTask:\ndemo\n\nAssistant:\n{shown}\n---\n\nTask:\n2+2?\n"
    return {
        "state": {"history": chat(("user", demo), *turns), "success": success, "terminate_reason": "task_success"},
        "task": {"task_name": "reasoning", "task_id": 3, "prompt": "2+2?", "reference": "4", "metadata": {}},
    }


def test_codeact_separates_the_result_from_the_environments_budget_line() -> None:
    record = mint(
        ("assistant", "Assistant:\n<thought> add </thought>\n<execute>\nprint(2+2)\n</execute>\n"),
        ("user", "Observation:\n4\nYou have 4 steps left and 2 chances to propose solution left.\n"),
        ("assistant", "Assistant:\nThe answer is <solution> 5 </solution>.\n"),
        ("user", "Observation:\nYour answer is wrong.\nYou have 3 steps left and 1 chances left.\n"),
        ("assistant", "<solution>4</solution>"),
    )
    parsed = read(record, "codeact")
    assert short(parsed.messages)[1:] == [
        ("assistant", None, {"reasoning": "add", "calls": [("call_1_0", "python", {"code": "print(2+2)"})]}),
        ("tool", "4", {"answers": "call_1_0"}),
        ("user", "You have 4 steps left and 2 chances to propose solution left."),
        ("assistant", "The answer is <solution> 5 </solution>.\n"),
        ("user", "Your answer is wrong.\nYou have 3 steps left and 1 chances left."),
        ("assistant", "<solution>4</solution>"),
    ]
    assert (parsed.prompt, parsed.final_answer, parsed.ground_truth, parsed.success) == ("2+2?", "4", "4", True)
    assert parsed.messages[0]["content"] == record["state"]["history"][0]["content"]
    assert parsed.metadata == {"task_name": "reasoning", "task_id": 3, "terminate_reason": "task_success"}


def test_codeact_keeps_a_self_written_observation_beside_the_call_that_ran() -> None:
    own = "<execute>a()</execute>\nObservation:\n1\nAssistant:\n<execute>b()</execute>"
    record = mint(("assistant", own), ("user", "Observation:\nNameError\nYou have 1 steps left.\n"))
    assert short(read(record, "codeact").messages)[1:3] == [
        ("assistant", own, {"calls": [("call_1_0", "python", {"code": "a()\nb()"})]}),
        ("tool", "NameError", {"answers": "call_1_0"}),
    ]


def test_codeact_gives_a_later_observation_to_the_later_call() -> None:
    record = mint(
        ("assistant", "<execute>a()</execute> so <solution>1</solution>"),
        ("user", "Your answer is wrong.\nYou have 2 steps left."),
        ("assistant", "<execute>b()</execute>"),
        ("user", "Observation:\n2\nYou have 1 steps left."),
    )
    assert ("tool", "2", {"answers": "call_3_0"}) in short(read(record, "codeact").messages)


def test_codeact_gives_a_verdict_on_a_solution_to_no_call() -> None:
    own = "<execute>a()</execute>\nObservation:\n1\n<solution>1</solution>"
    record = mint(("assistant", own), ("user", "Observation:\nYour answer is wrong.\nYou have 1 steps left.\n"))
    assert short(read(record, "codeact").messages)[2] == ("user", "Your answer is wrong.\nYou have 1 steps left.")


def test_codeact_takes_the_prompt_behind_the_last_task_line_where_none_is_recorded() -> None:
    record = {"id": "x", "conversations": mint(("assistant", "<execute>a()</execute>"))["state"]["history"]}
    parsed = read(record, "codeact")
    assert (parsed.prompt, parsed.metadata) == ("2+2?", {"id": "x"})


def test_codeact_keeps_a_budget_line_that_the_code_printed() -> None:
    record = mint(
        ("assistant", "<execute>a()</execute>"),
        ("user", "Observation:\nYou have 9 steps left\nend\nYou have 1 steps left and 1 chances.\n"),
    )
    assert short(read(record, "codeact").messages)[2][1] == "You have 9 steps left\nend"


def test_tir_turns_fences_into_calls_and_observations() -> None:
    text = "I add.\n```python\nprint(1+1)\n```\n```output\n2\n```\nSo $\\boxed{\\frac{4}{2}}$."
    parsed = read({"question": "1+1?", "gt": "2", "code": [text], "pred": ["2"], "idx": 0}, "tir")
    assert short(parsed.messages) == [
        ("user", "1+1?"),
        ("assistant", "I add.", {"calls": [("call_0_0", "python", {"code": "print(1+1)"})]}),
        ("tool", "2", {"answers": "call_0_0"}),
        ("assistant", "So $\\boxed{\\frac{4}{2}}$."),
    ]
    assert (parsed.final_answer, parsed.ground_truth) == ("\\frac{4}{2}", "2")
    assert parsed.metadata == {"pred": ["2"], "idx": 0}


def test_tir_leaves_a_second_output_in_the_models_words() -> None:
    text = "```python\na\n```\n```output\n1\n```\n```output\n2\n```\nDone."
    parsed = read({"problem": "q", "response": text}, "tir")
    assert short(parsed.messages)[-2:] == [
        ("tool", "1", {"answers": "call_0_0"}),
        ("assistant", "```output\n2\n```\nDone."),
    ]


def test_blocks_join_text_and_code_and_keep_the_extracted_answer_apart() -> None:
    blocks = chat(
        ("system", "s"), ("user", "q"), ("text", "I add."), ("code", "1+1"), ("execution", "2"),
        ("text", "It is \\(\\boxed{2}\\)."), ("text", "2"),
    )  # fmt: skip
    record = {"debug_result": blocks, "completion": "2", "ground_truth": {"solution": "w", "answer": "2"}}
    parsed = read(record, "blocks")
    assert short(parsed.messages) == [
        ("system", "s"),
        ("user", "q"),
        ("assistant", "I add.", {"calls": [("call_2_0", "python", {"code": "1+1"})]}),
        ("tool", "2", {"answers": "call_2_0"}),
        ("assistant", "It is \\(\\boxed{2}\\)."),
    ]
    assert (parsed.final_answer, parsed.ground_truth) == ("2", "2")


def test_blocks_on_the_wire_keep_an_unasked_execution_as_the_models_own() -> None:
    text = "<|text|>a<|endofblock|><|code|>c<|endofblock|><|execution|>1<|endofblock|><|execution|>2<|endofblock|>"
    parsed = read({"problem": "q", "output": text}, "blocks")
    assert short(parsed.messages) == [
        ("user", "q"),
        ("assistant", "a", {"calls": [("call_1_0", "python", {"code": "c"})]}),
        ("tool", "1", {"answers": "call_1_0"}),
        ("assistant", "<|execution|>2<|endofblock|>"),
    ]


@pytest.mark.parametrize(
    ("query", "documents"),
    [
        ("<|begin_of_query|> moon <|end_of_query|>", "<|begin_of_documents|>\nfar\n<|end_of_documents|>"),
        ("<search> moon </search>", "<information>far</information>"),
        ("<search>moon</search>", "<result>\nfar\n</result>"),
    ],
)
def test_search_tags_become_calls_to_search(query: str, documents: str) -> None:
    text = f"<think>I ask.\n{query}\n\n{documents}\nI see.</think>\n<answer> 384400 km </answer>"
    parsed = read({"question": "How far?", "answer": "384,400", "response": text}, "search_tags")
    assert short(parsed.messages) == [
        ("user", "How far?"),
        ("assistant", None, {"reasoning": "I ask.", "calls": [("call_0_0", "search", {"query": "moon"})]}),
        ("tool", "far", {"answers": "call_0_0"}),
        ("assistant", "<answer> 384400 km </answer>", {"reasoning": "I see."}),
    ]
    assert (parsed.final_answer, parsed.ground_truth) == ("384400 km", "384,400")


def test_r1_searcher_opens_inside_the_think_block_and_records_the_grader() -> None:
    search = "<|begin_of_query|>q<|end_of_query|><|begin_of_documents|>d<|end_of_documents|>"
    text = f" plan {search} so</think><answer>a</answer>"
    record = {"question": "w?", "answer": "a", "pred_ans": "a", "gen_text_store": text, "gpt4o_output": "True"}
    parsed = read(record, "search_tags")
    assert [m["reasoning"] for m in parsed.messages] == [None, "plan", None, "so"]
    assert parsed.success is True


def test_tool_star_python_is_a_call_and_a_result_after_prose_is_the_models_own() -> None:
    text = "<python>print(1)</python><result>1</result>Hm.<result>2</result><answer>2</answer>"
    assert short(read({"question": "q", "output": text}, "search_tags").messages)[1:] == [
        ("assistant", None, {"calls": [("call_0_0", "python", {"code": "print(1)"})]}),
        ("tool", "1", {"answers": "call_0_0"}),
        ("assistant", "Hm.<result>2</result><answer>2</answer>"),
    ]


SCHEMA = {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}}


def test_hermes_chat_reads_python_literals_and_declared_tools() -> None:
    record = {
        "conversations": [
            {
                "from": "system",
                "value": f"Use <tools></tools>: <tools> [{{'type': 'function', 'function': {SCHEMA}}}] </tools>",
            },
            {"from": "human", "value": "go"},
            {
                "from": "gpt",
                "value": "<think>t</think>Ok.\n<tool_call>\n{'name': 'f', 'arguments': {'x': None}}\n</tool_call>",
            },
            {"from": "tool", "value": "<tool_response>\n{'name': 'f', 'content': {'y': None}}\n</tool_response>"},
            {"from": "gpt", "value": "Done."},
        ]
    }
    parsed = read(record, "hermes")
    assert parsed.tools == [{"type": "function", "function": SCHEMA}]
    assert short(parsed.messages)[1:] == [
        ("user", "go"),
        ("assistant", "Ok.", {"reasoning": "t", "calls": [("call_2_0", "f", {"x": None})]}),
        ("tool", "{'name': 'f', 'content': {'y': None}}", {"answers": "call_2_0"}),
        ("assistant", "Done."),
    ]


def test_qwen_answers_parallel_calls_in_one_user_turn() -> None:
    call = '<tool_call>\n{"name": "%s", "arguments": {}}\n</tool_call>'
    two = call % "f" + "\n" + call % "g"
    answers = "<tool_response>\n1\n</tool_response>\n<tool_response>\n2\n</tool_response>"
    parsed = read({"messages": chat(("user", "go"), ("assistant", two), ("user", answers))}, "hermes")
    assert short(parsed.messages)[1:] == [
        ("assistant", None, {"calls": [("call_1_0", "f", {}), ("call_1_1", "g", {})]}),
        ("tool", "1", {"answers": "call_1_0"}),
        ("tool", "2", {"answers": "call_1_1"}),
    ]


def test_hermes_keeps_a_tool_response_the_assistant_wrote() -> None:
    own = '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>\n<tool_response>\n1\n</tool_response>'
    parsed = read({"messages": chat(("user", "go"), ("assistant", own))}, "hermes")
    assert short(parsed.messages)[1:] == [("assistant", own, {"calls": [("call_1_0", "f", {})]})]


def test_hermes_keeps_an_unreadable_call_as_text_under_its_name() -> None:
    own = "<tool_call>\n{'name': 'f', 'arguments': {'x': }}\n</tool_call>"
    call = (read({"messages": chat(("user", "go"), ("assistant", own))}, "hermes").messages[1]["tool_calls"] or [])[0]
    assert (call["name"], call["arguments"]) == ("f", "{'name': 'f', 'arguments': {'x': }}")


def test_chatml_conversations_are_cut_out_of_a_document() -> None:
    first = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    first += "<tool_call>\n{'name': 'f', 'arguments': {}}\n</tool_call><|im_end|>\n<|im_start|>tool\n"
    first += "<tool_response>\n1\n</tool_response>\n<|im_end|>\n<|im_start|>assistant\nIt is 1.\n"
    document = f"# Title\n```\n{first}```\nProse with a lone\n<|im_start|>user\nquestion<|im_end|>\n"
    parts = split_text(document)
    assert "".join(parts) == document
    known = [detect(part) for part in parts]
    assert [None if known_as is None else known_as.name for known_as in known] == [None, "hermes", None]
    assert short(read(parts[1], "hermes").messages) == [
        ("user", "hi"),
        ("assistant", None, {"calls": [("call_1_0", "f", {})]}),
        ("tool", "1", {"answers": "call_1_0"}),
        ("assistant", "It is 1."),
    ]


def test_alpaca_tool_unrolls_the_history_and_declares_the_listed_tools() -> None:
    record = {
        "instruction": "Tools:\n1. Name: Get A\nDescription: gives a\nParameters: "
        '{"x": {"description": "d", "type": "float", "default": ""}}\n\nEnd',
        "input": "**Dialogue Records History**\n<user> one </user>\n\n<think> t1 </think>\n<tool_call>\n"
        '{"name": "Get A", "parameters": {"x": 1}}\n{"name": "Get A", "parameters": {"x": 2}}\n</tool_call>\n'
        '<obs> [{"name": "Get A", "results": 1}, {"name": "Get A", "results": 2}] </obs>',
        "output": "<think> t2 with <response> inside </think>\n<response> Both. </response>",
    }
    parsed = read(record, "alpaca_tool")
    assert short(parsed.messages)[1:] == [
        ("user", "one"),
        ("assistant", None, {
            "reasoning": "t1", "calls": [("call_2_0", "Get A", {"x": 1}), ("call_2_1", "Get A", {"x": 2})],
        }),
        ("tool", '{"name":"Get A","results":1}', {"answers": "call_2_0"}),
        ("tool", '{"name":"Get A","results":2}', {"answers": "call_2_1"}),
        ("assistant", "Both.", {"reasoning": "t2 with <response> inside"}),
    ]  # fmt: skip
    properties = {"x": {"description": "d", "default": "", "type": "number"}}
    function = {
        "name": "Get A", "description": "gives a", "parameters": {"type": "object", "properties": properties},
    }  # fmt: skip
    assert parsed.tools == [{"type": "function", "function": function}]


def test_alpaca_tool_keeps_an_observation_in_the_reply_verbatim() -> None:
    output = '<think> t </think>\n<tool_call>\n{"name": "a", "parameters": {}}\n</tool_call>\n<obs> 1 </obs>'
    record = {"instruction": "i", "input": "<user> q </user>", "output": output}
    assert short(read(record, "alpaca_tool").messages)[-1] == ("assistant", output, {"calls": [("call_2_0", "a", {})]})


def test_mini_swe_fences_are_bash_calls_and_what_the_submit_prints_is_the_answer() -> None:
    record = chat(
        ("system", "s"),
        ("user", "Please solve this issue: Fix it.\n\nYou can execute bash commands."),
        ("assistant", "Look.\n\n```mswea_bash_command\nls\n```"),
        ("user", "<returncode>0</returncode>\n<output>\na\n</output>"),
        ("assistant", "```mswea_bash_command\necho COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT && git diff\n```"),
        ("user", "the patch"),
    )
    parsed = read({"messages": record, "info": {"exit_status": "Submitted", "submission": ""}}, "mini_swe")
    assert short(parsed.messages)[2:] == [
        ("assistant", "Look.", {"calls": [("call_2_0", "bash", {"command": "ls"})]}),
        ("tool", "<returncode>0</returncode>\n<output>\na\n</output>", {"answers": "call_2_0"}),
        ("assistant", None, {
            "calls": [("call_4_0", "bash", {"command": "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT && git diff"})],
        }),
        ("tool", "the patch", {"answers": "call_4_0"}),
    ]  # fmt: skip
    assert (parsed.prompt, parsed.final_answer) == ("Fix it.", "the patch")
    assert parsed.metadata == {"exit_status": "Submitted"}


def test_api_bank_lines_of_a_file_are_one_dialogue() -> None:
    lines = [
        {"role": "User", "text": "add it"},
        {"role": "AI", "text": "Sure."},
        {"role": "API", "api_name": "Add", "param_dict": {"a": 1}, "result": {"output": "success", "exception": None}},
        {"role": "API", "api_name": "Get", "param_dict": {}, "result": {"output": None, "exception": "no such"}},
        {"role": "AI", "text": "Done."},
    ]
    (group,) = group_values(enumerate(lines))
    assert short(read(group.record, "api_bank").messages) == [
        ("user", "add it"),
        ("assistant", "Sure.", {"calls": [("call_1_0", "Add", {"a": 1})]}),
        ("tool", "success", {"answers": "call_1_0"}),
        ("assistant", None, {"calls": [("call_3_0", "Get", {})]}),
        ("tool", '{"exception":"no such"}', {"answers": "call_3_0"}),
        ("assistant", "Done."),
    ]


def node(kind: str, text: str, *children: dict[str, Any], **columns: Any) -> dict[str, Any]:
    return {"node_type": kind, "description": text, "children": list(children), **columns}


def test_toolbench_takes_the_winning_path_of_a_tree() -> None:
    finish = '{"return_type": "give_answer", "final_answer": "42"}'
    lost = node("Action", "f", node("Action Input", "{}", observation="lost", observation_code=0))
    won = node("Thought", "hm", node("Action", "f", node(
        "Action Input", '{"x": 1}',
        node("Action", "Finish", node("Action Input", finish, observation="ok", observation_code=3)),
        observation="found", observation_code=0,
    )))  # fmt: skip
    record = {
        "win": True,
        "tree": {"tree": node("Action Input", "", lost, won)},
        "answer_generation": {"query": "q", "final_answer": finish, "function": [{"name": "f"}, {"name": "Finish"}]},
    }
    parsed = read(record, "toolbench")
    assert short(parsed.messages) == [
        ("user", "q"),
        ("assistant", "hm", {"calls": [("call_1_0", "f", {"x": 1})]}),
        ("tool", "found", {"answers": "call_1_0"}),
        ("assistant", "42"),
    ]
    assert (parsed.final_answer, parsed.success) == ("42", True)
    assert parsed.tools == [{"type": "function", "function": {"name": "f"}}]


def test_toolbench_prefers_the_recorded_training_messages() -> None:
    turns = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "hm", "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "1"},
        {
            "role": "assistant",
            "content": None,
            "function_call": {"name": "Finish", "arguments": '{"final_answer": "1"}'},
        },
    ]
    record = {
        "win": False,
        "tree": {"tree": node("x", "")},
        "answer_generation": {"query": "q", "train_messages": [[], turns]},
    }
    assert short(read(record, "toolbench").messages) == [
        ("user", "q"),
        ("assistant", "hm", {"calls": [("call_1_0", "f", {})]}),
        ("tool", "1", {"answers": "call_1_0"}),
        ("assistant", "1"),
    ]


def test_tooleval_files_unpack_and_read_steps_that_are_cut_short() -> None:
    def step(role: str, text: str, *following: dict[str, Any]) -> dict[str, Any]:
        return {"role": role, "message": text, "next": list(following)}

    cut = "{'name': 'Finish', 'arguments': '{\\n  \"return_type\": \"giv"
    chain = step(
        "user",
        "q",
        step("tool", "{'name': 'f', 'arguments': '{}', 'response': '{\"error\": \"\", \"resp", step("tool", cut)),
    )
    told = '{"return_type": "give_answer", "final_answer": "all of it"}'
    value = {
        "11": {
            "query": "q",
            "available_tools": [],
            "answer": {"method": "CoT", "total_steps": 2, "final_answer": told, "answer_details": [chain]},
        }
    }
    (group,) = group_values([(0, value)])
    parsed = read(group.record, "toolbench")
    assert short(parsed.messages) == [
        ("user", "q"),
        ("assistant", None, {"calls": [("call_1_0", "f", {})]}),
        ("tool", '{"error": "", "resp', {"answers": "call_1_0"}),
        ("assistant", "all of it"),
    ]
    assert parsed.metadata == {"method": "CoT", "total_steps": 2, "query_id": "11"}


@pytest.mark.parametrize(
    "record",
    [
        {"messages": chat(("user", "Explain ReAct."), ("assistant", "An Action: line names a tool."))},
        {"messages": chat(("user", "What is <execute>?"), ("assistant", "A tag of MINT."))},
        {"messages": chat(("user", "q"), ("assistant", "```bash\nls\n```"))},
        {"instruction": "i", "input": "x", "output": "y"},
        {"question": "q", "answer": "a"},
        "Question: what?\nno steps here",
        "plain words",
        {"role": "user", "text": "lower-case roles are another format"},
        [],
        {},
        None,
        7,
    ],
)
def test_other_records_are_claimed_by_no_text_protocol(record: Any) -> None:
    names = {
        "react_chat", "react_alpaca", "react_text", "codeact", "tir", "blocks", "search_tags", "hermes", "alpaca_tool",
        "mini_swe", "api_bank", "toolbench",
    }  # fmt: skip
    found = detect(record)
    assert found is None or found.name not in names


@pytest.mark.parametrize(
    "record",
    [
        {"gen_text_store": "<search>x</search>"},
        {"traj": "### Response:\nAction: finish[a]"},
        {"instruction": "i", "input": "<user> never closed", "output": "<response> r </response>"},
        {"win": True, "tree": None, "answer_generation": {}},
    ],
)
def test_a_broken_record_says_what_is_missing(record: Any) -> None:
    found = detect(record)
    assert found is not None
    with pytest.raises(FormatError, match=r"want .*(found|;)"):
        found.parse(record)


SOUND: dict[str, Any] = {
    "codeact": mint(("assistant", "<execute>a()</execute>"), ("user", "Observation:\n1\nYou have 1 steps left.\n")),
    "react_chat": {"messages": chat(("user", "q"), ("assistant", "Action: s[x]"), ("user", "Observation: 1"))},
    "react_alpaca": {"traj": "### Instruction:\nq\n### Response:\nAction: finish[a]", "gt": "a", "reward": 1},
    "tir": {"question": "q", "gt": "2", "code": ["```python\n1\n```\n```output\n1\n```"], "pred": ["2"]},
    "blocks": {"messages": chat(("user", "q"), ("text", "a"), ("code", "1")), "completion": "1"},
    "search_tags": {"question": "q", "answer": ["a"], "response": "<search>x</search><information>d</information>"},
    "hermes": {"messages": chat(("user", "q"), ("assistant", "<tool_call>{}</tool_call>")), "tools": "[]"},
    "alpaca_tool": {"instruction": "1. Name: a", "input": "<user> q </user>", "output": "<think> t </think>"},
    "mini_swe": {
        "messages": chat(("user", "q"), ("assistant", "```mswea_bash_command\nls\n```")), "info": {"submission": "s"},
    },
    "api_bank": [
        {"role": "User", "text": "q"},
        {"role": "API", "api_name": "a", "param_dict": {}, "result": {"output": 1}},
    ],
    "toolbench": {
        "win": True,
        "tree": {"tree": node("x", "", node("Action", "f", node("Action Input", "{}", observation="1")))},
        "answer_generation": {"query": "q", "final_answer": "{}", "function": [{"name": "f"}], "train_messages": []},
    },
}  # fmt: skip
JUNK = [None, 7, 1.5, True, "", "x", "<tool_call>[1]</tool_call>", [], [1], ["a", None], [[]], {}, {"role": 1}]


def places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, inner in items for found in [(*above, key), *places(inner, (*above, key))]]


@pytest.mark.parametrize("name", SOUND)
def test_any_value_replaced_by_junk_is_a_format_error_or_a_sound_trajectory(name: str) -> None:
    assert read(SOUND[name], name).messages
    for path in places(SOUND[name]):
        for junk in JUNK:
            record = copy.deepcopy(SOUND[name])
            held = record
            for key in path[:-1]:
                held = held[key]
            held[path[-1]] = junk
            found = detect(record)
            if found is None:
                continue
            try:
                parsed = found.parse(record)
            except FormatError:
                continue
            for item in parsed.messages:
                assert item["role"] in ("system", "user", "assistant", "tool")
                assert isinstance(item["content"], str | None)
                assert isinstance(item["name"], str | None)
                assert all(isinstance(call["arguments"], str) for call in item["tool_calls"] or ())
            assert isinstance(parsed.prompt, str | None)
            assert isinstance(parsed.final_answer, str | None)
            assert isinstance(parsed.ground_truth, str | None)


@pytest.mark.parametrize(
    "piece",
    ["Action: a[\n", "Action Input: \n", "<execute>", "<tool_call>", "<think>", "\n", " ", "\\boxed{", "<search>",
     "<|im_start|>user\n", "<user>", "```python\n", "### Instruction:\n", "Question: x\nThought 1: "],
)  # fmt: skip
def test_tags_opened_and_never_closed_cost_no_quadratic_time(piece: str) -> None:
    text = piece * 20_000
    records: list[Any] = [
        {"messages": chat(("user", "q"), ("assistant", f"<execute>x</execute><tool_call>Action: b[c]\n{text}"))},
        {"question": "q", "code": [text], "pred": []},
        {"question": "q", "gen_text_store": text},
        {"traj": f"### Instruction:\n{text}### Response:\nAction: finish[a]\n{text}"},
        {"instruction": text, "input": f"<user> q </user>{text}", "output": f"<think>{text}"},
        {"text": f"<|im_start|>user\nx<|im_end|><|im_start|>assistant\n{text}"},
        f"Question: x\nThought 1: y\n{text}",
    ]
    started = time.process_time()
    for record in records:
        found = detect(record)
        assert found is not None
        found.parse(record)
    assert time.process_time() - started < 5  # quadratic readers took minutes
