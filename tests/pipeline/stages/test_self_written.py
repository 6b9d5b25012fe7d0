"""The gate on self-written observations: every protocol's own form of the fault, what must not fire, and MINT."""

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.formats.registry import detect
from pipeline.frames import EVIDENCE_DTYPE
from pipeline.reasons import REASON_DTYPE, Reason
from pipeline.schema import Message
from pipeline.stages.self_written import AFTER_OWN_CALL, LOOSER, SNIPPET_CHARS, mark_self_written
from tests.factories import assistant, make_frame, make_trajectory, reasons_of, tool, user
from tests.pipeline.formats.shared_text_protocols import FAMILIES, SHARED, records_of
from tests.strategies import trajectories

LABELS = SHARED / "mint" / "DERIVED_self_written_observations.jsonl"
CALL = ("search", {"query": "moon"})

FABRICATED: dict[str, str] = {
    "codeact": "<execute>\nprint(1)\n</execute>\n\nObservation:\n1\n\nSo it is 1.",
    "react": "Thought: look\nAction: search[moon]\nObservation: far away",
    "react_action_input": 'Thought: look\nAction: search\nAction Input: {"q": "moon"}\nObservation: far away',
    "hermes": '<tool_call>\n{"name": "f"}\n</tool_call>\n<tool_response>\n{"x": 1}\n</tool_response>',
    "chatml": '<tool_call>\n{"name": "f"}\n</tool_call><|im_end|>\n<|im_start|>tool\n1<|im_end|>',
    "fenced_output": "```python\nprint(1)\n```\n```output\n1\n```\nSo 1.",
    "search_tags": "<search>moon</search>\n<information>far away</information>",
    "query_tags": "<|begin_of_query|>moon<|end_of_query|>\n<|begin_of_documents|>\nfar<|end_of_documents|>",
    "python_tags": "<python>print(1)</python>\n<result>1</result>",
    "blocks": "<|code|>1+1<|endofblock|><|execution|>2<|endofblock|>",
    "llama": '<|python_tag|>f(x=1)<|eom_id|><|start_header_id|>ipython<|end_header_id|>\n\n"1"<|eot_id|>',
    "mistral": '[TOOL_CALLS][{"name": "f", "arguments": {}}]</s>[TOOL_RESULTS]{"content": 1}[/TOOL_RESULTS]',
    "qwen": "✿FUNCTION✿: f\n✿ARGS✿: {}\n✿RESULT✿: 1\n✿RETURN✿: done",
    "deepseek": "<{0}tool▁calls▁begin{0}>f<{0}tool▁calls▁end{0}><{0}tool▁outputs▁begin{0}>1".format("\uff5c"),
    "glm": "<tool_call>f\n</tool_call>\n<|observation|>\n1",
    "harmony": "<|channel|>commentary to=functions.f<|message|>{}<|call|><|start|>functions.f<|message|>1<|end|>",
    "xml_function_calls": "<function_calls><invoke name='f'></invoke></function_calls>\n<function_results>1",
    "toolrl": '<tool_call>\n{"name": "f", "parameters": {}}\n</tool_call>\n<obs> [{"name": "f"}] </obs>',
}
"""One self-written result in each protocol's own words, in the content of one assistant message."""


def evidence_of(lf: pl.LazyFrame) -> dict[str, object]:
    return json.loads(lf.select("evidence").collect()["evidence"].to_list()[0])


@pytest.mark.parametrize("protocol", AFTER_OWN_CALL)
def test_a_result_behind_its_own_call_is_caught_in_every_protocol(protocol: str) -> None:
    content = FABRICATED[protocol]
    marked = mark_self_written(make_frame(make_trajectory([user("q"), assistant(content)])))
    assert reasons_of(marked) == ["self_written_observation"]
    evidence = evidence_of(marked)
    assert (evidence["message_index"], evidence["pattern"]) == (1, protocol)
    offset, snippet = int(str(evidence["offset"])), str(evidence["snippet"])
    assert content[offset:].startswith(snippet)
    assert 0 < len(snippet) <= SNIPPET_CHARS


