"""Benchmark questions as the user names them in files, and the n-grams that give them away."""

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl

from pipeline.config import ContaminationGate
from pipeline.dedup.words import HashedWords, hash_windows, hash_words, split_words
from pipeline.errors import ConfigError

BENCHMARK_NGRAMS: dict[str, pl.DataType | type[pl.DataType]] = {
    "ngram": pl.UInt64,
    "num_words": pl.UInt32,
    "benchmark": pl.String,
    "item": pl.UInt32,
}
"""One row per distinct n-gram: its hash, its length in words, and the first question that holds it."""

QUESTION_KEYS = ("question", "problem", "prompt", "input", "text")
MIN_WORDS = 5
"""A question of fewer words says too little to recognise it by."""

_MEND = f"give each question under one of the keys {', '.join(QUESTION_KEYS)}, or one question a line in a text file"


def read_benchmark(path: Path) -> pl.DataFrame:
    """The questions of one benchmark file: item UInt32, text String, in the order of the file.

    What the file holds is told by its content: Parquet, a JSON list (or an object holding one), JSON Lines, or else one
    question per non-empty line. A question that is a list of messages counts as the text of its user messages.

    Raises: ConfigError if the file cannot be read, or a record has no question.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: benchmark cannot be read ({error.strerror}); name an existing file") from error
    texts = [_question(record, f"{path}: record {k}") for k, record in enumerate(_records(raw, path))]
    if not texts:
        raise ConfigError(f"{path}: benchmark has no question; {_MEND}")
    return pl.DataFrame({"item": range(len(texts)), "text": texts}, schema={"item": pl.UInt32, "text": pl.String})


def benchmark_ngrams(gate: ContaminationGate) -> pl.DataFrame:
    """The n-grams of every benchmark the gate names; none where it names none.

    A question of fewer than `gate.ngram_words` words is one n-gram of all its words, from MIN_WORDS on. An n-gram found
    in several questions names the first, by benchmark name and item.

    Writes: the columns of BENCHMARK_NGRAMS.
    Raises: ConfigError as `read_benchmark` does.
    """
    read = {name: read_benchmark(Path(path)) for name, path in sorted(gate.benchmarks.items())}
    return ngrams_of(read, gate.ngram_words)


def ngrams_of(benchmarks: Mapping[str, pl.DataFrame], ngram_words: int) -> pl.DataFrame:
    """The n-grams of benchmarks already read, in the order of the mapping: the columns of BENCHMARK_NGRAMS."""
    frames = [pl.DataFrame(schema=BENCHMARK_NGRAMS)]
    for name, questions in benchmarks.items():
        words = hash_words(split_words(questions["text"]))
        windows, _ = hash_windows(words, ngram_words, short_whole=True)
        told = np.minimum(words.counts, ngram_words)
        frame = _window_frame(windows, told, questions["item"], name)
        frames.append(frame.filter(pl.col("num_words") >= min(MIN_WORDS, ngram_words)))
    return pl.concat(frames).unique("ngram", keep="first", maintain_order=True)


def _window_frame(windows: HashedWords, num_words: np.ndarray, items: pl.Series, name: str) -> pl.DataFrame:
    columns = {
        "ngram": windows.hashes,
        "num_words": np.repeat(num_words, windows.counts).astype(np.uint32),
        "item": np.repeat(items.to_numpy(), windows.counts),
    }
    return pl.DataFrame(columns).with_columns(benchmark=pl.lit(name)).select(*BENCHMARK_NGRAMS)


def _records(raw: bytes, path: Path) -> Iterator[Any]:
    """The records of a file: decoded JSON values, Parquet rows as dicts, or lines of text."""
    if raw[:4] == b"PAR1":
        try:
            yield from pl.read_parquet(io.BytesIO(raw)).iter_rows(named=True)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise ConfigError(f"{path}: benchmark is not readable Parquet ({error}); write it again") from error
        return
    whole = _decoded(raw)
    if isinstance(whole, dict):
        held = next((value for value in whole.values() if _is_list_of_objects(value)), None)
        yield from [whole] if held is None or any(key in whole for key in QUESTION_KEYS) else held
        return
    if isinstance(whole, list):
        yield from whole
        return
    try:
        lines = [line.strip() for line in raw.decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: benchmark is neither Parquet nor UTF-8 text ({error}); {_MEND}") from error
    is_json_lines = isinstance(_decoded(next((line.encode() for line in lines if line), b"")), dict)
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        value = _decoded(line.encode()) if is_json_lines else line
        if value is None:
            raise ConfigError(f"{path}: line {number}: want a JSON object like the first line, found {line[:60]!r}")
        yield value


def _decoded(raw: bytes) -> Any:
    """The JSON value in `raw`, None where it is no JSON."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _question(record: Any, where: str) -> str:
    """The question in a record. Raises ConfigError naming what the record has instead."""
    if isinstance(record, dict):
        held = next((record[key] for key in QUESTION_KEYS if record.get(key) is not None), None)
        found = f"keys {', '.join(map(str, record)) or '(none)'}"
    else:
        held, found = record, f"a {type(record).__name__}"
    text = held if isinstance(held, str) else "\n".join(_user_texts(held))
    if not text.strip():
        raise ConfigError(f"{where}: want a question, found {found}; {_MEND}")
    return text


def _user_texts(value: Any) -> Iterator[str]:
    """The texts a user wrote in a message, or in a list of messages at any depth."""
    if isinstance(value, list):
        for part in value:
            yield from _user_texts(part)
    elif isinstance(value, dict) and value.get("role", "user") == "user":
        content = value.get("content", value.get("text"))
        if isinstance(content, str):
            yield content
        else:
            yield from _user_texts(content)
