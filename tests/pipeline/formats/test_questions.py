"""Question lists with answers: the prompt, the bare answer, and what must not be taken for one."""

from typing import Any

import pytest

from pipeline.formats.base import message
from pipeline.formats.questions import QUESTIONS, last_boxed
from pipeline.formats.registry import detect


@pytest.mark.parametrize(
    ("record", "truth", "left"),
    [
        ({"question": "q", "answer": "3 + 4 = <<3+4=7>>7\n#### 1,007"}, "1,007", {"answer"}),
        ({"problem": "q", "solution": r"so $\boxed{\frac{1}{2}}$."}, r"\frac{1}{2}", {"solution"}),
        ({"problem": "q", "solution": r"so $\boxed{2}$.", "answer": "2"}, "2", {"solution"}),
        ({"problem": "q", "solution": "it is two"}, "it is two", set()),
        ({"question": "q", "answer": "lung cancer", "pred_anses": ["x"]}, "lung cancer", {"pred_anses"}),
        ({"question": "q", "answer": 7}, "7", set()),
        ({"question": "q", "answer": True}, "true", set()),
        ({"question": "q", "golden_answers": ["a"]}, "a", set()),
        ({"question": "q", "answer": ["a", "b"]}, '["a","b"]', set()),
        ({"query": "q", "target": "t"}, "t", set()),
        ({"instruction": "q", "ground_truth": "t"}, "t", set()),
        ({"prompt": "q", "final_answer": "t"}, "t", set()),
    ],
)
def test_a_question_becomes_a_prompt_with_its_bare_answer(record: dict[str, Any], truth: str, left: set[str]) -> None:
    known = detect(record)
    assert known is QUESTIONS
    parsed = QUESTIONS.parse(record)
    assert parsed.messages == [message("user", "q")]
    assert (parsed.prompt, parsed.ground_truth, parsed.is_trace) == ("q", truth, False)
    assert set(parsed.metadata) == left


@pytest.mark.parametrize(
    ("choices", "answer", "prompt", "truth"),
    [
        (["red", "blue"], 1, "q\nA. red\nB. blue", "B"),
        (["red", "blue"], "B", "q\nA. red\nB. blue", "B"),
        ({"text": ["red", "blue"], "label": ["1", "2"]}, "2", "q\n1. red\n2. blue", "2"),
        ({"A": "red", "B": "blue"}, "A", "q\nA. red\nB. blue", "A"),
    ],
)
def test_choices_are_lettered_in_the_prompt(choices: Any, answer: Any, prompt: str, truth: str) -> None:
    parsed = QUESTIONS.parse({"question": "q", "choices": choices, "answer": answer})
    assert (parsed.prompt, parsed.ground_truth, parsed.metadata) == (prompt, truth, {})


@pytest.mark.parametrize(
    ("text", "boxed"),
    [
        (r"\boxed{2}", "2"),
        (r"first \boxed{1} then \boxed{\sqrt{3}}", r"\sqrt{3}"),
        (r"\fbox{x}", "x"),
        (r"$\boxed 5$ apples", "5"),
        (r"\boxed{never closed", None),
        (r"\boxed{}", None),
        ("none", None),
    ],
)
def test_the_last_box_is_found(text: str, boxed: str | None) -> None:
    assert last_boxed(text) == boxed


@pytest.mark.parametrize(
    "record",
    [
        {"question": "q"},
        {"question": "", "answer": "a"},
        {"question": ["q"], "answer": "a"},
        {"question": "q", "answer": ""},
        {"question": "q", "answer": {"value": "a"}},
        {"question": "q", "answer": [{"value": "a"}]},
        {"question": "q", "answer": "a", "steps": []},
        {"instruction": "i", "input": "x", "output": "y"},
        {"query": "q", "answer": "a", "messages": "broken"},
    ],
)
def test_no_question_is_made_of_an_attempt_or_of_half_a_pair(record: dict[str, Any]) -> None:
    assert not QUESTIONS.detects(record)
