"""A chat template is tried out before it is used, and outside text stays text in it."""

import copy

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from pipeline.errors import ConfigError, PolicyRequestError
from pipeline.formats.base import message, tool_call
from pipeline.replay.environment import Observation
from pipeline.rollouts.chat_format import ChatFormat
from pipeline.rollouts.rollout import Task
from tests.model_cache import model_cache
from tests.pipeline.rollouts.chat_tokenizers import REFUSED, chat_tokenizer

CALL = tool_call("look", "{}")
LOOK = {"type": "function", "function": {"name": "look", "parameters": {}}}


def _with_template(template: str) -> PreTrainedTokenizerFast:
    tokenizer = copy.deepcopy(chat_tokenizer("qwen2_5"))
    tokenizer.chat_template = template
    return tokenizer


def _spelled(tokenizer: PreTrainedTokenizerFast, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=False))


@pytest.mark.parametrize(("name", "found"), REFUSED.items())
def test_a_template_whose_calls_are_not_read_is_refused_with_what_to_do(name: str, found: str) -> None:
    with pytest.raises(ConfigError, match=found) as caught:
        ChatFormat(chat_tokenizer(name))
    assert str(caught.value).endswith('set protocol = "text"')


TURN = "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
OPENED = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ("", "want a chat template, found none"),
        ("{{ raise_exception('no') }}", "want one it can render a task and a turn with, found: no"),
        (f"{{% for m in messages %}}{TURN}{{% endfor %}}", "found none opened"),
        (f"{{% for m in messages %}}{{{{ m.content }}}}\n{{% endfor %}}{OPENED}", "found another beginning"),
        (
            "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}\n{% endfor %}" + OPENED,
            "want one that ends a turn with a token of the vocabulary",
        ),
        (
            "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
            "{% if loop.last or m.role == 'user' %}<|im_end|>\n{% endif %}{% endfor %}" + OPENED,
            "a turn is rendered otherwise once something follows it",
        ),
        (
            "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }} {{ loop.index }}<|im_end|>\n{% endfor %}"
            + OPENED,
            "want .*, found",
        ),
        (
            "{% for m in messages %}<|im_start|>{{ m.role }}\n"
            "{{ m.content if loop.first or m.role != 'user' }}<|im_end|>\n{% endfor %}" + OPENED,
            "want one that shows what tools return, found it left out",
        ),
    ],
)
def test_a_template_that_cannot_be_continued_is_refused(template: str, found: str) -> None:
    with pytest.raises(ConfigError, match=found):
        ChatFormat(_with_template(template), protocol="text")


def test_a_vocabulary_without_the_templates_tokens_is_refused() -> None:
    tokenizer = _with_template(f"{{% for m in messages %}}{TURN}{{% endfor %}}{OPENED}".replace("im_", "xx_"))
    with pytest.raises(ConfigError, match="ends a turn with a token of the vocabulary"):
        ChatFormat(tokenizer, protocol="text")


@pytest.mark.parametrize(
    ("name", "ends"),
    [("qwen3", {"<|im_end|>", "<|endoftext|>"}), ("llama3_1", {"<|eot_id|>", "<|eom_id|>", "<|endoftext|>"})],
)
def test_a_turn_ends_with_the_templates_token_or_the_tokenizers(name: str, ends: set[str]) -> None:
    tokenizer = chat_tokenizer(name)
    assert set(tokenizer.convert_ids_to_tokens(sorted(ChatFormat(tokenizer).stop_ids))) == ends


def test_the_identity_follows_protocol_and_template() -> None:
    tokenizer = chat_tokenizer("qwen3")
    other = copy.deepcopy(tokenizer)
    other.chat_template = f"{tokenizer.chat_template}{{# #}}"
    identities = [
        ChatFormat(tokenizer).identity,
        ChatFormat(tokenizer, protocol="text").identity,
        ChatFormat(other).identity,
    ]
    assert len(set(identities)) == 3
    assert ChatFormat(copy.deepcopy(tokenizer)).identity == identities[0]
    assert identities[0].startswith("native-")


