"""A dialogue keeps to its limits and to what its model said."""

import asyncio

import pytest

from pipeline.errors import PolicyRequestError
from pipeline.formats.base import message, tool_call
from pipeline.replay.environment import Observation
from pipeline.rollouts.chat_format import ChatFormat
from pipeline.rollouts.config import Sampling
from pipeline.rollouts.rollout import Completion, Task, Turn
from pipeline.rollouts.token_dialogue import TokenPolicy
from tests.pipeline.rollouts.chat_tokenizers import chat_tokenizer
from tests.pipeline.rollouts.scripted import ScriptedModel

TASK = Task("t", (message("user", "Well?"),))


@pytest.mark.parametrize(("left", "most", "asked"), [(1, 512, 1), (511, 512, 511), (512, 512, 512), (513, 512, 512)])
def test_a_turn_may_be_as_long_as_what_is_left_and_as_one_turn_may_be(left: int, most: int, asked: int) -> None:
    model = ScriptedModel([[5]])
    dialogue = TokenPolicy(model, ChatFormat(chat_tokenizer("qwen3"))).begin(TASK)
    assert dialogue.tokens is not None
    limit = len(dialogue.tokens) + left
    asyncio.run(dialogue.turn(Sampling(max_new_tokens=most), max_tokens=limit))
    assert model.max_new_tokens == [asked]


@pytest.mark.parametrize("left", [0, -1])
def test_a_dialogue_at_its_limit_gives_a_cut_turn_and_asks_nothing(left: int) -> None:
    model = ScriptedModel([])
    dialogue = TokenPolicy(model, ChatFormat(chat_tokenizer("qwen3"))).begin(TASK)
    assert dialogue.tokens is not None
    length = len(dialogue.tokens)
    assert asyncio.run(dialogue.turn(Sampling(), max_tokens=length + left)) == Turn(content=None, is_cut=True)
    assert (model.prompts, len(dialogue.tokens)) == ([], length)


def test_a_cut_turn_is_closed_by_the_template_before_what_follows() -> None:
    tokenizer = chat_tokenizer("qwen3")
    said = tokenizer.encode("Four.", add_special_tokens=False)
    dialogue = TokenPolicy(ScriptedModel([said], is_cut=[True]), ChatFormat(tokenizer)).begin(TASK)
    asyncio.run(dialogue.turn(Sampling(), max_tokens=10_000))
    dialogue.observe([(tool_call("look", "{}"), Observation("x"))])
    assert dialogue.tokens is not None
    after = dialogue.tokens.ids[bytes(dialogue.tokens.is_model).rindex(b"\x01") + 1 :]
    assert str(tokenizer.decode(after)).startswith("<|im_end|>\n<|im_start|>user\n<tool_response>\nx\n")


def test_a_reply_without_a_log_probability_for_each_token_ends_the_rollout() -> None:
    class Torn(ScriptedModel):
        async def sample(self, prompt_ids: list[int], sampling: Sampling, *, max_new_tokens: int) -> Completion:
            return Completion((5, 6), (-1.0,), is_cut=False)

    dialogue = TokenPolicy(Torn([]), ChatFormat(chat_tokenizer("qwen3"))).begin(TASK)
    with pytest.raises(PolicyRequestError, match="scripted: want a log-probability for each of 2 tokens, found 1"):
        asyncio.run(dialogue.turn(Sampling(), max_tokens=10_000))


def test_a_policy_is_known_by_its_weights_and_its_protocol_and_closes_its_model() -> None:
    class Closing(ScriptedModel):
        is_closed = False

        async def close(self) -> None:
            self.is_closed = True

    chat_format = ChatFormat(chat_tokenizer("qwen3"))
    model = Closing([])
    policy = TokenPolicy(model, chat_format)
    assert policy.identity == f"scripted {chat_format.identity}"
    asyncio.run(policy.close())
    assert model.is_closed
    asyncio.run(TokenPolicy(ScriptedModel([]), chat_format).close())
