"""What is too long loses its middle and says how much."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.judging.shortening import clip, width
from pipeline.judging.untrusted import neutralise

MARKER = 48


@pytest.mark.parametrize(
    ("text", "wide"),
    [
        ("", 0),
        ("moon", 4),
        ("the moon", 8),
        ("NASA", 8),
        ("42", 4),
        ("a,b", 4),
        ("a\nb", 7),
        ("é", 3),
        ("月", 4),
        ("😀", 8),
    ],
)
def test_a_text_counts_by_what_its_tokens_may_cost(text: str, wide: int) -> None:
    assert width(text) == wide


@pytest.mark.parametrize(
    ("text", "limit", "told"),
    [
        ("a" * 100, 100, "a" * 100),
        ("a" * 101, 100, "a" * 26 + "\n[49 characters left out here]\n" + "a" * 26),
        ("a" * 5_000 + "b" * 5_000, 100, "a" * 26 + "\n[9,948 characters left out here]\n" + "b" * 26),
        ("7" * 100, 100, "7" * 13 + "\n[74 characters left out here]\n" + "7" * 13),
        ("abc", 1, "[3 characters left out here]"),
    ],
)
def test_the_middle_gives_way(text: str, limit: int, told: str) -> None:
    assert clip(text, limit, str) == told


@given(st.text(max_size=400) | st.text(alphabet="a1\n月", max_size=4000), st.integers(1, 600))
def test_nothing_is_wider_than_the_limit_and_a_marker(text: str, limit: int) -> None:
    assert width(clip(text, limit, str)) <= limit + MARKER
    assert width(clip(text, limit, neutralise)) <= limit + MARKER


@given(st.text(max_size=300))
def test_what_fits_is_not_touched(text: str) -> None:
    assert clip(text, 3_000, str) == text
