"""Tokens of the model in process are those of the library's own generation, and its log-probabilities true."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, Qwen3Config, Qwen3ForCausalLM

from pipeline.errors import PolicyRequestError
from pipeline.rollouts.config import Sampling
from pipeline.rollouts.rollout import Completion
from training.sampling.drawing import draw, uniforms
from training.sampling.torch_model import TorchModel

POSITIONS, VOCABULARY = 256, 640
PLAIN, GREEDY = Sampling(), Sampling(temperature=0)


@pytest.fixture(scope="module")
def model() -> Qwen3ForCausalLM:
    torch.manual_seed(0)
    return Qwen3ForCausalLM(
        Qwen3Config(
            hidden_size=128,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=32,
            intermediate_size=384,
            vocab_size=VOCABULARY,
            max_position_embeddings=POSITIONS,
            tie_word_embeddings=True,
            initializer_range=0.2,  # as sharp as a model that learned something
            dtype="float32",
        )
    ).eval()


def torch_model(model: PreTrainedModel, *, stops: Sequence[int] = (), **others: Any) -> TorchModel:
    return TorchModel(model, identity="fresh", pad_id=0, stop_ids=frozenset(stops), **others)


def prompts(num: int, *, seed: int = 0, longest: int = 40) -> list[list[int]]:
    """Of mixed lengths, each third like the one before it."""
    draws = random.Random(seed)
    made = [[draws.randrange(1, VOCABULARY) for _ in range(draws.randrange(1, longest))] for _ in range(num)]
    return [made[index - 1] if index % 3 == 2 else each for index, each in enumerate(made)]


def sample(
    sampler: TorchModel, asked: Sequence[list[int]], sampling: Sampling = PLAIN, *, new: int | Sequence[int] = 12
) -> list[Completion]:
    """All at once, in order."""
    limits = [new] * len(asked) if isinstance(new, int) else new

    async def wave() -> list[Completion]:
        each = zip(asked, limits, strict=True)
        return await asyncio.gather(*(sampler.sample(ids, sampling, max_new_tokens=limit) for ids, limit in each))

    return asyncio.run(wave())


def generated(model: PreTrainedModel, prompt: list[int], new: int) -> tuple[int, ...]:
    """What the library continues greedily, alone in its batch."""
    ids = torch.tensor([prompt])
    out: Any = model.generate(  # pyright: ignore[reportCallIssue]
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, do_sample=False, pad_token_id=0, eos_token_id=None
    )
    return tuple(out[0, len(prompt) :].tolist())


def forced(model: PreTrainedModel, prompt: list[int], tokens: Sequence[int]) -> torch.Tensor:
    """Log-probabilities float32 [T] of `tokens` after `prompt`, by one plain forward pass."""
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *tokens]]), use_cache=False).logits[0]
    after = logits[len(prompt) - 1 : -1].log_softmax(-1)
    return after.gather(1, torch.tensor([tokens]).T)[:, 0]


@pytest.mark.parametrize("read_tokens", [1, 64, 2048])
@pytest.mark.parametrize("max_batch", [1, 5, 64])
def test_greedily_it_says_what_the_library_says(model: Qwen3ForCausalLM, max_batch: int, read_tokens: int) -> None:
    asked = prompts(12)
    limits = [1 + index * 3 % 14 for index in range(12)]
    found = sample(torch_model(model, max_batch=max_batch, read_tokens=read_tokens), asked, GREEDY, new=limits)
    wanted = [generated(model, prompt, limit) for prompt, limit in zip(asked, limits, strict=True)]
    assert [each.token_ids for each in found] == wanted
    assert len({token for each in wanted for token in each}) > 20


@pytest.mark.parametrize("heads_a_key", [1, 3])
def test_a_llama_is_continued_alike(heads_a_key: int) -> None:
    torch.manual_seed(1)
    config = LlamaConfig(
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=3,
        num_key_value_heads=3 // heads_a_key,
        intermediate_size=96,
        vocab_size=VOCABULARY,
        initializer_range=0.3,
    )
    llama = LlamaForCausalLM(config).eval()
    asked = prompts(6)
    found = sample(torch_model(llama), asked, GREEDY)
    assert [each.token_ids for each in found] == [generated(llama, prompt, 12) for prompt in asked]


def test_batches_do_not_change_what_is_said_greedily(model: Qwen3ForCausalLM) -> None:
    asked = prompts(30, seed=1)
    sampler = torch_model(model)
    together = sample(sampler, asked, GREEDY)
    alone = [sample(sampler, [prompt], GREEDY)[0] for prompt in asked]
    assert [each.token_ids for each in together] == [each.token_ids for each in alone]


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=0.5), Sampling(top_p=0.7), GREEDY])
def test_logprobs_are_those_of_a_plain_forward_pass_at_temperature_1(
    model: Qwen3ForCausalLM, sampling: Sampling
) -> None:
    asked = prompts(20, seed=2)
    found = sample(torch_model(model, max_batch=7), asked, sampling, new=[5 + index for index in range(20)])
    for prompt, completion in zip(asked, found, strict=True):
        assert len(completion.logprobs) == len(completion.token_ids)
        wanted = forced(model, prompt, completion.token_ids)
        torch.testing.assert_close(torch.tensor(completion.logprobs), wanted, atol=1e-4, rtol=0)


def test_a_dialogue_that_joins_a_running_batch_is_read_rightly(model: Qwen3ForCausalLM) -> None:
    asked = prompts(8, seed=3)
    sampler = torch_model(model)

    async def dialogue(prompt: list[int], turns: int) -> list[tuple[list[int], Completion]]:
        turned: list[tuple[list[int], Completion]] = []
        ids = list(prompt)
        for turn in range(turns):
            completion = await sampler.sample(ids, Sampling(), max_new_tokens=4 + 5 * turn)
            turned.append((list(ids), completion))
            ids += [*completion.token_ids, 9, 9]
        return turned

    async def all_of_them() -> list[list[tuple[list[int], Completion]]]:
        return await asyncio.gather(*(dialogue(prompt, 1 + index % 4) for index, prompt in enumerate(asked)))

    for turned in asyncio.run(all_of_them()):
        for ids, completion in turned:
            wanted = forced(model, ids, completion.token_ids)
            torch.testing.assert_close(torch.tensor(completion.logprobs), wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(temperature=0.6),
        Sampling(temperature=2),
        Sampling(top_p=0.6),
        Sampling(temperature=0.7, top_p=0.8),
    ],
)
def test_tokens_come_as_often_as_they_should(model: Qwen3ForCausalLM, sampling: Sampling) -> None:
    prompt, num = [3, 1, 4, 1, 5], 6000
    sampler = torch_model(model, seed=5, max_batch=1000)
    found = sample(sampler, [prompt] * num, sampling, new=1)
    with torch.no_grad():
        logits = model(torch.tensor([prompt])).logits[0, -1].double()
    wanted = in_nucleus((logits / sampling.temperature).softmax(-1).numpy(), sampling.top_p)
    counts = np.bincount([each.token_ids[0] for each in found], minlength=VOCABULARY)
    assert counts[wanted == 0].sum() == 0
    is_common = wanted * num >= 5
    observed = np.append(counts[is_common], counts[~is_common].sum())
    expected = np.append(wanted[is_common], wanted[~is_common].sum()) * num
    seen = expected > 0
    assert seen.sum() > 3
    assert chisquare(observed[seen], expected[seen]).pvalue > 1e-3


def in_nucleus(shares: np.ndarray, top_p: float) -> np.ndarray:
    """The likeliest tokens until their share is reached, made to sum to 1."""
    kept, total = np.zeros_like(shares), 0.0
    for token in np.argsort(-shares):
        if total >= top_p:
            break
        kept[token] = shares[token]
        total += shares[token]
    return kept / kept.sum()


def test_each_row_is_drawn_as_its_own_request_says() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.2]])).repeat(5, 1)
    uniform = torch.tensor([0.99, 0.99, 0.99, 0.6, 0.0], dtype=torch.float64)
    tokens, logprobs = draw(logits, uniform, [1, 0, 1, 0.01, 1], [1, 1, 0.6, 1, 0.1])
    # all; the likeliest; 0.5 and 0.3 make 0.8 >= 0.6; as cold as greedy; only the likeliest is left
    assert tokens.tolist() == [2, 0, 1, 0, 0]
    torch.testing.assert_close(logprobs.exp(), torch.tensor([0.2, 0.5, 0.3, 0.5, 0.5]))


def test_a_token_that_cannot_be_is_never_drawn() -> None:
    logits = torch.tensor([[-torch.inf, 0, -torch.inf, 0, -torch.inf]]).repeat(3, 1)
    uniform = torch.tensor([0, 0.5, 1 - 2**-52], dtype=torch.float64)
    assert draw(logits, uniform, [1, 1, 1], [1, 1, 1])[0].tolist() == [1, 3, 3]


def test_streams_are_even_and_apart() -> None:
    seeds = np.arange(200, dtype=np.uint64).repeat(200)
    found = uniforms(seeds, np.tile(np.arange(200, dtype=np.uint64), 200))
    assert 0 <= found.min() <= found.max() < 1
    counts = np.histogram(found, bins=50, range=(0, 1))[0]
    assert chisquare(counts).pvalue > 1e-3
    grid = found.reshape(200, 200)
    assert abs(np.corrcoef(grid[:-1].ravel(), grid[1:].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(grid[:, :-1].ravel(), grid[:, 1:].ravel())[0, 1]) < 0.02


def test_a_stop_token_ends_a_row_and_belongs_to_it(model: Qwen3ForCausalLM) -> None:
    prompt = prompts(1, seed=4)[0]
    whole = generated(model, prompt, 12)
    stop = whole[5]
    (found,) = sample(torch_model(model, stops=[stop]), [prompt], GREEDY)
    assert found.token_ids == whole[: whole.index(stop) + 1]
    assert not found.is_cut


@pytest.mark.parametrize(("new", "is_cut"), [(5, True), (6, False), (7, False)])
def test_only_what_has_not_ended_itself_is_cut(model: Qwen3ForCausalLM, new: int, *, is_cut: bool) -> None:
    prompt = prompts(1, seed=4)[0]
    stop = generated(model, prompt, 6)[5]
    assert stop not in generated(model, prompt, 5)
    (found,) = sample(torch_model(model, stops=[stop]), [prompt], GREEDY, new=new)
    assert (found.is_cut, len(found.token_ids)) == (is_cut, min(new, 6))


def test_the_same_seed_and_order_give_the_same(model: Qwen3ForCausalLM) -> None:
    asked = prompts(20, seed=5)
    first, again, other = (sample(torch_model(model, seed=seed), asked) for seed in (1, 1, 2))
    assert first == again
    assert [each.token_ids for each in first] != [each.token_ids for each in other]
    smaller = sample(torch_model(model, seed=1, max_batch=3, read_tokens=50), asked)
    assert [each.token_ids for each in smaller] == [each.token_ids for each in first]


def test_equal_prompts_get_draws_of_their_own(model: Qwen3ForCausalLM) -> None:
    found = sample(torch_model(model), [[1, 2, 3]] * 16)
    assert len({each.token_ids for each in found}) == 16


def test_it_goes_on_from_a_saved_state(model: Qwen3ForCausalLM) -> None:
    asked = prompts(10, seed=6)
    sampler = torch_model(model, seed=3)
    sample(sampler, asked)
    state = sampler.state_dict()
    wanted = sample(sampler, asked)
    resumed = torch_model(model, seed=99)
    resumed.load_state_dict(state)
    assert sample(resumed, asked) == wanted
    assert wanted != sample(sampler, asked)


@pytest.mark.parametrize(
    ("prompt", "new", "complaint"),
    [
        ([1] * POSITIONS, 1, "want 1 to 255 tokens, one of the model's 256 positions being for the answer, found 256"),
        ([], 1, "want 1 to 255 tokens, one of the model's 256 positions being for the answer, found 0"),
        ([1, VOCABULARY], 1, "want tokens 0 to 639, found 1 to 640"),
        ([-1, 1], 1, "want tokens 0 to 639, found -1 to 1"),
        ([1], 0, "max_new_tokens: want at least 1, found 0"),
    ],
)
def test_what_cannot_be_read_is_refused_and_the_others_go_on(
    model: Qwen3ForCausalLM, prompt: list[int], new: int, complaint: str
) -> None:
    sampler = torch_model(model)

    async def both() -> Sequence[Completion | BaseException]:
        refused = sampler.sample(prompt, GREEDY, max_new_tokens=new)
        return await asyncio.gather(sampler.sample([1, 2], GREEDY, max_new_tokens=3), refused, return_exceptions=True)

    good, bad = asyncio.run(both())
    assert isinstance(good, Completion)
    assert good.token_ids == generated(model, [1, 2], 3)
    assert isinstance(bad, PolicyRequestError)
    assert complaint in str(bad)


def test_a_generation_ends_at_the_last_position(model: Qwen3ForCausalLM) -> None:
    (found,) = sample(torch_model(model), [[1] * (POSITIONS - 3)], GREEDY, new=100)
    assert (len(found.token_ids), found.is_cut) == (3, True)


def test_who_gives_up_leaves_the_others_alone(model: Qwen3ForCausalLM) -> None:
    sampler = torch_model(model)

    async def some_give_up() -> list[Completion | BaseException]:
        asked = [asyncio.create_task(sampler.sample([5, index + 1], GREEDY, max_new_tokens=30)) for index in range(9)]
        while not any(each.tokens for each in sampler._running):
            await asyncio.sleep(0)
        for each in asked[::2]:
            each.cancel()
        return await asyncio.gather(*asked, return_exceptions=True)

    found = asyncio.run(some_give_up())
    assert all(isinstance(each, asyncio.CancelledError) for each in found[::2])
    wanted = [generated(model, [5, index + 1], 30) for index in range(1, 9, 2)]
    assert [each.token_ids for each in found[1::2] if isinstance(each, Completion)] == wanted


def test_a_loop_that_is_closed_midway_leaves_a_model_that_works(model: Qwen3ForCausalLM) -> None:
    sampler = torch_model(model)

    async def leave() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(sampler.sample([1, 2], GREEDY, max_new_tokens=250), timeout=0.01)
        left = asyncio.create_task(sampler.sample([1, 2], GREEDY, max_new_tokens=250))
        await asyncio.sleep(0)
        assert not left.done()

    asyncio.run(leave())
    (found,) = sample(sampler, [[1, 2]], GREEDY, new=5)
    assert found.token_ids == generated(model, [1, 2], 5)


def test_a_loop_that_is_dropped_midway_leaves_a_model_that_works(model: Qwen3ForCausalLM) -> None:
    sampler = torch_model(model)
    dropped = asyncio.new_event_loop()
    left = dropped.create_task(sampler.sample([1, 2], GREEDY, max_new_tokens=250))
    for _ in range(12):
        dropped.run_until_complete(asyncio.sleep(0))
    assert not left.done()
    (found,) = sample(sampler, [[1, 2]], GREEDY, new=5)
    assert found.token_ids == generated(model, [1, 2], 5)
    for each in (left, *asyncio.all_tasks(dropped)):
        each.cancel()
    dropped.run_until_complete(asyncio.gather(left, return_exceptions=True))
    dropped.close()


def test_others_run_while_it_generates(model: Qwen3ForCausalLM) -> None:
    sampler = torch_model(model)
    num_turns = 0

    async def watch() -> None:
        nonlocal num_turns
        while True:
            await asyncio.sleep(0)
            num_turns += 1

    async def both() -> None:
        watching = asyncio.create_task(watch())
        await sampler.sample([1, 2], Sampling(), max_new_tokens=20)
        watching.cancel()

    asyncio.run(both())
    assert num_turns >= 20


def test_broken_weights_are_named(model: Qwen3ForCausalLM) -> None:
    broken = Qwen3ForCausalLM(model.config)
    torch.nn.init.constant_(broken.model.norm.weight, float("nan"))
    with pytest.raises(PolicyRequestError, match="want finite logits, found nan after 3 tokens"):
        sample(torch_model(broken), [[1, 2, 3]])


def test_the_model_is_left_as_it_was_and_can_be_trained(model: Qwen3ForCausalLM) -> None:
    trained = Qwen3ForCausalLM(model.config)
    trained.load_state_dict(model.state_dict())
    trained.train()
    trained.gradient_checkpointing_enable()
    before = (trained.config._attn_implementation, trained.training)
    (found,) = sample(torch_model(trained), [[1, 2]], GREEDY, new=5)
    assert found.token_ids == generated(model, [1, 2], 5)
    assert (trained.config._attn_implementation, trained.training) == before
    ids = torch.tensor([[1, 2, *found.token_ids]])
    trained(ids, labels=ids, use_cache=False).loss.backward()
    assert all(each.grad is not None for each in trained.parameters())


def test_layers_that_see_a_window_only_are_refused() -> None:
    config = Qwen3Config(
        hidden_size=32, num_hidden_layers=2, use_sliding_window=True, sliding_window=8, max_window_layers=1
    )
    with pytest.raises(ValueError, match=r"want full attention in every layer, found \['sliding_attention'\]"):
        torch_model(Qwen3ForCausalLM(config))
