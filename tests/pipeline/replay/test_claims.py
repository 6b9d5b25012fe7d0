"""What an assistant claims to have run and seen is read out of every protocol, and merged with what really ran."""

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from benchmarks.mint_labels import LABELS, labelled_claims
from pipeline.formats.codeact import CODEACT
from pipeline.frames import EVIDENCE_DTYPE
from pipeline.replay.claims import explode_claims, merged_steps
from pipeline.schema import Message
from pipeline.stages.self_written import AFTER_OWN_CALL, LOOSER, mark_self_written
from pipeline.stages.steps import explode_steps
from tests.factories import assistant, make_frame, make_trajectory, tool, user
from tests.strategies import trajectories

Told = tuple[str | None, Any, str | None]

BAR = "\uff5c"
CASES: dict[str, tuple[str, list[Told]]] = {
    "codeact": (
        "<thought>add</thought>\n<execute>\nx = 1\nprint(x)\n</execute>\n\nObservation:\n1\n\nAssistant:\n"
        "<thought>again</thought>\n<execute> print(2) </execute>\nObservation: 2\n<solution> 2 </solution>",
        [("python", {"code": "x = 1\nprint(x)"}, "1"), ("python", {"code": " print(2) "}, "2")],
    ),
    "codeact, a block without a result": (
        "<execute>x = 1</execute>\n\nAssistant:\n<execute>x</execute>\nObservation:\n1",
        [("python", {"code": "x = 1"}, None), ("python", {"code": "x"}, "1")],
    ),
    "codeact, an empty result": (
        "<execute>x = 1</execute>\nObservation:\n\nAssistant:\nDone.",
        [("python", {"code": "x = 1"}, "")],
    ),
    "codeact, a result that is the answer": (
        "<execute>x</execute>\nObservation:\nThe answer is <solution> 3 </solution>.",
        [("python", {"code": "x"}, "The answer is <solution> 3 </solution>.")],
    ),
    "codeact, the answer in a paragraph of its own": (
        "<execute>x</execute>\nObservation:\nOut[1]: 3\n\nThe answer is <solution> 3 </solution>.",
        [("python", {"code": "x"}, "Out[1]: 3")],
    ),
    "codeact, the assistant speaks on": (
        "<execute>x</execute>\nObservation:\n-5\n\nSince the area is negative, we turn it.\n\n<thought>so</thought>",
        [("python", {"code": "x"}, "-5")],
    ),
    "codeact, paragraphs of a traceback": (
        "<execute>f()</execute>\nObservation:\nTraceback:\n  line 1\n\nValueError: no\n\nAssistant:\nHm.",
        [("python", {"code": "f()"}, "Traceback:\n  line 1\n\nValueError: no")],
    ),
    "codeact, indentation of a result": (
        "<execute>x</execute>\nObservation:\n   a  b\n0  1  2\nYou have 3 steps left and 1 chance.",
        [("python", {"code": "x"}, "   a  b\n0  1  2")],
    ),
    "codeact, an unlabelled output": ("<execute>1</execute>\n\nOutput:\n1", [("python", {"code": "1"}, "1")]),
    "codeact, an echoed step": (
        "<execute>1</execute><step> Source: assistant\n\n Observation:\n1",
        [("python", {"code": "1"}, "1")],
    ),
    "codeact, quotes and letters": (
        "<execute>print(\"größer\", '\\n')</execute>\nObservation:\ngrößer",
        [("python", {"code": "print(\"größer\", '\\n')"}, "größer")],
    ),
    "react": (
        "Thought: look\nAction: search[moon]\nObservation: far away\nThought: so\nAction: finish[far]",
        [("search", {"input": "moon"}, "far away")],
    ),
    "react, numbered": (
        "Action 1: search[moon]\nObservation 1: far\nThought 2: more\nAction 2: lookup[sun]\nObservation 2: farther",
        [("search", {"input": "moon"}, "far"), ("lookup", {"input": "sun"}, "farther")],
    ),
    "react, on one line": ("Action: search[moon]. Observation: far", [("search", {"input": "moon"}, "far")]),
    "react, action input": (
        'Thought: look\nAction: search\nAction Input: {"q": "moon"}\nObservation: far away\nFinal Answer: far',
        [("search", {"q": "moon"}, "far away")],
    ),
    "react, Python": (
        "Action: Python_REPL\nAction Input: ```python\nx = [1]\nprint(x[0])\n```\nObservation: 1\n",
        [("Python_REPL", {"input": "```python\nx = [1]\nprint(x[0])\n```"}, "1")],
    ),
    "hermes": (
        '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>\n'
        '<tool_response>\n{"y": 2}\n</tool_response>\nSo 2.',
        [("f", {"x": 1}, '{"y": 2}')],
    ),
    "hermes, parallel calls": (
        '<tool_call>{"name": "f"}</tool_call>\n<tool_call>{"name": "g", "arguments": "{}"}</tool_call>\n'
        "<tool_response>1</tool_response>\n<tool_response>2</tool_response>\n"
        '<tool_call>{"name": "h"}</tool_call>',
        [("f", {}, "1"), ("g", {}, "2"), ("h", {}, None)],
    ),
    "hermes, Python's quotes": (
        "<tool_call>{'name': 'f', 'arguments': {'x': True}}</tool_call><tool_result>1</tool_result>",
        [("f", {"x": True}, "1")],
    ),
    "qwen coder": (
        "<tool_call>\n<function=f>\n<parameter=x>\n1\n</parameter>\n</function>\n</tool_call>\n<tool_response>2",
        [("f", {"x": "1"}, "2")],
    ),
    "chatml": (
        '<tool_call>\n{"name": "f"}\n</tool_call><|im_end|>\n<|im_start|>tool\n1<|im_end|>\n<|im_start|>assistant\nSo.',
        [("f", {}, "1")],
    ),
    "chatml, tagged": (
        '<tool_call>{"name": "f"}</tool_call><|im_end|>\n'
        "<|im_start|>tool\n<tool_response>\n1\n</tool_response><|im_end|>",
        [("f", {}, "1")],
    ),
    "function tags": (
        "<function=run>\n<parameter=command>\nls\n</parameter>\n</function>\n<|im_start|>tool\na.py<|im_end|>",
        [("run", {"command": "ls"}, "a.py")],
    ),
    "fenced output": (
        "First\n```python\nprint(1)\n```\n```output\n1\n```\n"
        "Then\n```python\nprint(2)\n```\n\n```output\n2\n```\nSo 2.",
        [("python", {"code": "print(1)"}, "1"), ("python", {"code": "print(2)"}, "2")],
    ),
    "fenced shell": (
        "```mswea_bash_command\nls\n```\n<returncode>0</returncode>\n<output>\na.py\n</output>\nGood.",
        [("bash", {"command": "ls"}, "<returncode>0</returncode>\n<output>\na.py\n</output>")],
    ),
    "search tags": (
        "<search> moon </search>\n<information>\nfar away\n</information>\n<search>sun</search>\n<result>near</result>",
        [("search", {"query": "moon"}, "far away"), ("search", {"query": "sun"}, "near")],
    ),
    "query tags": (
        "<|begin_of_query|>moon<|end_of_query|>\n<|begin_of_documents|>\nfar<|end_of_documents|>",
        [("search", {"query": "moon"}, "far")],
    ),
    "python tags": ("<python>print(1)</python>\n<result>1</result>", [("python", {"code": "print(1)"}, "1")]),
    "blocks": (
        "<|code|>1+1<|endofblock|><|execution|>2<|endofblock|><|text|>So<|endofblock|><|code|>3<|endofblock|>",
        [("python", {"code": "1+1"}, "2"), ("python", {"code": "3"}, None)],
    ),
    "llama": (
        "<|python_tag|>x = 1\nx<|eom_id|><|start_header_id|>ipython<|end_header_id|>\n\n1<|eot_id|>",
        [("python", {"code": "x = 1\nx"}, "1")],
    ),
    "llama, a JSON call": (
        '<|python_tag|>{"name": "f", "parameters": {"x": 1}}<|eom_id|>'
        "<|start_header_id|>tool<|end_header_id|>\n\n1<|eot_id|>",
        [("f", {"x": 1}, "1")],
    ),
    "llama, a built-in tool": (
        '<|python_tag|>brave_search.call(query="moon")<|eom_id|><|start_header_id|>ipython<|end_header_id|>\n\nfar',
        [("brave_search", 'query="moon"', "far")],
    ),
    "mistral": (
        '[TOOL_CALLS][{"name": "f", "arguments": {"x": 1}}]</s>[TOOL_RESULTS]{"content": 1}[/TOOL_RESULTS]So.',
        [("f", {"x": 1}, '{"content": 1}')],
    ),
    "qwen": ("✿FUNCTION✿: f\n✿ARGS✿: {}\n✿RESULT✿: 1\n✿RETURN✿: done", [("f", {}, "1")]),
    "qwen, code": (
        "✿FUNCTION✿: code_interpreter\n✿ARGS✿: print(1)\n✿RESULT✿: 1\n✿RETURN✿: done",
        [("code_interpreter", {"code": "print(1)"}, "1")],
    ),
    "deepseek": (
        f"<{BAR}tool▁calls▁begin{BAR}><{BAR}tool▁call▁begin{BAR}>function<{BAR}tool▁sep{BAR}>f\n```json\n{{}}\n```"
        f"<{BAR}tool▁call▁end{BAR}><{BAR}tool▁calls▁end{BAR}>"
        f"<{BAR}tool▁outputs▁begin{BAR}><{BAR}tool▁output▁begin{BAR}>1<{BAR}tool▁output▁end{BAR}>",
        [("f", {}, "1")],
    ),
    "glm": ('<|assistant|>f\n{"x": 1}<|observation|>\n1', [("f", {"x": 1}, "1")]),
    "glm, tagged": (
        "<tool_call>f\n<arg_key>x</arg_key>\n<arg_value>1</arg_value>\n</tool_call>\n<|observation|>\n1",
        [("f", {"x": 1}, "1")],
    ),
    "harmony": (
        "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>"
        "<|start|>functions.f to=assistant<|channel|>commentary<|message|>1<|end|>",
        [("f", {}, "1")],
    ),
    "harmony, Python": (
        "<|channel|>analysis to=python code<|message|>print(1)<|call|><|start|>python<|message|>1<|end|>",
        [("python", {"code": "print(1)"}, "1")],
    ),
    "invocations": (
        '<function_calls><invoke name="f"><parameter name="x">1</parameter></invoke></function_calls>\n'
        "<function_results>2</function_results>",
        [("f", {"x": "1"}, "2")],
    ),
    "toolrl": (
        '<tool_call>\n{"name": "f", "parameters": {}}\n{"name": "g", "parameters": {}}\n</tool_call>\n<obs> 1 </obs>',
        [("f", {}, " 1"), ("g", {}, None)],
    ),
}


