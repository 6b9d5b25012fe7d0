"""Clusters of nearly the same task, and the splits they share."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import DuplicateGate, SplitConfig
from pipeline.dedup.benchmarks import read_benchmark
from pipeline.dedup.clusters import CLUSTERS, SPLITS, assign_splits, cluster_tasks
from tests.pipeline.dedup.factories import random_words, with_changes

GATE = DuplicateGate()
HALF = SplitConfig(val_fraction=0.5)
DATA = Path(__file__).parents[4] / "shared" / "data"
LONG = (
    "Marissa is hiking a 12-mile trail. She took 1 hour to walk the first 4 miles, then another hour to walk {} miles."
)


def _clusters(prompts: Mapping[str, str | None]) -> dict[str, str]:
    tasks = pl.DataFrame(list(prompts.items()), schema={"task_id": pl.String, "prompt": pl.String}, orient="row")
    return dict(cluster_tasks(tasks, GATE).iter_rows())


def _splits(clusters: dict[str, str], previous: dict[str, str], config: SplitConfig = HALF) -> dict[str, str]:
    frame = pl.DataFrame(list(clusters.items()), schema=CLUSTERS, orient="row")
    held = pl.DataFrame(list(previous.items()), schema={"task_id": pl.String, "split": pl.String}, orient="row")
    found = assign_splits(frame, held, config)
    assert dict(found.schema) == SPLITS
    return dict(found.select("task_id", "split").iter_rows())


def test_tasks_that_differ_in_a_number_or_in_case_share_a_cluster_named_by_the_smallest_id() -> None:
    prompts = {
        "c": LONG.format("two"),
        "b": LONG.format("three"),
        "d": LONG.format("TWO"),
        "a": "How far is the moon?",
        "e": "How  far is the MOON?",
    }
    assert _clusters(prompts) == {"a": "a", "b": "b", "c": "b", "d": "b", "e": "a"}


def test_a_chain_of_resembling_tasks_is_one_cluster() -> None:
    chain = [random_words(60, seed=0)]
    for k in range(5):
        chain.append([*chain[-1][:10], *chain[-1][14:], *random_words(4, seed=50 + k)])
    found = _clusters({f"t{k}": " ".join(words) for k, words in enumerate(chain)})
    assert set(found.values()) == {"t0"}


@pytest.mark.parametrize("prompt", [None, "", "  ", "?!"])
def test_tasks_without_words_are_not_one_big_cluster(prompt: str | None) -> None:
    found = _clusters({"a": prompt, "b": "How far is the moon?", "c": f"{prompt or ''} ..."})
    assert found == {"a": "a", "b": "b", "c": "c"}


def test_tasks_without_a_prompt_are_alone() -> None:
    assert _clusters({"b": None, "a": None, "c": "", "d": " "}) == {"a": "a", "b": "b", "c": "c", "d": "d"}


def test_a_task_named_twice_has_one_cluster_whatever_the_order_of_rows() -> None:
    rows = [("b", "How far is the moon?"), ("a", "How far is the sun from here?"), ("b", None), ("b", "Who is it?")]
    tasks = pl.DataFrame(rows, schema=["task_id", "prompt"], orient="row")
    expected = [("a", "a"), ("b", "b")]
    assert cluster_tasks(tasks, GATE).rows() == expected
    assert cluster_tasks(tasks.reverse(), GATE).rows() == expected


def test_no_task_no_cluster() -> None:
    assert cluster_tasks(pl.DataFrame(schema={"task_id": pl.String, "prompt": pl.String}), GATE).is_empty()
    assert _splits({}, {}) == {}


def test_clusters_do_not_depend_on_the_order_of_tasks() -> None:
    prompts = {f"t{k:03d}": " ".join(with_changes(random_words(30, seed=k % 20), k % 3, seed=k)) for k in range(200)}
    found = _clusters(prompts)
    assert _clusters(dict(reversed(prompts.items()))) == found
    assert len(set(found.values())) == 20


@pytest.mark.parametrize(
    ("previous", "new_task"),
    [
        ({"a": "train"}, "train"),
        ({"a": "val"}, "val"),
        ({"a": "test"}, "val"),
        ({"a": "train", "b": "val"}, "val"),
        ({"z": "val"}, None),
    ],
)
def test_a_new_task_joins_the_held_out_side_of_its_cluster(previous: dict[str, str], new_task: str | None) -> None:
    clusters = {"a": "a", "b": "a", "n": "a"}
    found = _splits(clusters, previous)
    assert found["n"] == (new_task or _splits({"a": "a"}, {})["a"])
    for task, split in previous.items():
        assert found.get(task, split) == split


def test_the_share_of_held_out_clusters_is_the_configured_one_and_the_seed_deals_anew() -> None:
    clusters = {f"t{k}": f"t{k}" for k in range(4000)}
    held = [
        {
            task
            for task, split in _splits(clusters, {}, SplitConfig(val_fraction=0.05, seed=seed)).items()
            if split == "val"
        }
        for seed in (0, 1)
    ]
    assert all(140 < len(tasks) < 260 for tasks in held)
    assert held[0] != held[1]
    assert set(_splits(clusters, {}, SplitConfig(val_fraction=0.0)).values()) == {"train"}


@settings(max_examples=60, deadline=None)
@given(
    waves=st.lists(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 3)), max_size=8), min_size=1, max_size=4),
    seed=st.integers(0, 3),
)
def test_no_task_changes_sides_and_clusters_dealt_at_once_are_never_split(
    waves: list[list[tuple[int, int]]], seed: int
) -> None:
    """Tasks arrive in waves; each has a fixed family, and its cluster is the smallest id of the family so far."""
    config = SplitConfig(val_fraction=0.5, seed=seed)
    family: dict[str, int] = {}
    splits: dict[str, str] = {}
    for wave in waves:
        for number, kind in wave:
            family.setdefault(f"t{number:02d}", kind)
        clusters = {task: min(t for t in family if family[t] == kind) for task, kind in sorted(family.items())}
        found = _splits(clusters, splits, config)
        assert found.keys() == family.keys()
        assert all(found[task] == split for task, split in splits.items())
        splits = found
        for kind in set(family.values()):
            assert len({splits[task] for task in family if family[task] == kind}) == 1


@pytest.mark.parametrize(
    ("path", "num_tasks", "most_in_clusters"),
    [("gsm8k/grade_school_math/data/test.jsonl", 1319, 10), ("math_prompts/math_test.jsonl", 5000, 300)],
)
def test_real_question_sets_make_no_giant_cluster(path: str, num_tasks: int, most_in_clusters: int) -> None:
    if not (DATA / path).exists():
        pytest.skip("../shared/data is absent")
    questions = read_benchmark(DATA / path)
    tasks = questions.select(task_id=pl.col("item").cast(pl.String), prompt="text")
    sizes = cluster_tasks(tasks, GATE)["cluster_id"].value_counts()["count"]
    assert sizes.sum() == num_tasks
    assert max(sizes.to_list()) <= 12
    assert sizes.filter(sizes > 1).sum() <= most_in_clusters
