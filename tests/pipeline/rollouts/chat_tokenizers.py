"""Tokenizers with the chat templates that rollouts support, without a hub."""

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from gguf import GGUFReader
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from pipeline.serving.embedded import wheel_weights

NATIVE = ("qwen2_5", "qwen3", "qwen3_instruct_2507", "llama3_1", "llama3_2", "world")
"""Templates that offer tools and whose calls are read."""
TEXT = ("smollm2", "llama3", "gemma", "lfm2", "qwen3_5_think", "qwen2_5")
"""Templates that are given tools in plain text; most know none."""
REFUSED = {
    "smollm2": "want one that tells the model its tools, found none told",
    "gemma": "want one that tells the model its tools, found none told",
    "glm4moe": "want calls as one of hermes, llama, found",
    "qwen3_5_think": "want calls as one of hermes, llama, found",
    "gptoss": "want calls as one of hermes, llama, found",
    "lfm2": "want one that writes a turn where it opens one",
    "deepseekv3": "want one it can render a task and a turn with",
}
"""What is said of templates whose own tool calls no dialect reads."""

_PLAIN = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>")
"""Tokens that Qwen adds to its vocabulary without making them special."""
_SPECIAL = re.compile(r"<\|[a-z_]+\|>|<(?:start|end)_of_turn>")
_TEXTS = ("The capital of France is Paris. 12 + 30 = 42\n", '{"name": "look", "arguments": {"query": "x"}}', "user")


@cache
def chat_tokenizer(name: str) -> PreTrainedTokenizerFast:
    """A small byte-level tokenizer with the named template, and every token that the template writes added to it."""
    template = template_text(name)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(_TEXTS * 3, trainer)
    special = sorted({*_SPECIAL.findall(template), "<|endoftext|>", "<|im_end|>"})
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    if name != "llama3_1":
        tokenizer.add_tokens([AddedToken(token, normalized=False) for token in _PLAIN])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|begin_of_text|>" if name.startswith("llama") else "<|endoftext|>",
        eos_token="<|endoftext|>",
        chat_template=template,
        clean_up_tokenization_spaces=False,
    )


def template_text(name: str) -> str:
    """The chat template of a family of models."""
    if name == "smollm2":
        return GGUFReader(wheel_weights().path).fields["tokenizer.chat_template"].contents()
    if name == "world":
        return (Path(__file__).parents[3] / "training/world/template.jinja").read_text(encoding="utf-8")
    spec = find_spec("trl")
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    return (Path(folders[0]) / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")