def told(messages: list[Message], **columns: Any) -> list[tuple[Any, ...]]:
    """Message, tool, arguments (read where JSON) and claim of a trajectory's claims."""
    frame = explode_claims(make_frame(make_trajectory(messages, **columns)).collect())
    rows = frame.select("message_index", "tool_name", "arguments", "claimed").rows()
    return [(index, name, _read(arguments), claimed) for index, name, arguments, claimed in rows]


def _read(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except json.JSONDecodeError:
        return arguments


@pytest.mark.parametrize("case", CASES)
def test_the_claims_of_a_content(case: str) -> None:
    content, wanted = CASES[case]
    assert told([user("q"), assistant(content)]) == [(1, *each) for each in wanted]


@pytest.mark.parametrize("case", CASES)
def test_every_content_with_claims_is_one_that_the_gate_marks_or_would_if_asked(case: str) -> None:
    frame = make_frame(make_trajectory([user("q"), assistant(CASES[case][0])]))
    marked = mark_self_written(frame, also=LOOSER).collect()
    assert marked["reason"].to_list() == ["self_written_observation"]


def test_every_protocol_of_the_gate_is_read() -> None:
    hit: set[str] = set()
    for content, _ in CASES.values():
        for protocol in AFTER_OWN_CALL:
            hit |= {protocol} if pl.Series([content]).str.contains(AFTER_OWN_CALL[protocol]).item() else set()
    assert hit == set(AFTER_OWN_CALL)


SILENT: dict[str, list[Message]] = {
    "no messages": [],
    "no content": [user("q"), assistant(None)],
    "calls without results": [user("q"), assistant("<execute>a</execute>\n<execute>b</execute>")],
    "a call that is not closed": [user("q"), assistant("<execute>a\nObservation: 1")],
    "words between call and result": [user("q"), assistant("<execute>a</execute>\nI wait.\nObservation: 1")],
    "the user's": [user("<execute>a</execute>\nObservation: 1")],
    "code with no output": [user("q"), assistant("```python\nprint(1)\n```\nThis prints 1.")],
    "an answer": [user("q"), assistant("Action: finish[a]\nObservation: right")],
    "a genuine call": [user("q"), assistant("I look.", ("f", {})), tool("Observation: 1"), assistant("So 1.")],
    "a result told again beside the next call": [
        user("q"), assistant(None, ("f", {})), tool("far"), assistant("Observation:\nIt is far.", ("g", {})),
    ],
    "a result without any call": [user("q"), assistant("Observation: 1")],
}  # fmt: skip


@pytest.mark.parametrize("case", SILENT)
def test_what_claims_nothing_has_no_claim(case: str) -> None:
    assert told(SILENT[case]) == []


BESIDE = [
    ("I will look.\nObservation: far away", "far away"),
    ("I will look.\n\n**Result:** far away\n\nSo it is far.", "far away"),
    ("I will look.\nFunction output:\nfar away", "far away"),
    ("Asking. <tool_response>far away</tool_response> So.", "far away"),
    ("Asking.[TOOL_RESULTS]far away", "far away"),
    ("Asking.\n```output\nfar away\n```", "far away"),
    ("Asking.<|im_start|>tool\nfar away<|im_end|>", "far away"),
]


@pytest.mark.parametrize(("content", "claimed"), BESIDE)
def test_a_result_beside_a_native_call_is_a_claim_about_that_call(content: str, claimed: str) -> None:
    messages = [user("q"), assistant(content, ("search", {"q": "moon"})), tool("very far")]
    frame = explode_claims(make_frame(make_trajectory(messages)).collect())
    assert frame.rows() == [("t0", 1, 0, "search", '{"q":"moon"}', claimed, 1, 0)]


def test_a_result_left_behind_an_unanswered_call_is_a_claim_about_it() -> None:
    messages = [user("q"), assistant("Code:", ("python", {"code": "1+1"})), assistant("So\n```output\n2\n```")]
    rows = make_frame(make_trajectory(messages)).collect()
    assert explode_claims(rows).rows() == [("t0", 2, 0, "python", '{"code":"1+1"}', "2", 1, 0)]
    steps = merged_steps(rows, ["t0"])
    assert steps.select("step_index", "message_index", "recorded", "origin").rows() == [
        (0, 1, None, "environment"),
        (1, 2, "2", "assistant"),
    ]


TWO_BLOCKS = (
    "<execute>\nx = 1\nprint(x)\n</execute>\nObservation:\n1\n\nAssistant:\n"
    "<execute>\nprint(x + 1)\n</execute>\nObservation:\n3"
)
FIRST, SECOND = '{"code":"x = 1\\nprint(x)"}', '{"code":"print(x + 1)"}'


def test_claims_are_a_course_of_their_own_with_the_genuine_calls_before_them_run_for_their_state() -> None:
    messages = [
        user("q"),
        assistant("plan", ("python", {"code": "import math"})),
        tool(""),
        assistant(TWO_BLOCKS, ("python", {"code": "x = 1\nprint(x)\nprint(x + 1)"})),
        tool("1\n2", "c0"),
        assistant("more", ("python", {"code": "x"})),
        tool("1", "c0"),
    ]
    joined = '{"code":"x = 1\\nprint(x)\\nprint(x + 1)"}'
    steps = merged_steps(make_frame(make_trajectory(messages)).collect(), ["t0"])
    assert steps.select("step_index", "message_index", "call_index", "arguments", "recorded", "origin").rows() == [
        (0, 1, 0, '{"code":"import math"}', "", "environment"),
        (None, 1, None, '{"code":"import math"}', None, "assistant"),
        (1, 3, 0, joined, "1\n2", "environment"),
        (2, 3, None, FIRST, "1", "assistant"),
        (3, 3, None, SECOND, "3", "assistant"),
        (4, 5, 0, '{"code":"x"}', "1", "environment"),
    ]
    assert steps["observation_index"].to_list() == [2, None, 4, None, None, 6]
    assert steps["call_id"].to_list() == ["c0", None, "c0", None, None, "c0"]


def test_a_block_without_a_result_is_run_for_its_state_and_is_no_step() -> None:
    content = "<execute>x = 1</execute>\n\nAssistant:\n<execute>x</execute>\nObservation:\n1"
    steps = merged_steps(make_frame(make_trajectory([user("q"), assistant(content)])).collect(), ["t0"])
    assert steps.select("step_index", "arguments", "recorded", "origin").rows() == [
        (None, '{"code":"x = 1"}', None, "assistant"),
        (0, '{"code":"x"}', "1", "assistant"),
    ]


def test_claims_say_which_genuine_calls_they_are() -> None:
    content = (
        '<tool_call>{"name": "f", "arguments": {"x": 1}}</tool_call>\n<tool_call>{"name": "g"}</tool_call>\n'
        "<tool_response>1</tool_response>\n<tool_response>2</tool_response>"
    )
    parallel = [user("q"), assistant(content, ("f", {"x": 1}), ("g", {})), tool("3", "c0"), tool("4", "c1")]
    first = [user("q"), assistant(TWO_BLOCKS, ("PythonInterpreter", {"code": "x = 1\nprint(x)"}))]
    joined = [user("q"), assistant(TWO_BLOCKS, ("python", {"code": "x = 1\nprint(x)\nprint(x + 1)"}))]
    rows = make_frame(*(make_trajectory(messages) for messages in (parallel, first, joined))).collect()
    assert explode_claims(rows).select(
        "trajectory_id", "tool_name", "claimed", "call_message", "call_index"
    ).rows() == [
        ("t0", "f", "1", 1, 0),
        ("t0", "g", "2", 1, 1),
        ("t1", "PythonInterpreter", "1", 1, 0),
        ("t1", "python", "3", None, None),
        ("t2", "python", "1", None, None),
        ("t2", "python", "3", None, None),
    ]


def test_claims_are_read_of_the_named_trajectories_only_and_the_order_of_rows_is_kept() -> None:
    rows = make_frame(
        make_trajectory([user("q"), assistant(TWO_BLOCKS)], trajectory_id="b"),
        make_trajectory([user("q"), assistant(TWO_BLOCKS)], trajectory_id="a"),
        make_trajectory(trajectory_id="c"),
    ).collect()
    assert merged_steps(rows, ["a"])["trajectory_id"].to_list() == ["a", "a", "c"]
    assert merged_steps(rows, ["a", "b"])["trajectory_id"].to_list() == ["b", "b", "a", "a", "c"]
    assert merged_steps(rows)["trajectory_id"].to_list() == ["c"]


CONTENTS = st.one_of(
    st.sampled_from([content for content, _ in CASES.values()]),
    st.lists(
        st.sampled_from(
            ["<execute>", "</execute>", "Observation: 1\n", "x = 1", "\n", "Action: f[x]\n", "```python\n", "```\n",
             "```output\n", "<tool_call>", "</tool_call>", "<tool_response>", "{}", "<search>", "</search>", "<result>",
             "Assistant:\n", "[TOOL_CALLS]", "[TOOL_RESULTS]", "</s>", "✿FUNCTION✿", "✿RESULT✿", "<|call|>",
             "to=f<|message|>"]
        ),
        max_size=14,
    ).map("".join),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(CONTENTS)
def test_a_claimed_result_and_its_code_are_words_of_the_content(content: str) -> None:
    for _, _, arguments, claimed in told([user("q"), assistant(content)]):
        assert claimed is None or claimed in content
        for word in arguments.values() if isinstance(arguments, dict) else [arguments]:
            assert not isinstance(word, str) or word in content


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(exclude_characters="<>:`[]|✿", exclude_categories=["Cs"])))
def test_a_text_without_markers_claims_nothing(content: str) -> None:
    assert told([user("q"), assistant(content), assistant(content)]) == []