NATIVE = [
    ("I will look.\nObservation: far away", "native_line"),
    ("I will look.\n\n**Result:** far away", "native_line"),
    ("I will look.\nTool result: far away", "native_line"),
    ("I will look.\nFunction output:\nfar away", "native_line"),
    ("Observation: far away", "native_opening"),
    ("Asking. <tool_response>far away</tool_response>", "native_tag"),
    ("Asking.[TOOL_RESULTS]far away", "native_tag"),
    ("Asking.<|start_header_id|>ipython<|end_header_id|>\n\nfar", "native_tag"),
    ("Asking.<function_results>far</function_results>", "native_tag"),
    ("Asking.<|im_start|>tool\nfar<|im_end|>", "native_tag"),
    ("Asking.\n```output\nfar\n```", "native_tag"),
]


@pytest.mark.parametrize(("content", "pattern"), NATIVE)
def test_a_result_beside_a_native_call_is_caught(content: str, pattern: str) -> None:
    marked = mark_self_written(make_frame(make_trajectory([user("q"), assistant(content, CALL), tool("real")])))
    assert reasons_of(marked) == ["self_written_observation"]
    assert evidence_of(marked)["pattern"] == pattern


CLEAN: dict[str, list[Message]] = {
    "a clean native call": [user("q"), assistant("I look.", CALL), tool("far"), assistant("It is far.")],
    "a real observation": [user("q"), assistant(None, CALL), tool("Observation: 1\n<tool_response>x")],
    "the user quotes the protocol": [user("</execute>\nObservation:\n1"), assistant("I see.")],
    "the system prompt demonstrates": [user("Action: search[x]\nObservation: y"), assistant("Action: search[z]")],
    "talk of observations": [user("q"), assistant("An Observation: line follows an action in ReAct.")],
    "a quote with no call": [user("q"), assistant("The log says:\nObservation: 7 degrees\nso it was cold.")],
    "restating a real result before the next call": [
        user("q"), assistant(None, CALL), tool("far"), assistant("Observation:\nThe page says far.", CALL), tool("x"),
    ],
    "a bullet in an argument": [user("q"), assistant("Day 1:\n- Observation: Umbrella\n- P = 0.6")],
    "code with no output": [user("q"), assistant("```python\nprint(1)\n```\nThis prints 1.")],
    "a result tag explained": [user("q"), assistant("Results arrive in <tool_response> tags.")],
    "a call with nothing behind it": [user("q"), assistant("<execute>print(1)</execute>")],
    "two calls": [user("q"), assistant("<search>a</search>\n<search>b</search>")],
    "the answer behind an action": [user("q"), assistant("Action: finish[a]\nI observed much.")],
    "no content": [user("q"), assistant(None)],
    "no messages": [],
}  # fmt: skip


@pytest.mark.parametrize("case", CLEAN)
def test_what_is_not_a_self_written_result_passes(case: str) -> None:
    assert reasons_of(mark_self_written(make_frame(make_trajectory(CLEAN[case])))) == [None]


STRAY = [
    ("tir", "Done.\n```output\n2\n```"),
    ("search_tags", "Hm.<result>2</result>"),
    ("blocks", "<|execution|>2<|endofblock|>"),
    ("react_text", "Observation 2: made up"),
    ("react_alpaca", "Observation: made up"),
]


@pytest.mark.parametrize(("name", "content"), STRAY)
def test_a_result_left_in_the_words_of_an_inline_format_was_made_up(name: str, content: str) -> None:
    messages = [user("q"), assistant(None, CALL), tool("real"), assistant(content)]
    inline = make_trajectory(messages, format=name)
    elsewhere = make_trajectory(messages, trajectory_id="other")
    marked = mark_self_written(make_frame(inline, elsewhere))
    assert reasons_of(marked) == ["self_written_observation", None]
    assert evidence_of(marked)["message_index"] == 3


def test_the_first_message_at_fault_is_the_evidence_and_offsets_count_characters() -> None:
    content = "größer 🙂 <execute>1</execute>\nObservation: 1"
    messages = [user("q"), assistant("fine"), assistant(content), assistant(FABRICATED["react"])]
    evidence = evidence_of(mark_self_written(make_frame(make_trajectory(messages))))
    assert evidence == {
        "message_index": 2,
        "pattern": "codeact",
        "offset": content.index("Observation"),
        "snippet": "Observation: 1",
    }


