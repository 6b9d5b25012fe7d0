"""Candidate pairs of signatures: who shares a band, compared in rounds so that a crowded band stays affordable."""

from collections.abc import Callable

import numpy as np
import polars as pl

MAX_BUCKET_RANK = 128
"""Members of one band bucket, the earliest, that a later member is compared to. Only a bucket of more than this many
*different* signatures is cut: boilerplate long enough to share a band and too short to be a near duplicate."""

_ROUND = 8
_CHUNK = 32_768


def similarity(matrix: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Estimated Jaccard similarity of rows `left` and `right` of `matrix` (uint32 [N, P]): float64 [len(left)].

    The estimate of a pair of similarity s has a standard deviation of at most sqrt(s (1 - s) / P).
    """
    found = np.empty(len(left), dtype=np.float64)
    for start in range(0, len(left), _CHUNK):
        part = slice(start, start + _CHUNK)
        found[part] = np.count_nonzero(matrix[left[part]] == matrix[right[part]], axis=1) / matrix.shape[1]
    return found


def compare_in_rounds(
    members: pl.DataFrame,
    queries: pl.DataFrame,
    is_open: Callable[[np.ndarray, np.ndarray], np.ndarray],
    compare: Callable[[np.ndarray, np.ndarray], None],
    *,
    earliest_only: bool,
) -> None:
    """Hand `compare` the pairs (query, earlier member) that share a key, the earliest members of each key first.

    Before each round `is_open(queries, members)` says which pairs are still worth a look. With `earliest_only` a query
    leaves a bucket at the first member that is not: what follows there is later still, so a bucket of ten thousand
    near copies costs a few comparisons each.

    Reads: key UInt64 and node UInt32 (smaller is earlier) of both frames.
    """
    crowded = members.filter(pl.len().over("key") > 1).sort("key", "node")
    crowded = crowded.with_columns(rank=pl.int_range(pl.len(), dtype=pl.UInt32).over("key"))
    crowded = crowded.filter(pl.col("rank") < MAX_BUCKET_RANK)
    waiting = queries
    for first in range(0, MAX_BUCKET_RANK, _ROUND):
        heads = crowded.filter(pl.col("rank") == first).select("key", head="node")
        waiting = waiting.join(heads, on="key").filter(pl.col("head") < pl.col("node"))
        if earliest_only:
            waiting = waiting.filter(is_open(waiting["node"].to_numpy(), waiting["head"].to_numpy()))
        waiting = waiting.drop("head")
        if waiting.is_empty():
            return
        block = crowded.filter(pl.col("rank").is_between(first, first + _ROUND - 1)).select("key", other="node")
        pairs = waiting.join(block, on="key").filter(pl.col("other") < pl.col("node")).select("node", "other").unique()
        node, other = pairs["node"].to_numpy(), pairs["other"].to_numpy()
        still = is_open(node, other)
        compare(node[still], other[still])
