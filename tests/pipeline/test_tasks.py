"""The two normalisations are one, and task ids stay what they are."""

import json
import time

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.tasks import normalise_prompt, normalised_prompt, task_id_of


def ids(*rows: tuple[str | None, str | None]) -> list[str | None]:
    """The task ids of (prompt, tools) rows."""
    frame = pl.DataFrame(rows, schema={"prompt": pl.String, "tools": pl.String}, orient="row")
    return frame.select(task_id_of(pl.col("prompt"), pl.col("tools")))["prompt"].to_list()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("  How FAR is\n\tthe moon? ", "how far is the moon"),
        ("“How far is the moon?”", "how far is the moon"),
        ("\uff28\uff4f\uff57 far", "how far"),
        ("a\u00a0b\u2003c\x1cd", "a b c d"),
        ("3.5 + 2 = ?", "3.5 + 2 ="),
        ("???", ""),
        ("", ""),
    ],
)
def test_prompts_are_folded_to_a_key(text: str, key: str) -> None:
    assert normalise_prompt(text) == key


@settings(max_examples=500)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cn", "Co"]), max_size=60))
def test_the_expression_says_what_the_function_says(text: str) -> None:
    assert pl.select(normalised_prompt(pl.lit(text))).item() == normalise_prompt(text)


def test_a_null_prompt_stays_null() -> None:
    assert pl.select(normalised_prompt(pl.lit(None, pl.String))).item() is None


def test_task_ids_never_change() -> None:
    tools = json.dumps([{"type": "function", "function": {"name": "search"}}])
    assert ids(("How far is the moon?", None), ("How far is the moon?", tools)) == [
        "e3395b290a3919a0",
        "f37f9b63d00c87be",
    ]


def test_spelling_variants_of_a_prompt_and_of_tools_are_one_task() -> None:
    plain, loud, empty, spaced, sorted_ = ids(
        ("How far?", None),
        ("how  FAR", None),
        ("How far?", "[]"),
        ("q", '[{"a": 1, "b": 2}]'),
        ("q", '[{"b":2,"a":1}]'),
    )
    assert plain == loud == empty
    assert spaced == sorted_ != plain


def test_other_prompts_and_other_tools_are_other_tasks() -> None:
    assert len(set(ids(("a", None), ("b", None), ("a", '[{"name":"x"}]'), ("a", "not json")))) == 4


def test_no_prompt_is_no_task() -> None:
    assert ids((None, None), ("", None), (" ?! ", '[{"name":"x"}]')) == [None, None, None]


def test_rows_keep_their_order_and_work_lazily_in_pieces() -> None:
    prompts = [f"task {k % 7}" for k in range(500)]
    frame = pl.LazyFrame({"prompt": prompts, "tools": [None] * 500}, schema_overrides={"tools": pl.String})
    told = frame.select("prompt", task_id=task_id_of(pl.col("prompt"), pl.col("tools"))).collect(engine="streaming")
    assert told["prompt"].to_list() == prompts
    assert told.group_by("prompt").agg(pl.col("task_id").n_unique())["task_id"].to_list() == [1] * 7
    assert told["task_id"].n_unique() == 7


def test_a_hundred_thousand_prompts_take_a_second() -> None:
    frame = pl.DataFrame({"prompt": [f"What is {k} plus {k}?" for k in range(100_000)], "tools": '[{"name":"x"}]'})
    start = time.monotonic()
    told = frame.select(task_id=task_id_of(pl.col("prompt"), pl.col("tools")))["task_id"]
    assert told.n_unique() == 100_000
    assert time.monotonic() - start < 3
