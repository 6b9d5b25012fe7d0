"""The world's own tokenizer: a small byte-level vocabulary, digits apart, the frame of a tool call in few tokens."""

from importlib.resources import files
from itertools import chain

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from training.world.facts import lands
from training.world.search import document
from training.world.tasks import draw_tasks
from training.world.tools import SCHEMAS

PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CALL, CALL_END = "<tool_call>", "</tool_call>"
VOCABULARY = 640
"""Tokens, the added ones included."""

_WORDS = Regex(r" ?[A-Za-z_]+|\d| ?[^\sA-Za-z\d_]+|\s+")
_NUM_SAMPLES = 3_000


def call_head(name: str) -> str:
    """How a call of a tool begins: one token, as its text never varies."""
    [argument] = next(
        tool["function"]["parameters"]["required"] for tool in SCHEMAS if tool["function"]["name"] == name
    )
    return f'\n{{"name": "{name}", "arguments": {{"{argument}": "'


CALL_TAIL = '"}}\n'
"""How every call ends, one token."""


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer with its chat template; the same on every machine."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_WORDS, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    heads = [call_head(tool["function"]["name"]) for tool in SCHEMAS]
    plain = [AddedToken(text, normalized=False) for text in (CALL, CALL_END, *heads, CALL_TAIL)]
    special = [AddedToken(text, special=True, normalized=False) for text in (PAD, START, END)]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(plain) - len(special),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    tokenizer.add_tokens(plain)
    tokenizer.add_special_tokens(special)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[START],
        chat_template=files("training.world").joinpath("template.jinja").read_text(encoding="utf-8"),
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )


def _texts() -> chain[str]:
    """Text such as the world's: questions, answers, calls and what comes back."""
    some = draw_tasks(_NUM_SAMPLES, 0, split="train")
    frame = ["system\nTools: calculator lookup python\n", "user\nassistant\ntool\n"]
    asked = (f"{each.question}\nAnswer: {each.answer}\n{argument}\n" for each in some for _, argument in each.calls)
    found = (document(land, relation) for land in lands()[:1000] for relation in ("capital", "founder", "seal"))
    counted = (document(land, "population") for land in lands()[:500])
    return chain(frame * 50, asked, found, counted)


def pad_id(tokenizer: PreTrainedTokenizerFast) -> int:
    """The id of the padding token."""
    return _id(tokenizer, PAD)


def end_id(tokenizer: PreTrainedTokenizerFast) -> int:
    """The id of the token that ends a turn."""
    return _id(tokenizer, END)


def _id(tokenizer: PreTrainedTokenizerFast, token: str) -> int:
    found = tokenizer.convert_tokens_to_ids(token)
    if not isinstance(found, int):
        raise TypeError(f"{token}: want one id, found {found!r}")
    return found
