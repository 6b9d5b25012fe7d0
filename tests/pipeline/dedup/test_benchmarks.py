"""Reading benchmark files of every shape, and refusing the rest with a message."""

import io
from pathlib import Path

import polars as pl
import pytest

from pipeline.config import ContaminationGate
from pipeline.dedup.benchmarks import BENCHMARK_NGRAMS, benchmark_ngrams, ngrams_of, read_benchmark
from pipeline.errors import ConfigError

TWO = ["How far is the moon?", "Who wrote Faust?"]


def _parquet(frame: pl.DataFrame) -> bytes:
    held = io.BytesIO()
    frame.write_parquet(held)
    return held.getvalue()


@pytest.mark.parametrize(
    "raw",
    [
        b"How far is the moon?\n\n  Who wrote Faust?  \n",
        b"\xef\xbb\xbfHow far is the moon?\r\nWho wrote Faust?",
        b'{"question": "How far is the moon?", "answer": "far"}\n\n{"question": "Who wrote Faust?"}\n',
        b'[{"problem": "How far is the moon?"}, {"problem": "Who wrote Faust?"}]',
        b'["How far is the moon?", "Who wrote Faust?"]',
        b'{"version": 1, "data": [{"input": "How far is the moon?"}, {"input": "Who wrote Faust?"}]}',
        b'{"prompt": [{"role": "system", "content": "x"}, {"role": "user", "content": "How far is the moon?"}]}\n'
        b'{"id": 2, "question": [[{"role": "user", "content": [{"type": "text", "text": "Who wrote Faust?"}]}]]}\n',
        b'{"text": "How far is the moon?", "prompt": null}\n{"text": "Who wrote Faust?"}',
        _parquet(pl.DataFrame({"question": TWO, "answer": ["a", "b"]})),
    ],
    ids=["lines", "bom", "jsonl", "json", "strings", "object", "messages", "text", "parquet"],
)
def test_questions_are_read_whatever_the_shape_of_the_file(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "questions"
    path.write_bytes(raw)
    found = read_benchmark(path)
    assert found["text"].to_list() == TWO
    assert found["item"].to_list() == [0, 1]


def test_one_object_with_a_question_is_one_question(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    path.write_bytes(b'{"question": "Why?", "choices": [{"text": "a"}]}')
    assert read_benchmark(path)["text"].to_list() == ["Why?"]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "benchmark has no question"),
        (b" \n \n", "benchmark has no question"),
        (b'{"a": 1}\n{"a": 2}', r"record 0: want a question, found keys a; give each question under"),
        (b'{"question": "Why?"}\nnot json', r"line 2: want a JSON object like the first line, found 'not json'"),
        (b"[1, 2]", r"record 0: want a question, found a int"),
        (b'[{"question": " "}]', r"record 0: want a question, found keys question"),
        (b"PAR1 broken", r"not readable Parquet"),
        (b"\xff\xfe\x00", r"neither Parquet nor UTF-8 text"),
    ],
)
def test_a_file_without_questions_is_refused_with_where_and_what(raw: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "questions"
    path.write_bytes(raw)
    with pytest.raises(ConfigError, match=message):
        read_benchmark(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_benchmark(path)


def test_a_short_question_is_one_ngram_and_a_very_short_one_none() -> None:
    texts = ["one two three four", "one two three four five", " ".join(map(str, range(15)))]
    questions = pl.DataFrame({"item": [0, 1, 2], "text": texts}, schema={"item": pl.UInt32, "text": pl.String})
    found = ngrams_of({"unit": questions}, 13)
    assert dict(found.schema) == BENCHMARK_NGRAMS
    assert found.select("num_words", "benchmark", "item").rows() == [(5, "unit", 1), *[(13, "unit", 2)] * 3]


def test_an_ngram_of_two_benchmarks_names_the_first_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one two three four five six\n")
    (tmp_path / "b.txt").write_text("something else entirely is asked here\none TWO three, four five six?\n")
    gate = ContaminationGate(benchmarks={"zeta": str(tmp_path / "a.txt"), "alpha": str(tmp_path / "b.txt")})
    found = benchmark_ngrams(gate)
    assert found.select("num_words", "benchmark", "item").rows() == [(6, "alpha", 0), (6, "alpha", 1)]
    assert benchmark_ngrams(ContaminationGate()).is_empty()
