"""An agent's reasoning is told apart from what it says and does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.judging.private import LEFT_OUT, arguments_without_reasoning, is_thinking_tool, without_reasoning


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("<think>secret</think>It is 4.", f"{LEFT_OUT}It is 4."),
        ("<thinking>secret</thinking>\nIt is 4.", f"{LEFT_OUT}\nIt is 4."),
        ("<reasoning effort='high'>secret</reasoning>4", f"{LEFT_OUT}4"),
        ("<THOUGHT>secret</THOUGHT>4", f"{LEFT_OUT}4"),
        ("a<think>secret<think>secret</think>secret</think>b", f"a{LEFT_OUT}b"),
        ("a<think>secret</think>b<think>secret</think>c", f"a{LEFT_OUT}b{LEFT_OUT}c"),
        ("secret</think>It is 4.", f"{LEFT_OUT}It is 4."),
        ("It is <think>secret", f"It is {LEFT_OUT}"),
        ("[THINK]secret[/THINK]4", f"{LEFT_OUT}4"),
        ("◁think▷secret◁/think▷4", f"{LEFT_OUT}4"),
        ("<|begin_of_thought|>secret<|end_of_thought|>4", f"{LEFT_OUT}4"),
        ("<|channel|>analysis<|message|>secret<|end|><|start|>assistant<|channel|>final<|message|>4", f"{LEFT_OUT}4"),
        ("Thought: secret\nsecret\nAction: search[moon]", f"{LEFT_OUT}\nAction: search[moon]"),
        ("**Thought 2:** secret\n\nIt is 4.", f"{LEFT_OUT}\n\nIt is 4."),
        ("Thought: secret\n<solution>4</solution>", f"{LEFT_OUT}\n<solution>4</solution>"),
        ("I think it is 4.", "I think it is 4."),
        ("The reason: rain. My reasoning is short.", "The reason: rain. My reasoning is short."),
        ("<answer>4</answer>", "<answer>4</answer>"),
    ],
)
def test_thinking_is_left_out_and_the_rest_stays(content: str, told: str) -> None:
    assert without_reasoning(content) == told


@given(st.text(alphabet="ab \n", max_size=30), st.text(alphabet="ab \n", max_size=30))
def test_what_stands_in_a_block_never_gets_out(before: str, after: str) -> None:
    assert "secret" not in without_reasoning(f"{before}<think>secret{before}</think>{after}<thinking>\nsecret")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("think", True), ("functions.think", True), ("sequentialthinking", True), ("mcp__sequential_thinking", True),
     ("think_tank_search", False), ("search", False), (None, False)],
)  # fmt: skip
def test_a_tool_to_think_with_is_known(name: str | None, expected: bool) -> None:  # noqa: FBT001 - a table's column
    assert is_thinking_tool(name) is expected


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ('{"thought": "secret", "query": "moon"}', f'{{"thought":"{LEFT_OUT}","query":"moon"}}'),
        ('{"inner_thoughts": ["secret"]}', f'{{"inner_thoughts":"{LEFT_OUT}"}}'),
        ('{"query": "a thought"}', '{"query": "a thought"}'),
        ('["thought"]', '["thought"]'),
        ('{"thought": brok', '{"thought": brok'),
    ],
)
def test_reasoning_among_the_arguments_is_left_out(arguments: str, told: str) -> None:
    assert arguments_without_reasoning(arguments) == told
