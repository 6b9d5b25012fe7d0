"""What the cheap features of prompts say."""

import math
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.judging.prompt_features import PROMPT_FEATURES, prompt_features
from pipeline.schema import PROMPTS


def features_of(**columns: Any) -> dict[str, float]:
    """The features of one prompt."""
    return prompt_features(pl.DataFrame([{"task_id": "a"} | columns], schema=PROMPTS)).row(0, named=True)


def test_the_columns_are_the_documented_ones_in_order() -> None:
    found = prompt_features(pl.DataFrame([{"task_id": "a"}], schema=PROMPTS))
    assert found.columns == ["subject_id", *PROMPT_FEATURES]
    assert set(found.dtypes[1:]) == {pl.Float64}


@pytest.mark.parametrize(
    ("prompt", "name", "value"),
    [
        ("How far is it?", "asks", 1.0),
        ("Compute 3 + 4.", "asks", 1.0),
        ("The moon.", "asks", 0.0),
        ("How far is it", "ends_whole", 0.0),
        ("Fill in ____ here.", "has_blanks", 1.0),
        ("Which one?\nA) red\nB) blue", "has_choices", 1.0),
        ("What stands in the picture?", "misses_image", 1.0),
        ("What is 3?", "misses_image", 0.0),
        ("As said above, go on.", "points_away_rate", math.log(1 + 100 / 5)),
        ("Name the best song.", "vague_rate", math.log(1 + 100 / 4)),
        ("Take (3 + 4 and [5].", "open_brackets", math.log(2)),
        ("Take (3 + 4) and [5].", "open_brackets", 0.0),
        ("See https://x.org/a.", "has_link", 1.0),
        ("Add 12 and 30.", "num_numbers", math.log(3)),
        (None, "prompt_chars", 0.0),
    ],
)
def test_a_prompt_shows_in_its_feature(prompt: str | None, name: str, value: float) -> None:
    assert features_of(prompt=prompt)[name] == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize(
    ("truth", "name", "value"),
    [
        ("-1,234.5", "truth_is_number", 1.0),
        ("12 km", "truth_is_number", 0.0),
        ("yes", "truth_is_choice", 1.0),
        ("B", "truth_is_choice", 1.0),
        ("blue", "truth_is_choice", 0.0),
        ("blue", "truth_in_prompt", 1.0),
        ("green", "truth_in_prompt", 0.0),
        (None, "truth_in_prompt", 0.5),
        (None, "has_truth", 0.0),
        ("blue green", "truth_words_in_prompt", 0.5),
    ],
)
def test_a_ground_truth_shows_in_its_feature(truth: str | None, name: str, value: float) -> None:
    assert features_of(prompt="Is it red or blue?", ground_truth=truth)[name] == value


def test_an_image_that_is_there_is_not_missed() -> None:
    found = features_of(prompt="What is in the picture?", images=["data:image/png;base64,AA"])
    assert (found["misses_image"], found["unspoken_image"], found["num_images"]) == (0.0, 0.0, math.log(2))
    assert features_of(prompt="What is it?", images=["x"])["unspoken_image"] == 1.0


def test_attempts_tell_how_often_it_was_solved() -> None:
    assert features_of(num_attempts=3, num_correct=3)["share_correct"] == 3.5 / 4
    assert features_of()["share_correct"] == 0.5


@settings(max_examples=60, deadline=None)
@given(
    prompt=st.none() | st.text(max_size=80),
    ground_truth=st.none() | st.text(max_size=20),
    images=st.none() | st.lists(st.none() | st.text(max_size=5), max_size=2),
    tools=st.none() | st.text(max_size=10),
    num_attempts=st.none() | st.integers(0, 9),
    num_correct=st.none() | st.integers(0, 9),
)
def test_whatever_the_prompt_every_feature_is_a_finite_number(**columns: Any) -> None:
    found = features_of(**columns)
    assert [name for name in PROMPT_FEATURES if not math.isfinite(found[name])] == []
