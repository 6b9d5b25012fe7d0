"""What counts as the stated answer of a text, and that no text takes long."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.answers.extract import extract_answer, marked_answer

CASES: list[tuple[str, str | None]] = [
    # boxed
    ("So it is $\\boxed{3}$ bolts.", "3"),
    ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
    ("first \\boxed{1}.\n\nthen \\boxed{2}.", "2"),
    ("sold \\(\\boxed{137}\\) student and \\(\\boxed{388}\\) general tickets", "137, 388"),
    ("It is \\boxed{5}. Wait, it is \\boxed{6}", "6"),
    ("\\boxed{7} so the answer is \\boxed{7}", "7"),
    ("\\boxed {9}", "9"),
    ("\\fbox{8}", "8"),
    ("\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"),
    ("\\boxed{4} and cut off: \\boxed{\\frac{1}", "4"),
    # tags
    ("<think>maybe 4</think><answer> Elijah Wood </answer>", "Elijah Wood"),
    ("The answer is <solution> 32 </solution>.", "32"),
    ("<answer>one</answer> no, <answer>two</answer>", "two"),
    ("<answer>The answer is \\boxed{5}</answer>", "5"),
    ("<ANSWER>x</ANSWER>", "x"),
    ("<answer>cut off", "cut off"),
    ("<solution>\ndef f(x):\n    return x\n</solution>", "def f(x):\n    return x"),
    # hashes
    ("16 - 3 = 13\n#### 13", "13"),
    ("#### 1,234", "1,234"),
    ("#### Paris", "Paris"),
    ("#### Step one:\nWe add the numbers and look at what comes out of it, which is long text.", None),
    # finish
    ("Thought: done.\nAction: finish[Gadwall]", "Gadwall"),
    ("Action 3: Finish[a [b] c]", "a [b] c"),
    # phrases
    ("Let me see. The answer is 42.", "42"),
    ("The final answer is: **Paris**.", "Paris"),
    ("Therefore, the answer is $x = 3$.", "x = 3"),
    ("Answer: B", "B"),
    ("reasoning\n**Answer:** Paris", "Paris"),
    ("**Final Answer**\n\n42", "42"),
    ("### Final Answer:\nThe Eiffel Tower", "The Eiffel Tower"),
    ("The answer is 3.5 dollars. Thanks for the question.", "3.5 dollars"),
    ("The answer is J. R. R. Tolkien. He wrote it.", "J. R. R. Tolkien"),
    ("The answer is 1. No, the answer is 2.", "2"),
    ("The correct answer is (C).", "(C)"),
    ("The answer: yes", "yes"),
    ("After all of this thinking about the problem, my final answer is forty two", "forty two"),
    # bold
    (
        "We looked at every city there is in the whole country.\n\nIt must be **Lyon**, as far as one can tell today.",
        "Lyon",
    ),
    ("We looked at **Paris** and **Lyon** and several more of the cities there are in France today.", None),
    # short texts, and nothing
    ("Paris", "Paris"),
    ("**42**", "42"),
    ("It is 384400 km away.", "It is 384400 km away"),
    ("<think>long thought about many things</think>\nParis", "Paris"),
    ("one two three four five six seven eight nine ten eleven twelve thirteen", None),
    ("", None),
    ("   ", None),
    ("The answer is", "The answer is"),
    ("\\boxed{}", "\\boxed{}"),
]


@pytest.mark.parametrize(("text", "answer"), CASES)
def test_the_stated_answer_is_found(text: str, answer: str | None) -> None:
    assert extract_answer(text) == answer


def test_no_text_states_no_answer() -> None:
    assert extract_answer(None) is None


def test_only_unmistakable_marks_count_for_a_ground_truth() -> None:
    assert marked_answer("5 + 3 = 8\n#### 8") == "8"
    assert marked_answer("The answer is 8") is None


@pytest.mark.parametrize(
    "unit",
    [
        "\\boxed{", "<answer>", "<solution>x", "#### ", "finish[", "the answer is ", "answer:", "answer \n",
        "the final ",
        "**", "** **", " ", "\n", "(", "answer (", "Answer**", "{", "}", "\\boxed{1} ", "</think>", "J. ", "\t \n",
    ],
)  # fmt: skip
def test_fifty_megabytes_of_anything_take_a_moment(unit: str) -> None:
    text = unit * (50_000_000 // len(unit))
    start = time.monotonic()
    extract_answer(text)
    extract_answer(text + " 42")
    assert time.monotonic() - start < 1


PIECES = st.sampled_from([*"abc {}[]<>/\\\n*#$.:1", "\\boxed{", "<answer>", "answer is ", "#### ", "finish["])


@given(st.lists(PIECES, max_size=40).map("".join))
def test_an_answer_is_never_blank(text: str) -> None:
    answer = extract_answer(text)
    assert answer is None or answer == answer.strip() != ""