def test_tools_are_offered_by_the_template_or_told_in_the_system_message() -> None:
    task = Task("t", (message("system", "Be brief."), message("user", "Well?")), tools=(LOOK,))
    native = _spelled(chat_tokenizer("qwen3"), ChatFormat(chat_tokenizer("qwen3")).begin(task))
    assert native.startswith("<|im_start|>system\nBe brief.\n\n# Tools")
    told = _spelled(chat_tokenizer("smollm2"), ChatFormat(chat_tokenizer("smollm2"), protocol="text").begin(task))
    assert told.startswith("<|im_start|>system\nBe brief.\n\nYou can use tools.")
    assert told.endswith(
        '\n{"name": "look", "parameters": {}}<|im_end|>\n<|im_start|>user\nWell?<|im_end|>\n<|im_start|>assistant\n'
    )
    alone = Task("t", (message("user", "Well?"),))
    assert "tool" not in _spelled(
        chat_tokenizer("gemma"), ChatFormat(chat_tokenizer("gemma"), protocol="text").begin(alone)
    )


@pytest.mark.parametrize("messages", [(), (message("assistant", "Hi."),), (message("user", "?"), message("tool", "4"))])
def test_a_task_of_other_messages_than_systems_and_users_is_refused(messages: tuple) -> None:
    with pytest.raises(PolicyRequestError, match="task t: want system and user messages"):
        ChatFormat(chat_tokenizer("qwen3")).begin(Task("t", messages))


def test_a_task_with_images_is_refused() -> None:
    task = Task("t", (message("user", "What is on it?", images=["image.png"]),))
    with pytest.raises(PolicyRequestError, match="task t: want text alone, found images"):
        ChatFormat(chat_tokenizer("qwen3")).begin(task)


def test_a_task_that_the_template_refuses_ends_its_rollout_alone() -> None:
    template = chat_tokenizer("qwen3").chat_template
    refusing = _with_template(
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + str(template)
    )
    task = Task("t", (message("system", "Be brief."), message("user", "Well?")))
    with pytest.raises(PolicyRequestError, match="task t: the chat template refuses it: no system"):
        ChatFormat(refusing).begin(task)


@pytest.mark.parametrize("word", ["<|im_end|>", "</tool_response>", "<|im_<|im_end|>end|>", "<think>"])
@pytest.mark.parametrize("is_closed", [True, False])
def test_a_look_alike_in_an_observation_is_spelled_without_the_token(word: str, *, is_closed: bool) -> None:
    tokenizer = chat_tokenizer("qwen3")
    form = ChatFormat(tokenizer)
    ids = form.observed([(CALL, Observation(f"a{word}b"))], is_closed=is_closed)
    harmless = form.observed([(CALL, Observation("ab"))], is_closed=is_closed)
    added = tokenizer.added_tokens_decoder
    assert [each for each in ids if each in added] == [each for each in harmless if each in added]
    assert f"\n<tool_response>\na{word}b\n</tool_response>" in _spelled(tokenizer, ids)


def test_a_look_alike_that_only_normalising_makes_one_ends_the_rollout() -> None:
    from tokenizers import AddedToken, normalizers

    tokenizer = copy.deepcopy(chat_tokenizer("qwen3"))
    tokenizer.backend_tokenizer.normalizer = normalizers.NFKC()
    tokenizer.backend_tokenizer.add_tokens([AddedToken("<result>", normalized=True)])
    form = ChatFormat(tokenizer)
    with pytest.raises(PolicyRequestError, match="want the 5 added tokens that the chat template writes, found 6"):
        form.observed([(CALL, Observation("\uff1cresult\uff1e"))], is_closed=True)


def test_text_without_look_alikes_is_tokenised_as_transformers_does() -> None:
    tokenizer = chat_tokenizer("qwen3")
    text = "\n<|im_start|>user\n<tool_response>\n\n Paris,  12\n\n\n</tool_response><|im_end|>\n<|im_start|>assistant\n"
    ids = ChatFormat(tokenizer).observed([(CALL, Observation("\n Paris,  12\n\n"))], is_closed=True)
    assert ids == tokenizer.encode(text, add_special_tokens=False)


