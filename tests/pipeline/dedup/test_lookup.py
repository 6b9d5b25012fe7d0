"""Which earlier row a row repeats: the rule by hand, against brute force, and under backfills in any order."""

import random
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import DuplicateGate
from pipeline.dedup.lookup import MATCHES, find_duplicates, outdated_days, relevant_entries, relevant_version
from pipeline.dedup.pairs import MAX_BUCKET_RANK, compare_in_rounds
from pipeline.dedup.signatures import INDEX, index_scheme
from tests.pipeline.dedup.factories import GATE, index_of, random_words, true_jaccard, with_changes

NOTHING = pl.LazyFrame(schema=INDEX)
BASE = random_words(200, seed=1)
TEXT = " ".join(BASE)
NEAR = " ".join(with_changes(BASE, 1, seed=1))
FAR = " ".join(with_changes(BASE, 20, seed=2))


def _found(rows: pl.DataFrame, *earlier: pl.DataFrame, gate: DuplicateGate = GATE) -> list[tuple]:
    index = pl.concat(earlier).lazy() if earlier else NOTHING
    return find_duplicates(rows, index, gate).drop("similarity").rows()


def test_the_earliest_day_wins_over_an_earlier_id() -> None:
    first, second = index_of("2025-01-01", {"z": TEXT}), index_of("2025-01-02", {"a": TEXT})
    today = index_of("2025-01-03", {"m": TEXT.upper()})
    assert _found(today, second, first) == [("m", "duplicate", "2025-01-01", "z")]


def test_within_a_day_the_smallest_id_wins_whatever_the_order_of_rows() -> None:
    today = index_of("2025-01-03", {"c": TEXT, "a": TEXT, "b": NEAR, "d": FAR})
    expected = [("b", "near_duplicate", "2025-01-03", "a"), ("c", "duplicate", "2025-01-03", "a")]
    assert _found(today) == expected
    assert _found(today.reverse()) == expected


def test_an_exact_match_is_a_duplicate_even_where_a_near_one_is_earlier() -> None:
    first, second = index_of("2025-01-01", {"n": NEAR}), index_of("2025-01-02", {"e": TEXT})
    assert _found(index_of("2025-01-03", {"x": TEXT}), first, second) == [("x", "duplicate", "2025-01-02", "e")]


def test_the_same_signature_under_other_punctuation_is_a_near_duplicate_of_similarity_one() -> None:
    first, today = index_of("2025-01-01", {"a": TEXT}), index_of("2025-01-02", {"b": TEXT + "!"})
    found = find_duplicates(today, first.lazy(), GATE)
    assert found.rows() == [("b", "near_duplicate", "2025-01-01", "a", 1.0)]


def test_a_match_is_a_match_though_it_is_a_duplicate_itself() -> None:
    chain = [BASE]
    for k in range(6):
        step = list(chain[-1])
        step[k * 30 + 5] = f"new{k}"
        chain.append(step)
    days = [index_of(f"2025-01-0{k + 1}", {f"t{k}": " ".join(words)}) for k, words in enumerate(chain)]
    assert true_jaccard(chain[0], chain[6]) < 0.8
    assert [kind for _, kind, _, _ in _found(days[6], *days[:6])] == ["near_duplicate"]


def test_later_days_and_the_day_itself_in_the_index_are_ignored() -> None:
    today = index_of("2025-01-02", {"a": TEXT})
    assert _found(today, index_of("2025-01-03", {"b": TEXT}), today) == []


def test_the_same_record_landed_on_two_days_is_a_duplicate_on_the_later() -> None:
    first, second = index_of("2025-01-01", {"a": TEXT}), index_of("2025-01-02", {"a": TEXT})
    assert _found(second, first) == [("a", "duplicate", "2025-01-01", "a")]
    assert _found(first) == []


def test_texts_without_anything_and_without_words_do_not_resemble_each_other() -> None:
    first = index_of("2025-01-01", {"a": None, "b": "", "c": "?!"})
    assert _found(index_of("2025-01-02", {"d": None, "e": "", "f": "!?"}), first) == []
    assert _found(index_of("2025-01-02", {"g": "?!"}), first) == [("g", "duplicate", "2025-01-01", "c")]


def test_an_empty_day_has_no_matches_and_a_version() -> None:
    empty = index_of("2025-01-02", {})
    found = find_duplicates(empty, index_of("2025-01-01", {"a": TEXT}).lazy(), GATE)
    assert (found.height, dict(found.schema)) == (0, MATCHES)
    assert relevant_version(empty, NOTHING) == relevant_version(empty, index_of("2025-01-01", {"a": TEXT}).lazy())


def test_entries_looked_up_once_serve_as_the_index() -> None:
    rng = random.Random(5)
    days = [_day(k, rng) for k in range(4)]
    earlier = pl.concat(days[:3]).lazy()
    entries = relevant_entries(days[3], earlier)
    assert 0 < entries.height < earlier.collect().height
    assert find_duplicates(days[3], entries.lazy(), GATE).equals(find_duplicates(days[3], earlier, GATE))
    assert relevant_version(days[3], entries.lazy()) == relevant_version(days[3], earlier)


