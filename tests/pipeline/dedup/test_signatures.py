"""The index of a day: what changes a hash or a signature, and what does not."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.config import DuplicateGate
from pipeline.dedup.signatures import INDEX, band_shape, index_scheme
from pipeline.dedup.words import hash_windows, hash_words, slices, split_words
from tests.pipeline.dedup.factories import GATE, index_of, random_words, text_frame, true_jaccard, with_changes

ROOT = Path(__file__).parents[3]
DAY = "2025-01-01"


def _row(text: str | None, images: str = "", gate: DuplicateGate = GATE) -> dict:
    return index_of(DAY, {"a": text}, gate, images).row(0, named=True)


@pytest.mark.parametrize(
    ("left", "right", "same_hash", "same_signature"),
    [
        ("How far is the moon?", "how  FAR\n is the\tmoon? ", True, True),
        ("How far is the moon?", "How far is the moon", False, True),
        ("How far is the moon?", "How far is the sun?", False, False),
        ("one two", "two one", False, False),
        ("one", "one one", False, False),
        ("月有多远", "月有 多远", False, True),
    ],
)
def test_case_and_space_leave_the_hash_and_punctuation_the_signature(
    left: str, right: str, *, same_hash: bool, same_signature: bool
) -> None:
    a, b = _row(left), _row(right)
    assert (a["exact_hash"] == b["exact_hash"]) is same_hash
    assert (a["signature"] == b["signature"]) is same_signature
    assert (a["bands"] == b["bands"]) is same_signature


@pytest.mark.parametrize("text", [None, "", " \n\t "])
def test_a_text_without_anything_has_no_hash_and_no_bands(text: str | None) -> None:
    row = _row(text)
    assert (row["exact_hash"], row["bands"], row["signature"]) == (None, [], None)


def test_a_text_of_punctuation_has_a_hash_and_no_bands() -> None:
    row = _row("?!")
    assert len(row["exact_hash"]) == 16
    assert (row["bands"], row["signature"]) == ([], None)


def test_the_same_words_about_another_image_share_nothing() -> None:
    text = " ".join(random_words(50, seed=1))
    plain, first, second = _row(text), _row(text, "a.png"), _row(text, "b.png")
    assert len({row["exact_hash"] for row in (plain, first, second)}) == 3
    assert not set(first["bands"]) & set(second["bands"])
    assert not set(plain["bands"]) & set(first["bands"])
    assert _row(text, "a.png") == first


def test_an_image_alone_has_a_hash() -> None:
    assert _row("", "a.png")["exact_hash"] == _row(None, "a.png")["exact_hash"]
    assert _row("", "a.png")["exact_hash"] is not None


def test_without_near_duplicates_only_the_hash_is_made() -> None:
    exact_only = _row("some words here", gate=DuplicateGate(near=False))
    assert (exact_only["bands"], exact_only["signature"]) == ([], None)
    assert exact_only["exact_hash"] == _row("some words here")["exact_hash"]


def test_the_index_keeps_its_schema_and_the_order_of_the_texts() -> None:
    index = index_of(DAY, {"b": "two words", "a": None, "c": "three more words"})
    assert dict(index.schema) == INDEX
    assert index["trajectory_id"].to_list() == ["b", "a", "c"]
    assert dict(index_of(DAY, {}).schema) == INDEX


def test_a_row_depends_on_its_own_text_alone() -> None:
    texts = {f"t{k:05d}": " ".join(random_words(60, seed=k)) for k in range(200)}
    texts["long"] = "word " * 4_000_000
    alone = index_of(DAY, {"t00007": texts["t00007"]})
    assert len(list(slices(text_frame(texts)["text"]))) > 1
    assert index_of(DAY, texts).row(7) == alone.row(0)


def test_another_process_makes_the_same_bytes() -> None:
    code = (
        "from tests.pipeline.dedup.factories import index_of\n"
        "row = index_of('2025-01-01', {'a': 'How far is the moon from here, in km?'}).row(0, named=True)\n"
        "print(row['exact_hash'].hex(), row['signature'].hex(), *row['bands'])"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    row = _row("How far is the moon from here, in km?")
    assert told.split() == [row["exact_hash"].hex(), row["signature"].hex(), *map(str, row["bands"])]


def test_the_bytes_stay_what_they_were_when_indexes_were_first_written() -> None:
    row = _row("How far is the moon from here, in km?")
    assert row["exact_hash"].hex() == "9ca393cf41596d36665ace5601b17f68"
    assert row["signature"][:16].hex() == "e3596ac941470fc708cd7bdac2e371c3"
    assert row["bands"][0] == 425357306544601455
    assert row["scheme"] == "rminhash2-words5-bands16x8"


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.85, 0.9, 0.95])
@pytest.mark.parametrize("num_permutations", [64, 128, 256])
def test_a_pair_at_the_threshold_shares_a_band_almost_surely(threshold: float, num_permutations: int) -> None:
    bands, rows = band_shape(threshold, num_permutations)
    assert bands * rows <= num_permutations
    assert 1 - (1 - threshold**rows) ** bands >= 0.99
    more = rows + 1
    assert 1 - (1 - threshold**more) ** (num_permutations // more) < 0.99


def test_the_default_shape_is_sixteen_bands_of_eight() -> None:
    assert band_shape(0.85, 128) == (16, 8)
    assert math.isclose(1 - (1 - 0.85**8) ** 16, 0.9938, abs_tol=1e-4)
    assert band_shape(0.01, 16) == (16, 1)


@pytest.mark.parametrize("change", [{"threshold": 0.7}, {"shingle_words": 4}, {"num_permutations": 256}])
def test_another_way_to_make_bands_is_another_scheme_and_shares_none(change: dict) -> None:
    text = " ".join(random_words(80, seed=3))
    other = DuplicateGate(**change)
    assert index_scheme(other) != index_scheme(GATE)
    assert not set(_row(text)["bands"]) & set(_row(text, gate=other)["bands"])


def test_the_signature_estimates_the_true_similarity() -> None:
    base = random_words(300, seed=0)
    texts = {"a0": base} | {f"b{k}": with_changes(base, k, seed=k) for k in range(1, 40)}
    index = index_of(DAY, {key: " ".join(words) for key, words in texts.items()})
    matrix = np.frombuffer(b"".join(index["signature"]), dtype="<u4").reshape(len(texts), -1)
    estimates = (matrix == matrix[0]).mean(axis=1)
    truths = np.array([true_jaccard(base, words) for words in texts.values()])
    assert np.abs(estimates - truths).max() < 4 * math.sqrt(0.25 / 128)
    assert abs((estimates - truths).mean()) < 0.02


def test_windows_are_counted_per_text() -> None:
    words = split_words(pl.Series(["a b c d", None, "a b", "b c d"]))
    hashed = hash_words(words)
    windows, starts = hash_windows(hashed, 3, short_whole=False)
    assert windows.counts.tolist() == [2, 0, 0, 1]
    assert starts.tolist() == [0, 1, 6]
    assert windows.hashes[1] == windows.hashes[2]
    whole, _ = hash_windows(hashed, 3, short_whole=True)
    assert whole.counts.tolist() == [2, 0, 1, 1]
    pairs, _ = hash_windows(hashed, 2, short_whole=False)
    assert whole.hashes[2] == pairs.hashes[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, World!", ["hello", "world"]),
        ("get_weather(city='Paris')", ["get_weather", "city", "paris"]),
        ("北京 weather", ["北", "京", "weather"]),
        ("naïve Straße", ["naïve", "straße"]),
        ("3.14", ["3", "14"]),
        ("…", []),
    ],
)
def test_words_are_runs_of_letters_and_digits(text: str, words: list[str]) -> None:
    assert split_words(pl.Series([text])).to_list() == [words]


def test_no_text_is_lost_between_slices() -> None:
    texts = pl.Series(["a" * size for size in (0, 5, 20_000_000, 3, 9_000_000, 9_000_000)] + [None])
    parts = list(slices(texts))
    assert [k for part in parts for k in range(part.start, part.stop)] == list(range(7))
    assert list(slices(texts.head(0))) == []