def test_looser_forms_fire_only_when_asked_for() -> None:
    rows = make_frame(
        make_trajectory([user("q"), assistant("<execute>1</execute>\n\nOutput:\n1")]),
        make_trajectory([user("q"), assistant("<execute>1</execute><step> Source: assistant\n\n Observation:\n1")]),
    )
    assert reasons_of(mark_self_written(rows)) == [None, None]
    assert reasons_of(mark_self_written(rows, also=LOOSER)) == ["self_written_observation"] * 2


def test_a_null_format_and_null_messages_pass() -> None:
    rows = make_frame(make_trajectory(format=None), make_trajectory()).with_columns(
        messages=pl.when(pl.col("format").is_null()).then(pl.col("messages"))
    )
    assert reasons_of(mark_self_written(rows)) == [None, None]


CONTENTS = st.one_of(st.none(), st.sampled_from(sorted(FABRICATED.values())), st.text(max_size=40))
TURNS = st.lists(
    st.one_of(
        CONTENTS.map(lambda text: assistant(text)),
        CONTENTS.map(lambda text: assistant(text, CALL)),
        CONTENTS.map(lambda text: user(text or "")),
        CONTENTS.map(tool),
    ),
    max_size=4,
)
EARLIER = st.sampled_from([None, Reason.EMPTY.value, Reason.SELF_WRITTEN_OBSERVATION.value])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TURNS, EARLIER, st.sampled_from(["tir", "hermes"])), min_size=1, max_size=5))
def test_other_columns_stay_earlier_reasons_are_kept_and_twice_equals_once(
    drawn: list[tuple[list[Message], str | None, str]],
) -> None:
    before = make_frame(*(make_trajectory(turns, reason=reason, format=name) for turns, reason, name in drawn))
    before = before.with_columns(
        evidence=pl.when(pl.col("reason").is_not_null()).then(pl.lit("{}", EVIDENCE_DTYPE)),
        reason=pl.col("reason").cast(REASON_DTYPE),
    ).collect()
    once = mark_self_written(before.lazy()).collect()
    assert_frame_equal(once.drop("reason", "evidence"), before.drop("reason", "evidence"))
    kept = before["reason"].is_not_null()
    assert_frame_equal(once.filter(kept), before.filter(kept))
    assert_frame_equal(mark_self_written(once.lazy()).collect(), once)


@settings(max_examples=60, deadline=None)
@given(st.lists(trajectories(), max_size=4))
def test_rows_as_broken_as_real_ones_pass_through_whole(rows: list[dict[str, Any]]) -> None:
    before = make_frame(*rows).collect()
    once = mark_self_written(before.lazy()).collect()
    assert_frame_equal(once.drop("reason", "evidence"), before.drop("reason", "evidence"))
    assert_frame_equal(mark_self_written(once.lazy()).collect(), once)


def test_recall_and_false_alarms_on_mint() -> None:
    if not LABELS.exists():
        pytest.skip("../shared/data/mint is not beside this checkout")
    labels = [json.loads(line) for line in LABELS.read_text(encoding="utf-8").splitlines()]
    listed = {(label["model"], label["setting"], label["task"], label["task_id"]) for label in labels}
    rows, keys = [], []
    for path, record in records_of(FAMILIES["mint"][0]):
        found = detect(record)
        assert found is not None
        rows.append(make_trajectory(found.parse(record).messages, format=found.name))
        keys.append((path.parts[-3], path.parts[-2], path.stem, record["task"]["task_id"]))
    flagged = [reason is not None for reason in reasons_of(mark_self_written(make_frame(*rows)))]
    caught = sum(flag and key in listed for flag, key in zip(flagged, keys, strict=True))
    alarms = [key for flag, key in zip(flagged, keys, strict=True) if flag and key not in listed]
    outside = len(keys) - len(listed)
    print(f"mint: {len(keys)} traces, {caught} of {len(listed)} caught, {len(alarms)} of {outside} others: {alarms}")
    assert (len(keys), len(listed), outside) == (3616, 794, 2822)
    assert caught / len(listed) >= 0.99
    assert len(alarms) / outside <= 0.005