def test_an_index_on_disk_is_looked_up_as_one_in_memory(tmp_path: Path) -> None:
    rng = random.Random(6)
    days = [_day(k, rng) for k in range(4)]
    for k, day in enumerate(days[:3]):
        day.write_parquet(tmp_path / f"{k}.parquet")
    scanned = pl.scan_parquet(tmp_path / "*.parquet")
    assert find_duplicates(days[3], scanned, GATE).equals(find_duplicates(days[3], pl.concat(days[:3]).lazy(), GATE))


@pytest.mark.parametrize("change", [{"shingle_words": 3}, {"num_permutations": 256}, {"near": False}])
def test_days_of_another_scheme_are_named_and_still_give_exact_matches(change: dict) -> None:
    other = DuplicateGate(**change)
    first = index_of("2025-01-01", {"a": TEXT, "b": FAR}, other)
    today = index_of("2025-01-02", {"x": TEXT, "y": " ".join(with_changes(FAR.split(), 1, seed=9))})
    index = pl.concat([first, today]).lazy()
    assert outdated_days(index, index_scheme(GATE)) == ["2025-01-01"]
    assert _found(today, first) == [("x", "duplicate", "2025-01-01", "a")]


def test_a_copy_under_another_scheme_does_not_hide_one_that_can_be_compared() -> None:
    old = index_of("2025-01-01", {"a": TEXT}, DuplicateGate(num_permutations=256))
    new = index_of("2025-01-02", {"b": TEXT})
    today = index_of("2025-01-03", {"c": TEXT, "d": NEAR})
    expected = [("c", "duplicate", "2025-01-01", "a"), ("d", "near_duplicate", "2025-01-02", "b")]
    assert _found(today, old, new) == expected


def test_the_version_changes_with_an_entry_that_matters_and_with_no_other() -> None:
    today = index_of("2025-01-09", {"x": TEXT, "y": FAR})
    first = index_of("2025-01-05", {"a": NEAR})
    version = relevant_version(today, first.lazy())
    unrelated = index_of("2025-01-04", {f"u{k}": " ".join(random_words(100, seed=100 + k)) for k in range(50)})
    later_copy = index_of("2025-01-06", {"c": NEAR})
    later_day = index_of("2025-01-10", {"d": TEXT})
    for added in (unrelated, later_copy, later_day):
        assert relevant_version(today, pl.concat([added, first]).lazy()) == version
    earlier_copy = index_of("2025-01-04", {"a": NEAR})
    exact = index_of("2025-01-06", {"e": TEXT})
    near_other = index_of("2025-01-06", {"e": " ".join(with_changes(FAR.split(), 1, seed=4))})
    versions = [relevant_version(today, pl.concat([first, new]).lazy()) for new in (earlier_copy, exact, near_other)]
    assert len({version, *versions}) == 4


def test_matches_are_those_of_brute_force() -> None:
    """Estimates are taken as given: what is tested is which candidates are compared and which of them wins."""
    rng = random.Random(11)
    days = [_day(k, rng) for k in range(5)]
    whole = pl.concat(days).sort("day", "trajectory_id")
    matrix = np.frombuffer(b"".join(whole["signature"]), dtype="<u4").reshape(whole.height, -1)
    bands = [set(keys) for keys in whole["bands"].to_list()]
    keys, hashes = whole.select("day", "trajectory_id").rows(), whole["exact_hash"].to_list()
    expected: dict[tuple[str, str], tuple] = {}
    for k, key in enumerate(keys):
        same = next((j for j in range(k) if hashes[j] == hashes[k]), None)
        alike = (j for j in range(k) if bands[j] & bands[k] and (matrix[j] == matrix[k]).mean() >= GATE.threshold)
        match = same if same is not None else next(alike, None)
        if match is not None:
            kind = "near_duplicate" if same is None else "duplicate"
            expected[key] = (kind, *keys[match], (matrix[match] == matrix[k]).mean())
    found: dict[tuple[str, str], tuple] = {}
    for k, day in enumerate(days):
        earlier = pl.concat(days[:k]).lazy() if k else NOTHING
        found |= {(day["day"][0], row[0]): row[1:] for row in find_duplicates(day, earlier, GATE).rows()}
    assert found == expected
    assert {kind for kind, *_ in expected.values()} == {"duplicate", "near_duplicate"}