@settings(max_examples=80, deadline=None)
@given(st.lists(trajectories(), max_size=4))
def test_without_claimants_the_steps_are_the_genuine_ones_and_claims_add_rows_only(rows: list[dict[str, Any]]) -> None:
    named = [row | {"trajectory_id": f"x{k}"} for k, row in enumerate(rows)]
    frame = make_frame(*named).collect()
    steps = merged_steps(frame)
    genuine = explode_steps(frame)[0]
    columns = ["trajectory_id", "message_index", "call_index", "call_id", "tool_name", "arguments", "observation_index"]
    assert_frame_equal(steps.select(columns), genuine.select(columns))
    per_trajectory = steps.group_by("trajectory_id", maintain_order=True).agg("step_index")["step_index"].to_list()
    assert per_trajectory == [list(range(len(held))) for held in per_trajectory]
    merged = merged_steps(frame, frame["trajectory_id"].to_list())
    assert merged.schema == steps.schema
    assert_frame_equal(merged.filter(pl.col("origin") == "environment").select(columns), genuine.select(columns))


def test_the_labelled_claims_of_mint_are_read_as_they_were_labelled() -> None:
    if not LABELS.exists():
        pytest.skip("../shared/data/mint is not beside this checkout")
    rows = []
    for path in sorted((LABELS.parent / "dev").rglob("*.jsonl")):
        if path.parts[-3] != "Meta-Llama-3-8B-Instruct":  # the labels are of its traces
            continue
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            if "task" not in record:
                continue
            parsed = CODEACT.parse(record)
            name = f"{path.parts[-2]}/{path.stem}/{parsed.metadata.get('task_id')}"
            columns = {"trajectory_id": name, "raw_path": str(path), "metadata": json.dumps(parsed.metadata)}
            rows.append(make_trajectory(parsed.messages, **columns))
    claims = labelled_claims(make_frame(*rows).with_columns(evidence=pl.lit(None, EVIDENCE_DTYPE)).collect())
    assert claims.height == 1102
    assert claims["trajectory_id"].null_count() == claims["step_index"].null_count() == 0
    other = claims.filter(~(pl.col("is_same_code") & pl.col("is_same_claim")))
    # read by hand: the labels cut a traceback, took the assistant's prose for output (twice), and two blocks for one
    assert sorted(other["trace"].str.replace("Meta-Llama-3-8B-Instruct/", "").to_list()) == [
        "max5/math/56",
        "max5/mbpp/40",
        "max5/mmlu/10",
        "max5/mmlu/5",
    ]
