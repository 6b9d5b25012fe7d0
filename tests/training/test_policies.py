"""A folder in Hugging Face form becomes a policy whose dialogues are this model's."""

import asyncio
from pathlib import Path

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from pipeline.errors import ConfigError, ModelServerError
from pipeline.formats.base import message, tool_call
from pipeline.replay.environment import Observation
from pipeline.rollouts.config import Sampling
from pipeline.rollouts.rollout import Task, Tokens
from pipeline.serving.config import ServerConfig
from pipeline.serving.own import OwnServer
from tests.pipeline.rollouts.chat_tokenizers import chat_tokenizer
from training.sampling.policies import torch_policy

CALL = tool_call("look", {"at": "it"}, "c1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows nothing, with a tokenizer and a chat template that know tools."""
    folder = tmp_path_factory.mktemp("models") / "fresh"
    tokenizer = chat_tokenizer("qwen3")
    torch.manual_seed(0)
    config = Qwen3Config(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        intermediate_size=64,
        vocab_size=len(tokenizer),
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        initializer_range=0.3,
        dtype="float32",
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


async def two_turns(folder: Path, *, seed: int = 0) -> Tokens:
    dialogue = torch_policy(folder, seed=seed).begin(Task("t", (message("user", "What is it?"),)))
    for _ in range(2):
        turn = await dialogue.turn(Sampling(max_new_tokens=20), max_tokens=1000)
        assert 0 < turn.num_tokens <= 20
        dialogue.observe([(CALL, Observation("a thing"))])
    assert dialogue.tokens is not None
    return dialogue.tokens


def test_its_dialogue_holds_what_the_model_of_the_folder_sampled(folder: Path) -> None:
    tokens = asyncio.run(two_turns(folder))
    model = Qwen3ForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        logprobs = model(torch.tensor([tokens.ids])).logits[0].log_softmax(-1)
    sampled = [place for place in range(len(tokens)) if tokens.is_model[place]]
    assert 2 <= len(sampled) <= 40
    wanted = [float(logprobs[place - 1, tokens.ids[place]]) for place in sampled]
    assert [tokens.logprobs[place] for place in sampled] == pytest.approx(wanted, abs=1e-4)


def test_seeds_tell_what_is_sampled(folder: Path) -> None:
    first, again, other = (asyncio.run(two_turns(folder, seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first.ids != other.ids


def test_a_server_of_ours_names_the_folder_alike(folder: Path, tmp_path: Path) -> None:
    server = OwnServer(ServerConfig(model=str(folder)), cache=tmp_path, logs=tmp_path, say=print)
    assert torch_policy(folder).identity.split(" ")[0] == server.identity


def test_what_a_folder_lacks_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"want a model in Hugging Face form, found no config.json or tokenizer.json"):
        torch_policy(tmp_path / "nowhere")
    for path in folder.iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ModelServerError, match="want weights"):
        torch_policy(tmp_path)
