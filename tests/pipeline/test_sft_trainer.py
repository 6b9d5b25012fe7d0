"""The SFT set is accepted as is by trl.SFTTrainer, which trains on what the assistant wrote and on nothing else."""

import math
import re
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.config import CurationConfig
from pipeline.curation.sft_set import Snapshot, write_sft_set
from pipeline.store import TableStore
from tests.curating import curate_days, land_records, price_chat

torch = pytest.importorskip("torch", reason="training is an extra: make install")
trl = pytest.importorskip("trl", reason="training is an extra: make install")

DAY = "2025-03-01"
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "price",
            "description": "What a crate costs.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "good": {"type": "string"}}},
        },
    }
]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Torch on one thread; what its libraries warn about is theirs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """A set with tools and without, with reasoning and without, with one call, several and none."""
    store = TableStore(tmp_path_factory.mktemp("sft"))
    records = [price_chat(city, 3 * city, tools=TOOLS) for city in range(6)]
    records[0]["messages"][1]["reasoning_content"] = "Prices change; I had better look."
    two = price_chat(9, 9, tools=TOOLS)
    call = two["messages"][1]["tool_calls"][0]
    more = {**call, "id": "c1", "function": {"name": "price", "arguments": '{"good":"flax","none":null}'}}
    two["messages"][1]["tool_calls"] = [call, more]
    two["messages"].insert(3, {"role": "tool", "tool_call_id": "c1", "content": "flax sells at 5 crowns"})
    plain = {
        "messages": [{"role": "user", "content": "Which is larger, 3 or 7?"}, {"role": "assistant", "content": "7."}]
    }
    land_records(store, DAY, [*records, two, plain])
    config = CurationConfig.model_validate({"split": {"val_fraction": 0.0}})
    curate_days(store, [DAY], config)
    written = write_sft_set(store, config)
    assert written.rows_by_split == {"train": 8}
    return written


@pytest.fixture(scope="module")
def rows(snapshot: Snapshot, tmp_path_factory: pytest.TempPathFactory) -> Any:
    import datasets

    cache = str(tmp_path_factory.mktemp("cache"))
    return datasets.load_dataset(str(snapshot.folder), split="train", cache_dir=cache)


@pytest.fixture(scope="module")
def tokenizer(rows: Any) -> Any:
    """A byte-level BPE of 600 tokens, made of these texts, with TRL's training template of Qwen3."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast
    from trl.chat_template_utils import qwen3_training_chat_template

    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bare.train_from_iterator([item["content"] for row in rows for item in row["messages"]], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bare,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=qwen3_training_chat_template,
    )


@pytest.fixture(scope="module")
def trained(rows: Any, tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The trainer, after two steps on the set as it was exported."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=16,
            max_position_embeddings=2048,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    arguments = trl.SFTConfig(
        output_dir=str(tmp_path_factory.mktemp("run")),
        max_steps=2,
        per_device_train_batch_size=4,
        learning_rate=1e-3,
        assistant_only_loss=True,
        max_length=2048,
        use_cpu=True,
        bf16=False,
        report_to="none",
        logging_steps=1,
        save_strategy="no",
        disable_tqdm=True,
        gradient_checkpointing=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = trl.SFTTrainer(model=model, args=arguments, train_dataset=rows, processing_class=tokenizer)
        trainer.train()
    return trainer


def trained_text(trained: Any, tokenizer: Any, asked: str) -> tuple[str, str]:
    """What trains of the row that asks this, and what does not, as the trainer's own collator has it."""
    for prepared in trained.train_dataset:
        batch = trained.data_collator([prepared])
        ids, labels = batch["input_ids"][0].tolist(), batch["labels"][0].tolist()
        if asked not in tokenizer.decode(ids):
            continue
        assert all(label in (-100, token) for token, label in zip(ids, labels, strict=True))
        learned = [token for token, label in zip(ids, labels, strict=True) if label != -100]
        given = [token for token, label in zip(ids, labels, strict=True) if label == -100]
        return tokenizer.decode(learned), tokenizer.decode(given)
    raise AssertionError(f"no prepared row asks {asked!r}")


def test_two_steps_on_the_set_as_exported_have_a_finite_loss(trained: Any) -> None:
    losses = [entry["loss"] for entry in trained.state.log_history if "loss" in entry]
    assert len(losses) == 2
    assert all(math.isfinite(loss) and loss > 0 for loss in losses)
    assert len(trained.train_dataset) == 8


def test_what_trains_is_exactly_what_the_assistant_wrote(trained: Any, tokenizer: Any) -> None:
    asked = price_chat(0, 0)["messages"][0]["content"]
    learned, given = trained_text(trained, tokenizer, asked)
    assert learned == (
        "<think>\nPrices change; I had better look.\n</think>\n\nI look up amber0 in Lisbon0.\n"
        '<tool_call>\n{"name": "price", "arguments": {"city": "Lisbon0", "good": "amber0"}}\n</tool_call><|im_end|>\n'
        "<think>\n\n</think>\n\nA crate of amber0 costs 7 crowns.<|im_end|>\n"
    )
    observation = "amber0 sells at 7 crowns in Lisbon0"
    assert observation not in learned
    assert f"<tool_response>\n{observation}\n</tool_response>" in given
    assert "I look up" not in given


def test_calls_in_one_turn_train_with_their_own_arguments_and_no_others(trained: Any, tokenizer: Any) -> None:
    learned, given = trained_text(trained, tokenizer, price_chat(9, 9)["messages"][0]["content"])
    calls = re.findall(r"<tool_call>\n(.*)\n</tool_call>", learned)
    assert calls == [
        '{"name": "price", "arguments": {"city": "Lima9", "good": "jute9"}}',
        '{"name": "price", "arguments": {"good": "flax", "none": null}}',
    ]
    assert "flax sells at 5 crowns" in given
    assert "sells at" not in learned


def test_a_row_without_tools_is_prompted_without_any(trained: Any, tokenizer: Any) -> None:
    learned, given = trained_text(trained, tokenizer, "Which is larger, 3 or 7?")
    assert learned == "<think>\n\n</think>\n\n7.<|im_end|>\n"
    assert given == "<|im_start|>user\nWhich is larger, 3 or 7?<|im_end|>\n<|im_start|>assistant\n"


def test_the_declared_tools_stand_in_the_prompt(trained: Any, tokenizer: Any) -> None:
    _, given = trained_text(trained, tokenizer, price_chat(1, 3)["messages"][0]["content"])
    assert '<tools>\n{"type": "function", "function": {"name": "price", "description": "What a crate costs."' in given
    assert "None" not in given