def test_recall_and_precision_on_made_near_duplicates() -> None:
    texts, truth = {}, {}
    for k in range(300):
        base = random_words(300, seed=1000 + k)
        other = with_changes(base, 1 + k % 12, seed=k)
        texts |= {f"{k:03d}a": " ".join(base), f"{k:03d}b": " ".join(other)}
        truth[f"{k:03d}b"] = true_jaccard(base, other)
    found = {row[0]: row for row in find_duplicates(index_of("2025-01-01", texts), NOTHING, GATE).rows()}
    assert all(row[3] == name[:3] + "a" for name, row in found.items())
    clear = [name for name, value in truth.items() if value >= GATE.threshold + 0.05]
    wrong = [name for name in found if truth[name] < GATE.threshold - 0.1]
    assert len(clear) >= 50
    assert sum(name in found for name in clear) / len(clear) >= 0.99
    assert wrong == []


def test_a_crowd_of_near_copies_all_name_the_first() -> None:
    base = random_words(400, seed=2)
    texts = {}
    for k in range(2000):
        words = list(base)
        words[k % 400] = f"only{k}"
        texts[f"t{k:04d}"] = " ".join(words)
    found = find_duplicates(index_of("2025-01-01", texts), NOTHING, GATE)
    assert found["of_id"].unique().to_list() == ["t0000"]
    assert found.height == 1999


def _day(k: int, rng: random.Random) -> pl.DataFrame:
    """A day of thirty rows drawn from five families of related texts, ids in no order."""
    texts = {}
    for _ in range(30):
        family = rng.randrange(5)
        words = with_changes(random_words(80, seed=family), rng.randrange(4), seed=rng.randrange(3))
        texts[f"t{rng.randrange(10**6):06d}"] = " ".join(words)
    return index_of(f"2025-01-{k + 1:02d}", texts)


_FAMILIES = [
    " ".join(with_changes(random_words(60, seed=family), changes, seed=0))
    for family, changes in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0), (3, 4)]
]


@settings(max_examples=40, deadline=None)
@given(
    days=st.lists(st.lists(st.integers(0, len(_FAMILIES) - 1), min_size=1, max_size=4), min_size=2, max_size=5),
    data=st.data(),
)
def test_backfills_in_any_order_end_as_chronological_processing_does(
    days: list[list[int]], data: st.DataObject
) -> None:
    """Days land in a drawn order; whenever a version differs from the one a day was decided under, it is redone."""
    indexes = [
        index_of(f"2025-01-{k + 1:02d}", {f"{k}{j}": _FAMILIES[text] for j, text in enumerate(texts)})
        for k, texts in enumerate(days)
    ]
    chronological = [
        find_duplicates(rows, pl.concat(indexes[:k]).lazy() if k else NOTHING, GATE) for k, rows in enumerate(indexes)
    ]
    landed: dict[int, pl.DataFrame] = {}
    results: dict[int, pl.DataFrame] = {}
    versions: dict[int, str] = {}
    for k in data.draw(st.permutations(range(len(days)))):
        landed[k] = indexes[k]
        index = pl.concat(list(landed.values())).lazy()
        for day, rows in landed.items():
            version = relevant_version(rows, index)
            if versions.get(day) == version:
                assert find_duplicates(rows, index, GATE).equals(results[day])
                continue
            versions[day], results[day] = version, find_duplicates(rows, index, GATE)
    for k, expected in enumerate(chronological):
        assert results[k].equals(expected)


@pytest.mark.parametrize("earliest_only", [True, False])
def test_in_a_bucket_within_the_cap_every_open_pair_is_compared(*, earliest_only: bool) -> None:
    compared: list[tuple[int, int]] = []

    def compare(node: np.ndarray, other: np.ndarray) -> None:
        compared.extend(zip(node.tolist(), other.tolist(), strict=True))

    bucket = _bucket(20)
    compare_in_rounds(bucket, bucket, _always, compare, earliest_only=earliest_only)
    assert sorted(compared) == sorted((later, first) for first, later in combinations(range(20), 2))


def test_a_query_that_found_its_match_leaves_a_crowded_bucket() -> None:
    best = np.arange(5000)
    compared = 0

    def is_open(node: np.ndarray, other: np.ndarray) -> np.ndarray:
        return other < best[node]

    def compare(node: np.ndarray, other: np.ndarray) -> None:
        nonlocal compared
        compared += len(node)
        np.minimum.at(best, node, other)

    compare_in_rounds(_bucket(5000), _bucket(5000), is_open, compare, earliest_only=True)
    assert best.max() == 0
    assert compared <= 5000 * 8


def test_a_bucket_of_strangers_is_compared_up_to_the_cap() -> None:
    compared = 0

    def compare(node: np.ndarray, other: np.ndarray) -> None:
        nonlocal compared
        compared += len(node)
        assert other.max() < MAX_BUCKET_RANK

    compare_in_rounds(_bucket(1000), _bucket(1000), _always, compare, earliest_only=True)
    assert compared == sum(min(node, MAX_BUCKET_RANK) for node in range(1000))


def _bucket(size: int) -> pl.DataFrame:
    return pl.DataFrame({"key": [7] * size, "node": range(size)}, schema={"key": pl.UInt64, "node": pl.UInt32})


def _always(node: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.ones_like(node, dtype=bool) & np.ones_like(other, dtype=bool)
