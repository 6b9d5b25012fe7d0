"""Over every template: a rollout's stored tokens, masks and text agree."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from pipeline.formats.base import message, tool_call
from pipeline.replay.environment import Observation
from pipeline.rollouts.chat_format import ChatFormat
from pipeline.rollouts.config import Sampling
from pipeline.rollouts.rollout import Task, Tokens, Turn
from pipeline.rollouts.text_protocol import observations_told, tools_told
from pipeline.rollouts.token_dialogue import TokenPolicy
from tests.pipeline.rollouts.chat_tokenizers import NATIVE, TEXT, chat_tokenizer
from tests.pipeline.rollouts.scripted import ScriptedModel

FORMATS = [*((name, "native") for name in NATIVE), *((name, "text") for name in TEXT)]
_BUILT: dict[tuple[str, str], ChatFormat] = {}

TOOL = {
    "type": "function",
    "function": {"name": "look", "description": "Looks <|im_end|> up.", "parameters": {"type": "object"}},
}
THOUGHT = "Let me see."
"""What a model thinks whose turn opens in a think block."""
LOOKALIKES = (
    "<|im_end|>",
    "<|im_start|>system\n",
    "<|eot_id|>",
    "<end_of_turn>",
    "</tool_response>",
    "<tool_call>",
    "</think>",
    "<|im_<|im_end|>end|>",
    "<|endoftext|>",
)
# Noncharacters are what the templates are probed with; that they are replaced has a test of its own.
_LETTERS = st.characters(exclude_characters="\ufdd0\ufdd1\ufdd2", exclude_categories=("Cs",))
FROM_OUTSIDE = st.lists(st.sampled_from(LOOKALIKES) | st.text(_LETTERS, max_size=8), max_size=6).map("".join)
WORDS = st.text("abc é\U0001f600\n.", min_size=1, max_size=20).map(str.strip).filter(bool)
ARGUMENTS = st.dictionaries(
    st.sampled_from(["query", "é"]), st.integers() | st.text('ab"\\ é\n', max_size=6), max_size=2
)


@dataclass
class Round:
    """One turn of a dialogue as the policy means it, and what its calls return."""

    words: str | None
    calls: list[dict[str, Any]]
    returned: list[str]
    is_cut: bool


def rounds(most_calls: int) -> st.SearchStrategy[Round]:
    """A turn with calls."""
    return st.integers(1, most_calls).flatmap(
        lambda num: st.builds(
            Round,
            st.none() | WORDS,
            st.lists(ARGUMENTS, min_size=num, max_size=num),
            st.lists(FROM_OUTSIDE, min_size=num, max_size=num),
            st.booleans(),
        )
    )


def chat_format(name: str, protocol: str) -> ChatFormat:
    """The format, built once."""
    if (name, protocol) not in _BUILT:
        _BUILT[name, protocol] = ChatFormat(chat_tokenizer(name), protocol="native" if protocol == "native" else "text")
    return _BUILT[name, protocol]


def said(one: Round, name: str, protocol: str) -> str:
    """A turn as a model writes it that has learned the protocol."""
    if protocol == "native" and name.startswith("llama"):
        return "; ".join(f'{{"name": "look", "parameters": {_json(call)}}}' for call in one.calls)
    thought = f"{THOUGHT}\n</think>\n\n" if name.endswith("_think") else ""
    return thought + _words_and_calls(one)


def rendered(name: str, protocol: str, asked: list[tuple[str, str]], dialogue: list[Round]) -> str:
    """The whole dialogue as the template renders it, the next turn opened."""
    messages: list[dict[str, Any]] = [{"role": role, "content": text} for role, text in asked]
    if protocol == "text":
        opening = messages.pop(0)["content"] + "\n\n" if messages[0]["role"] == "system" else ""
        if name == "gemma":
            messages[0]["content"] = opening + tools_told([TOOL]) + "\n\n" + messages[0]["content"]
        else:
            messages.insert(0, {"role": "system", "content": opening + tools_told([TOOL])})
    for one in dialogue:
        if protocol == "text":
            thought = {"reasoning_content": THOUGHT} if name.endswith("_think") else {}
            messages.append({"role": "assistant", "content": _words_and_calls(one), **thought})
            messages.append({"role": "user", "content": observations_told(one.returned)})
        else:
            calls = [{"type": "function", "function": {"name": "look", "arguments": call}} for call in one.calls]
            messages.append({"role": "assistant", "content": one.words or "", "tool_calls": calls})
            messages += [{"role": "tool", "name": "look", "content": text} for text in one.returned]
    tools: Any = [TOOL] if protocol == "native" else None
    text = chat_tokenizer(name).apply_chat_template(messages, tools=tools, tokenize=False, add_generation_prompt=True)
    return str(text)


def rolled(
    name: str, protocol: str, asked: list[tuple[str, str]], dialogue: list[Round]
) -> tuple[Tokens, list[Turn], list[list[int]], list[list[int]]]:
    """The same dialogue sampled: its tokens, its turns, what was sampled, and the prompts the model saw."""
    tokenizer, form = chat_tokenizer(name), chat_format(name, protocol)
    end = _end(tokenizer, name)
    sampled = [
        tokenizer.encode(said(one, name, protocol), add_special_tokens=False) + ([] if one.is_cut else [end])
        for one in dialogue
    ]
    model = ScriptedModel(sampled, is_cut=[one.is_cut for one in dialogue])
    dialog = TokenPolicy(model, form).begin(
        Task("t", tuple(message(role, text) for role, text in asked), tools=(TOOL,))
    )
    turns: list[Turn] = []
    for one in dialogue:
        turns.append(asyncio.run(dialog.turn(Sampling(), max_tokens=10**9)))
        calls = turns[-1].tool_calls
        dialog.observe([(call, Observation(text)) for call, text in zip(calls, one.returned, strict=True)])
    assert dialog.tokens is not None
    return dialog.tokens, turns, sampled, model.prompts


@pytest.mark.parametrize(("name", "protocol"), FORMATS)
def test_tokens_masks_and_text_of_a_dialogue_agree(name: str, protocol: str) -> None:
    single = protocol == "native" and name.startswith("llama")

    @settings(max_examples=25, deadline=None)
    @given(FROM_OUTSIDE, st.none() | FROM_OUTSIDE, st.lists(rounds(1 if single else 3), min_size=1, max_size=3))
    def holds(question: str, system: str | None, dialogue: list[Round]) -> None:
        if single:  # which renders no words beside a call
            dialogue = [Round(None, one.calls, one.returned, one.is_cut) for one in dialogue]
        asked = [*([("system", system)] if system is not None else []), ("user", question)]
        tokens, turns, sampled, prompts = rolled(name, protocol, asked, dialogue)
        tokenizer = chat_tokenizer(name)

        # The text is what the template renders.
        assert _spelled(tokenizer, tokens.ids) == rendered(name, protocol, asked, dialogue)

        # The model's tokens are those that were sampled, at the place they were sampled, and no others.
        assert len(tokens.ids) == len(tokens.is_model) == len(tokens.logprobs)
        for place, (prompt, ids) in enumerate(zip(prompts, sampled, strict=True)):
            span = slice(len(prompt), len(prompt) + len(ids))
            assert tokens.ids[: len(prompt)] == prompt
            assert tokens.ids[span] == ids
            assert tokens.logprobs[span] == [-1.0 - place - n / 1000 for n in range(len(ids))]
            assert tokens.is_model[span] == b"\x01" * len(ids)
        assert sum(tokens.is_model) == sum(map(len, sampled))
        assert all(each == 0.0 for each, is_model in zip(tokens.logprobs, tokens.is_model, strict=True) if not is_model)

        # Nothing from outside became a token of the template: harmless words would have left the same ones.
        bland = [Round(one.words, one.calls, ["x"] * len(one.returned), one.is_cut) for one in dialogue]
        harmless, *_ = rolled(name, protocol, [(role, "x") for role, _ in asked], bland)
        assert _added(tokenizer, tokens) == _added(tokenizer, harmless)

        # What is read back is what was said.
        assert [turn.content for turn in turns] == [one.words for one in dialogue]
        assert [[call["name"] for call in turn.tool_calls] for turn in turns] == [
            ["look"] * len(one.calls) for one in dialogue
        ]
        assert [[call["arguments"] for call in turn.tool_calls] for turn in turns] == [
            [_json(call) for call in one.calls] for one in dialogue
        ]
        thought = THOUGHT if name.endswith("_think") else None
        assert [turn.reasoning for turn in turns] == [thought] * len(turns)
        assert [turn.is_cut for turn in turns] == [one.is_cut for one in dialogue]
        assert [turn.num_tokens for turn in turns] == [len(ids) for ids in sampled]

    holds()


@pytest.mark.parametrize(("name", "protocol"), FORMATS)
def test_whatever_tokens_are_sampled_a_dialogue_only_grows_by_them(name: str, protocol: str) -> None:
    tokenizer, form = chat_tokenizer(name), chat_format(name, protocol)
    call = tool_call("look", "{}")
    any_id = st.integers(0, len(tokenizer) - 1) | st.sampled_from(sorted(tokenizer.added_tokens_decoder))

    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.tuples(st.lists(any_id, max_size=12), FROM_OUTSIDE), max_size=4), st.booleans())
    def holds(script: list[tuple[list[int], str]], is_cut: bool) -> None:  # noqa: FBT001 - drawn
        model = ScriptedModel([ids for ids, _ in script], is_cut=[is_cut] * len(script))
        task = Task("t", (message("user", "Well?"),), tools=(TOOL,))
        dialogue = TokenPolicy(model, form).begin(task)
        expected, marks = form.begin(task), bytearray()
        marks += bytes(len(expected))
        for ids, returned in script:
            turn = asyncio.run(dialogue.turn(Sampling(), max_tokens=10**9))
            assert (turn.is_cut, turn.num_tokens) == (is_cut, len(ids))
            observation = Observation(returned)
            dialogue.observe([(call, observation)])
            ends_itself = bool(ids) and ids[-1] in form.stop_ids
            written = form.observed([(call, observation)], is_closed=ends_itself)
            expected += ids + written
            marks += b"\x01" * len(ids) + bytes(len(written))
        assert dialogue.tokens is not None
        assert dialogue.tokens.ids == expected
        assert dialogue.tokens.is_model == marks
        assert len(dialogue.tokens.logprobs) == len(expected)

    holds()


def _words_and_calls(one: Round) -> str:
    """A turn in Hermes' tags."""
    calls = [f'<tool_call>\n{{"name": "look", "arguments": {_json(call)}}}\n</tool_call>' for call in one.calls]
    return "\n".join([*([one.words] if one.words else []), *calls])


def _end(tokenizer: PreTrainedTokenizerFast, name: str) -> int:
    """The token with which the template's model ends a turn."""
    end = "<|eot_id|>" if name.startswith("llama") else "<end_of_turn>" if name == "gemma" else "<|im_end|>"
    return tokenizer.get_vocab()[end]


def _spelled(tokenizer: PreTrainedTokenizerFast, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))


def _added(tokenizer: PreTrainedTokenizerFast, tokens: Tokens) -> list[int]:
    """The added tokens that the model did not sample, in order."""
    added = tokenizer.added_tokens_decoder
    return [each for each, is_model in zip(tokens.ids, tokens.is_model, strict=True) if not is_model and each in added]


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)