def test_what_no_utf8_holds_and_noncharacters_are_replaced() -> None:
    tokenizer = chat_tokenizer("qwen3")
    ids = ChatFormat(tokenizer).observed([(CALL, Observation("a\ud800b\ufdd0c\ufdd1d\ufdd2"))], is_closed=True)
    assert "\na\ufffdb\ufffdc\ufffdd\ufffd\n" in _spelled(tokenizer, ids)


def test_observations_of_parallel_calls_come_back_in_order() -> None:
    observations = [(CALL, Observation("one")), (tool_call(None, "x"), Observation("two"))]
    qwen = _spelled(
        chat_tokenizer("qwen3"), ChatFormat(chat_tokenizer("qwen3")).observed(observations, is_closed=False)
    )
    assert qwen == (
        "<|im_end|>\n<|im_start|>user\n<tool_response>\none\n</tool_response>\n<tool_response>\ntwo\n</tool_response>"
        "<|im_end|>\n<|im_start|>assistant\n"
    )
    head = "<|start_header_id|>{}<|end_header_id|>\n\n"
    llama = chat_tokenizer("llama3_1")
    assert _spelled(llama, ChatFormat(llama).observed(observations, is_closed=True)) == (
        f'{head.format("ipython")}"one"<|eot_id|>{head.format("ipython")}"two"<|eot_id|>{head.format("assistant")}'
    )


def test_no_observation_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="want at least one"):
        ChatFormat(chat_tokenizer("qwen3")).observed([], is_closed=True)


@pytest.mark.parametrize(
    ("name", "text", "reasoning", "content"),
    [
        ("qwen3", "<think>\nHm.\n</think>\n\nFour.<|im_end|>", "Hm.", "Four."),
        ("qwen3", "<think>\n\n</think>\n\nFour.<|im_end|>", None, "Four."),
        ("qwen3", "<think>Hm. <tool_call>x</tool_call>", "Hm. <tool_call>x</tool_call>", None),
        ("qwen3", "Four. <think> is a tag.<|im_end|>", None, "Four. <think> is a tag."),
        ("qwen3", "Four.<|endoftext|>", None, "Four."),
        ("qwen3", "Four.<|im_start|>user<|im_end|>", None, "Four.<|im_start|>user"),
        ("qwen3", "<|im_end|>", None, None),
        ("qwen3", "", None, None),
    ],
)
def test_reasoning_and_words_are_read(name: str, text: str, reasoning: str | None, content: str | None) -> None:
    tokenizer = chat_tokenizer(name)
    turn = ChatFormat(tokenizer).read(tokenizer.encode(text, add_special_tokens=False))
    assert (turn.reasoning, turn.content, turn.tool_calls) == (reasoning, content, ())
    assert turn.is_cut == (not text.endswith(("<|im_end|>", "<|endoftext|>")))


@pytest.mark.parametrize(
    ("text", "reasoning", "content"),
    [
        ("Hm.\n</think>\n\nFour.<|im_end|>", "Hm.", "Four."),
        ("<think>Hm.</think>Four.<|im_end|>", "Hm.", "Four."),
        ("Hm. Still", "Hm. Still", None),
    ],
)
def test_a_turn_that_the_template_opens_in_thought_is_read_from_there(
    text: str, reasoning: str, content: str | None
) -> None:
    tokenizer = chat_tokenizer("qwen3_5_think")
    turn = ChatFormat(tokenizer, protocol="text").read(tokenizer.encode(text, add_special_tokens=False))
    assert (turn.reasoning, turn.content) == (reasoning, content)


@pytest.mark.slow
def test_the_embedded_model_is_told_its_tools_in_text(tmp_path_factory: pytest.TempPathFactory) -> None:
    models = model_cache(tmp_path_factory) / "models"
    tokenizer = AutoTokenizer.from_pretrained(next(path for path in models.iterdir() if path.is_dir()))
    form = ChatFormat(tokenizer, protocol="text")
    ids = form.observed([(CALL, Observation("a <|im_end|> b"))], is_closed=False)
    text = "\n<|im_start|>user\n<tool_response>\na <|im_end|> b\n</tool_response><|im_end|>\n<|im_start|>assistant\n"
    assert _spelled(tokenizer, ids) == f"<|im_end|>{text}"
    assert ids.count(tokenizer.eos_token_id) == 2
