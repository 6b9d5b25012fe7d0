"""The score of a reply: worked by hand where it is whole, refused where it is not."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import JudgeReplyError
from pipeline.judging.replies import Constrain, score_of
from tests.fake_completions import MASKED, completion

TEXT = "a sentence from a trace"


def position(masses: dict[str, float], token: str | None = None) -> dict[str, Any]:
    """A position that emitted `token`, or the likeliest one."""
    told = token or max(masses, key=lambda each: masses[each])
    top = [{"token": each, "logprob": math.log(mass) if mass else MASKED} for each, mass in masses.items()]
    return {"token": told, "logprob": math.log(masses[told]) if told in masses else MASKED, "top_logprobs": top}


def reply(content: str | None, *positions: dict[str, Any], finish_reason: str | None = "stop") -> dict[str, Any]:
    """A chat completion."""
    choice = {"message": {"content": content}, "logprobs": {"content": list(positions)}, "finish_reason": finish_reason}
    return {"choices": [choice]}


END = position({"<|im_end|>": 1.0})


@pytest.mark.parametrize(
    ("constrain", "told", "wanted"),
    [
        ("choice", reply("yes", position({"yes": 0.6, "no": 0.4})), 0.6),
        # as vLLM 0.31 gave it for SmolLM2: a label's mass splits over the tokens that begin it
        ("choice", reply("yes", position({"yes": 0.5, "y": 0.2, "ye": 0.1, "no": 0.15, "n": 0.05}), END), 0.8),
        ("choice", reply("no", position({"no": 0.3, "n": 0.2, "y": 0.25, "ye": 0.25}), END), 0.5),
        ("choice", reply("yes", position({"y": 0.4, "no": 0.35, "n": 0.25}), position({"es": 1.0}), END), 0.4),
        ("choice", reply("Yes", position({" Yes": 0.3, "YES": 0.3, " no": 0.4}, " Yes")), 0.6),
        ("choice", reply(" yes\n", position({" ": 1.0}), position({"yes": 0.9, "no": 0.1}), END), 0.9),
        ("choice", reply("no", position({"no": 1.0, "yes": 0.0})), 0.0),
        ("choice", reply("yes", position({"yes": 0.7, "no": 0.3}), finish_reason="length"), 0.7),
        # the emitted token is not among the listed ones
        ("choice", reply("no", {"token": "no", "logprob": math.log(0.2),
                                "top_logprobs": [{"token": "yes", "logprob": math.log(0.6)}]}), 0.75),
        ("none", reply("Yes, it is.", position({"Yes": 0.3, "No": 0.1, "The": 0.25}), position({",": 1.0})), 0.75),
        ("none", reply("**No**", position({"**": 0.9, "yes": 0.1}), position({"No": 0.8, "Yes": 0.2})), 0.2),
        ("none", reply("No.", position({"No": 0.3, "Not": 0.3, "Nobody": 0.3, "Yes": 0.1})), 0.25),
        ("json_schema", reply('{"answer": "yes"}', position({'{"': 1.0}), position({"answer": 1.0}),
                              position({'":': 1.0}), position({' "': 1.0}),
                              position({"yes": 0.5, "y": 0.25, "no": 0.25}), position({'"}': 1.0})), 0.75),
        ("json_schema", reply('{\n\n"answer"\n\n: "no"\n\n}', position({"{": 1.0}), position({"\n\n": 1.0}),
                              position({'"answer"': 1.0}), position({"\n\n": 1.0}), position({":": 1.0}),
                              position({' "no': 0.6, ' "yes': 0.3, ' "n': 0.1}), position({'"\n\n}': 1.0})), 0.3),
    ],
)  # fmt: skip
def test_the_score_is_the_mass_of_yes_at_the_position_that_decides(
    constrain: Constrain, told: dict[str, Any], wanted: float
) -> None:
    assert score_of(told, constrain=constrain, logprobs=True) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize(
    ("constrain", "content", "wanted"),
    [
        ("choice", "yes", 1.0),
        ("choice", " No ", 0.0),
        ("none", "No, never.", 0.0),
        ("json_schema", '{"answer":"YES"}', 1.0),
    ],
)
def test_without_logprobs_a_yes_is_one_and_a_no_is_zero(constrain: Constrain, content: str, wanted: float) -> None:
    told = reply(content)
    told["choices"][0]["logprobs"] = None
    assert score_of(told, constrain=constrain, logprobs=False) == wanted


WHOLE = position({"yes": 0.6, "no": 0.4})


def logprob(value: Any) -> dict[str, Any]:
    """A position one of whose alternatives has this logprob."""
    return {"token": "yes", "logprob": -0.1, "top_logprobs": [{"token": "yes", "logprob": value}]}


@pytest.mark.parametrize(
    ("constrain", "told", "cause"),
    [
        ("choice", None, "no chat completion"),
        ("choice", ["yes"], "no chat completion"),
        ("choice", {"error": TEXT}, "no chat completion"),
        ("choice", {"choices": []}, "no choices"),
        ("choice", {"choices": [TEXT]}, "no choices"),
        ("choice", {"choices": [{"message": None}]}, "no content"),
        ("choice", reply(None, WHOLE), "no content"),
        ("choice", reply("  ", WHOLE), "no content"),
        ("choice", reply("perhaps", WHOLE), "neither yes nor no"),
        ("choice", reply("yes, " + TEXT, WHOLE), "neither yes nor no"),
        ("choice", reply("yesno", WHOLE), "neither yes nor no"),
        ("choice", reply("y", position({"y": 0.6, "no": 0.4}), finish_reason="length"), "cut reply"),
        ("choice", reply("yes", WHOLE, finish_reason="abort"), "gave up"),
        ("choice", reply("yes", WHOLE, finish_reason=None), "gave up"),
        ("choice", reply("yes"), "no logprobs"),
        ("choice", reply("yes", position({"no": 0.6, "yes": 0.4})), "other tokens"),
        ("choice", reply("yes", position({"maybe": 1.0})), "other tokens"),
        ("choice", reply("yes", {"token": None}), "other tokens"),
        ("choice", reply("yes", position({" ": 1.0})), "other tokens"),
        ("choice", reply("yes", logprob(float("nan"))), "no logarithm"),
        ("choice", reply("yes", logprob(0.5)), "no logarithm"),
        ("choice", reply("yes", logprob(None)), "no logarithm"),
        ("choice", reply("yes", logprob("-1")), "no logarithm"),
        ("choice", reply("yes", {"token": "yes", "logprob": MASKED, "top_logprobs": []}), "probability of 0"),
        ("none", reply("The answer is yes", WHOLE), "neither yes nor no"),
        ("none", reply("Nobody", position({"No": 0.6, "Yes": 0.4}), position({"body": 1.0})), "neither yes nor no"),
        ("none", reply("yes or no", WHOLE), "neither yes nor no"),
        ("none", reply("Yes/No", WHOLE), "neither yes nor no"),
        ("json_schema", reply("yes", WHOLE), "neither yes nor no"),
        ("json_schema", reply('{"answer": "perhaps"}', WHOLE), "neither yes nor no"),
        ("json_schema", reply('{"answer": true}', WHOLE), "neither yes nor no"),
        ("json_schema", reply('{"answer": "yes", "answer": "no"}', WHOLE), "neither yes nor no"),
        ("json_schema", reply('{"answer": "yes"}}', WHOLE), "neither yes nor no"),
        ("json_schema", reply('{"answer": "ye', WHOLE, finish_reason="length"), "cut reply"),
    ],
)  # fmt: skip
def test_what_is_no_whole_reply_is_refused_without_a_word_of_it(constrain: Constrain, told: Any, cause: str) -> None:
    with pytest.raises(JudgeReplyError, match=cause) as caught:
        score_of(told, constrain=constrain, logprobs=True)
    assert TEXT not in str(caught.value)


@pytest.mark.parametrize(
    "request_body",
    [{"structured_outputs": {}}, {}, {"response_format": {"json_schema": {"schema": {"properties": {"answer": {}}}}}}],
)
@given(probability=st.floats(0.0, 1.0))
def test_any_probability_comes_back_from_every_way_of_asking(request_body: dict[str, Any], probability: float) -> None:
    constrain: Constrain = "choice" if "structured_outputs" in request_body else "none"
    constrain = "json_schema" if "response_format" in request_body else constrain
    told = completion({**request_body, "logprobs": True}, probability)
    assert score_of(told, constrain=constrain, logprobs=True) == pytest.approx(probability, abs=1e-9)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["choices", "message", "content", "logprobs", "token", "top_logprobs", "logprob"]),
                inner,
            )
        ),
        max_leaves=20,
    )
)
def test_whatever_a_server_sends_is_a_score_or_a_refusal(told: Any) -> None:
    try:
        score = score_of(told, constrain="choice", logprobs=True)
    except JudgeReplyError:
        return
    assert 0 <= score <= 1
