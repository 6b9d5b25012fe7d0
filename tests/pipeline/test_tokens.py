"""Counting tokens."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from pipeline.errors import ConfigError
from pipeline.tokens import TokenCounter
from tests.factories import assistant, make_frame, make_trajectory, tool, user


def count(counter: TokenCounter, *messages: object) -> int:
    row = make_trajectory(list(messages))  # pyright: ignore[reportArgumentType]
    return counter.add_num_tokens(make_frame(row).collect().drop("num_tokens"))["num_tokens"].item()


def test_the_estimate_counts_pieces_of_words_digits_symbols_and_ideographs_and_four_a_message() -> None:
    # hello | intern|ationa|l | 1|2|3|4|5 | ==|= | 天|气 | line end
    assert count(TokenCounter(None), user("hello international 12345 === 天气\n")) == 14 + 4


def test_calls_and_observations_count() -> None:
    plain = count(TokenCounter(None), user("q"), assistant("a"), tool("o"))
    called = count(TokenCounter(None), user("q"), assistant("a", ("search", {"q": "x"})), tool("o"))
    # search | {" | q | ": | " | x | "}
    assert called - plain == 7


def test_a_named_tokenizer_counts_its_own_tokens(tmp_path: Path) -> None:
    vocabulary = {"[UNK]": 0, "one": 1, "two": 2}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert count(TokenCounter(str(tmp_path / "tokenizer.json")), user("one two one two")) == 4 + 4


def test_a_tokenizer_that_is_not_there_is_a_configuration_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"parse\.tokenizer: want a tokenizer\.json"):
        TokenCounter(str(tmp_path / "gone.json"))


def test_no_messages_are_no_tokens() -> None:
    frame = make_frame(make_trajectory(messages=None) | {"messages": None}).collect().drop("num_tokens")
    assert TokenCounter(None).add_num_tokens(frame)["num_tokens"].to_list() == [0]
