"""Counting tokens: with the student's tokenizer where one is named, else estimated from the text."""

from pathlib import Path

import polars as pl

from pipeline.errors import ConfigError

# Pieces a byte-pair tokenizer seldom splits: runs of up to 6 letters, single digits, 2 symbols, ideographs, line ends.
# It errs to the high side on public traces, so that the length gate keeps its promise; `python -m benchmarks.tokens`
# holds it against a tokenizer of 131k pieces, source by source.
_PIECE = r"[A-Za-z]{1,6}|\d|\p{Han}|[^\sA-Za-z\d\p{Han}]{1,2}|\n"
_PER_MESSAGE = 4
"""Tokens a chat template adds around a message."""


class TokenCounter:
    """Adds `num_tokens`; without a tokenizer file the count is an estimate."""

    def __init__(self, tokenizer: str | None) -> None:
        self._tokenizer = None if tokenizer is None else _load(Path(tokenizer))

    def add_num_tokens(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame with `num_tokens` UInt32: tokens of all messages, 0 where there are none."""
        message = pl.element().struct
        texts = pl.concat_str(
            message.field("content").fill_null(""),
            message.field("reasoning").fill_null(""),
            message.field("tool_calls")
            .list.eval(
                pl.concat_str(
                    pl.element().struct.field("name").fill_null(""),
                    pl.lit(" "),
                    pl.element().struct.field("arguments").fill_null(""),
                )
            )
            .list.join(" ")
            .fill_null(""),
            separator=" ",
        )
        frame = frame.with_columns(_text=pl.col("messages").list.eval(texts).list.join(" ").fill_null(""))
        if self._tokenizer is None:
            counted = frame["_text"].str.count_matches(_PIECE)
        else:
            encoded = self._tokenizer.encode_batch_fast(frame["_text"].to_list(), add_special_tokens=False)
            counted = pl.Series([len(item) for item in encoded], dtype=pl.UInt32)
        overhead = pl.col("messages").list.len().fill_null(0) * _PER_MESSAGE
        return (
            frame.with_columns(num_tokens=counted.cast(pl.UInt32))
            .with_columns(num_tokens=(pl.col("num_tokens") + overhead).cast(pl.UInt32))
            .drop("_text")
        )


def _load(path: Path):  # noqa: ANN202  # tokenizers ships no type for it
    import tokenizers  # lazily: only where a tokenizer file is configured

    if not path.is_file():
        raise ConfigError(f"parse.tokenizer: want a tokenizer.json, found no file at {path}; name an existing one")
    return tokenizers.Tokenizer.from_file(str(path))
