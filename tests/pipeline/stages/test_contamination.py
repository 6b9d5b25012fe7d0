"""Overlap with benchmarks: what counts as a shared n-gram, and what the evidence says."""

import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.dedup.benchmarks import ngrams_of, read_benchmark
from pipeline.dedup.words import split_words
from pipeline.reasons import REASON_DTYPE, Reason
from pipeline.stages.contamination import find_overlaps, mark_contaminated
from tests.factories import make_frame, make_trajectory, reasons_of

DATA = Path(__file__).parents[4] / "shared" / "data"
LONG = "Janet sells sixteen duck eggs at the market every morning for two dollars each and bakes four"
SHORT = "What is the boiling point of neon?"
TINY = "Name a prime."


def _questions(*texts: str) -> pl.DataFrame:
    schema = {"item": pl.UInt32, "text": pl.String}
    return pl.DataFrame({"item": range(len(texts)), "text": texts}, schema=schema)


NGRAMS = ngrams_of({"unit": _questions(TINY, LONG, SHORT)}, 13)
THIRTEEN = "janet sells sixteen duck eggs at the market every morning for two dollars"


@pytest.mark.parametrize(
    ("prompt", "item", "ngram"),
    [
        (LONG, 1, THIRTEEN),
        (f"Solve this: {LONG.upper()}!!", 1, THIRTEEN),
        (" ".join(LONG.split()[:13]), 1, THIRTEEN),
        (" ".join(LONG.split()[:12]), None, None),
        (" ".join([*LONG.split()[:12], "pounds", *LONG.split()[13:]]), None, None),
        (f"Answer briefly. {SHORT}", 2, "what is the boiling point of neon"),
        ("What is the boiling point of argon?", None, None),
        (TINY, None, None),
        ("", None, None),
        (None, None, None),
        (f"{SHORT} {LONG}", 2, "what is the boiling point of neon"),
    ],
)
def test_a_prompt_is_contaminated_by_a_shared_ngram(prompt: str | None, item: int | None, ngram: str | None) -> None:
    row = mark_contaminated(make_frame(make_trajectory(prompt=prompt)), NGRAMS).collect().row(0, named=True)
    if item is None:
        assert (row["reason"], row["evidence"]) == (None, None)
    else:
        assert row["reason"] == Reason.CONTAMINATED
        assert json.loads(row["evidence"]) == {"benchmark": "unit", "item": item, "ngram": ngram}


def test_only_the_prompt_counts() -> None:
    assert reasons_of(mark_contaminated(make_frame(make_trajectory(prompt="Other", final_answer=LONG)), NGRAMS)) == [
        None
    ]


def test_without_benchmarks_the_frame_is_handed_through() -> None:
    frame = make_frame(make_trajectory())
    assert mark_contaminated(frame, ngrams_of({}, 13)) is frame


def test_no_rows_stay_no_rows() -> None:
    assert reasons_of(mark_contaminated(make_frame(make_trajectory()).head(0), NGRAMS)) == []


def test_streaming_gives_the_rows_in_order() -> None:
    prompts = [LONG if k % 3 == 0 else f"Question {k}" for k in range(500)]
    frame = make_frame(*(make_trajectory(prompt=prompt) for prompt in prompts))
    expected = [Reason.CONTAMINATED if k % 3 == 0 else None for k in range(500)]
    assert mark_contaminated(frame, NGRAMS).collect(engine="streaming")["reason"].to_list() == expected


_WORDS = st.lists(st.sampled_from(["a", "b", "c"]), max_size=9)


@given(prompts=st.lists(_WORDS, min_size=1, max_size=5), questions=st.lists(_WORDS, min_size=1, max_size=4))
def test_overlaps_are_those_found_by_comparing_words(prompts: list[list[str]], questions: list[list[str]]) -> None:
    size = 6
    ngrams = ngrams_of({"unit": _questions(*map(" ".join, questions))}, size)
    wanted = {tuple(q[k : k + size]) for q in questions for k in range(max(len(q) - size + 1, 1)) if len(q) >= 5}
    found = find_overlaps(pl.Series([" ".join(prompt) for prompt in prompts]), ngrams)
    for prompt, overlap in zip(prompts, found, strict=True):
        shared = [g for g in wanted if any(tuple(prompt[k : k + len(g)]) == g for k in range(len(prompt)))]
        assert (overlap is not None) == bool(shared)
        if overlap is not None:
            assert tuple(overlap["ngram"].split()) in shared
            assert overlap["ngram"] in " ".join(questions[overlap["item"]])


@given(
    rows=st.lists(
        st.tuples(st.sampled_from([None, "empty", "overlong"]), st.sampled_from([LONG, SHORT, "Other", None])),
        min_size=1,
    )
)
def test_rows_other_columns_and_earlier_reasons_stay_and_twice_is_once(
    rows: list[tuple[str | None, str | None]],
) -> None:
    frame = make_frame(*(make_trajectory(reason=reason, prompt=prompt) for reason, prompt in rows)).with_columns(
        evidence=pl.when(pl.col("reason").is_not_null()).then(pl.lit('{"earlier": true}'))
    )
    marked = mark_contaminated(frame, NGRAMS).collect()
    assert marked.drop("reason", "evidence").equals(frame.collect().drop("reason", "evidence"))
    expected = [reason or ("contaminated" if prompt in (LONG, SHORT) else None) for reason, prompt in rows]
    assert marked["reason"].equals(pl.Series("reason", expected, dtype=REASON_DTYPE))
    assert mark_contaminated(marked.lazy(), NGRAMS).collect().equals(marked)


def test_real_test_sets_overlap_with_themselves_and_not_with_each_other() -> None:
    paths = [DATA / "gsm8k/grade_school_math/data/test.jsonl", DATA / "math_prompts/math_test.jsonl"]
    if not all(path.exists() for path in paths):
        pytest.skip("../shared/data is absent")
    gsm8k, math = map(read_benchmark, paths)
    ngrams = ngrams_of({"gsm8k": gsm8k}, 13)
    told = gsm8k.filter(split_words(gsm8k["text"]).list.len() >= 5)["text"]
    assert find_overlaps(told, ngrams).null_count() == 0
    assert find_overlaps(math["text"], ngrams).drop_nulls().to_list() == []
