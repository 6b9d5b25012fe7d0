"""Tasks that are nearly the same question, and the split each such cluster of tasks belongs to."""

from hashlib import blake2b

import numpy as np
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.config import DuplicateGate, SplitConfig
from pipeline.dedup.pairs import compare_in_rounds, similarity
from pipeline.dedup.signatures import band_keys, band_shape, signatures
from pipeline.dedup.words import hash_windows, hash_words, normalise, slices, split_words

CLUSTERS: dict[str, pl.DataType | type[pl.DataType]] = {"task_id": pl.String, "cluster_id": pl.String}
SPLITS: dict[str, pl.DataType | type[pl.DataType]] = {**CLUSTERS, "split": pl.String}

TASK_SHINGLE_WORDS = 2
"""Words in a shingle of a prompt: one changed word of a twenty-word question leaves 0.81 of its pairs, but would leave
0.60 of its runs of five."""


def cluster_tasks(tasks: pl.DataFrame, gate: DuplicateGate) -> pl.DataFrame:
    """The cluster of each task: tasks joined by a chain of prompts that resemble each other; named by its smallest id.

    Prompts equal but for case and white space are always together, prompts of an estimated Jaccard similarity of
    `gate.task_threshold` with the chance of `signatures.MIN_RECALL`. A task without a prompt is alone.

    Grain: one row per task_id, in order of task_id.
    Reads: task_id String, prompt String; of a task named twice one prompt counts, whatever the order.
    Writes: the columns of CLUSTERS.
    """
    tasks = tasks.select("task_id", prompt=normalise(pl.col("prompt"))).sort("task_id", "prompt", nulls_last=True)
    tasks = tasks.unique("task_id", keep="first", maintain_order=True)
    distinct = tasks.filter(pl.col("prompt").fill_null("") != "").select("prompt").unique(maintain_order=True)
    distinct = distinct.with_columns(group=pl.Series(_resembling(distinct["prompt"], gate), dtype=pl.UInt32))
    together = tasks.join(distinct, on="prompt", how="left", maintain_order="left")
    of_group = pl.col("task_id").min().over("group")
    cluster_id = pl.when(pl.col("group").is_null()).then("task_id").otherwise(of_group)
    return together.select("task_id", cluster_id=cluster_id)


def assign_splits(clusters: pl.DataFrame, previous: pl.DataFrame, config: SplitConfig) -> pl.DataFrame:
    """The split of each task: the one it has, else its cluster's, else train or val by a hash of the cluster.

    A new task beside any held-out task (whatever is not train) is val, so nothing near a held-out task ever trains.
    Give `clusters` every task that ever had a split: a held-out task left out cannot hold its neighbours out.

    Grain: one row per task, in the order of `clusters`.
    Reads: the columns of CLUSTERS; task_id String and split String of `previous`, one row per task.
    Writes: the columns of SPLITS.
    """
    joined = clusters.join(previous.select("task_id", "split"), on="task_id", how="left", maintain_order="left")
    names = joined["cluster_id"].unique()
    dealt = pl.DataFrame({"cluster_id": names, "dealt": [_deal(name, config) for name in names]})
    dealt = dealt.cast({"cluster_id": pl.String, "dealt": pl.String})
    is_train = pl.col("split") == "train"
    any_held_out, any_train = (~is_train).any().over("cluster_id"), is_train.any().over("cluster_id")
    of_cluster = pl.when(any_held_out).then(pl.lit("val")).when(any_train).then(pl.lit("train"))
    return (
        joined.join(dealt, on="cluster_id", how="left", maintain_order="left")
        .with_columns(split=pl.coalesce("split", of_cluster, "dealt"))
        .select(*SPLITS)
    )


def _deal(cluster_id: str, config: SplitConfig) -> str:
    """Train or val: the cluster's place in [0, 1) by a hash, below the held-out share or not."""
    digest = blake2b(f"{config.seed}:{cluster_id}".encode(), digest_size=8).digest()
    return "val" if int.from_bytes(digest, "big") < config.val_fraction * 2**64 else "train"


def _resembling(prompts: pl.Series, gate: DuplicateGate) -> np.ndarray:
    """A component number per prompt: prompts linked by a chain of similar pairs have the same."""
    if prompts.is_empty():
        return np.empty(0, dtype=np.uint32)
    shape = band_shape(gate.task_threshold, gate.num_permutations)
    matrices, has_words = [], []
    for part in slices(prompts):
        shingles, _ = hash_windows(hash_words(split_words(prompts[part])), TASK_SHINGLE_WORDS, short_whole=True)
        matrices.append(signatures(shingles, gate.num_permutations))
        has_words.append(shingles.counts > 0)
    matrix = np.concatenate(matrices)
    nodes = np.flatnonzero(np.concatenate(has_words)).astype(np.uint32)
    keys = pl.Series(band_keys(matrix[nodes], shape, "tasks")).arr.to_list()
    members = pl.DataFrame({"node": nodes, "key": keys}).explode("key")
    labels = np.arange(len(prompts), dtype=np.uint32)

    def is_open(node: np.ndarray, other: np.ndarray) -> np.ndarray:
        return labels[node] != labels[other]

    def compare(node: np.ndarray, other: np.ndarray) -> None:
        alike = similarity(matrix, node, other) >= gate.task_threshold
        left, right = labels[node[alike]], labels[other[alike]]
        links = coo_array((np.ones(len(left), dtype=bool), (left, right)), shape=(len(prompts), len(prompts)))
        labels[:] = connected_components(links, directed=False)[1][labels]

    compare_in_rounds(members, members, is_open, compare, earliest_only=False)
    return labels
