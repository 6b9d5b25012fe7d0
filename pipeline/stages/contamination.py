"""The gate on overlap with benchmarks."""

import numpy as np
import polars as pl

from pipeline.dedup.words import HashedWords, hash_windows, hash_words, slices, split_words
from pipeline.frames import mark
from pipeline.reasons import Reason

_EVIDENCE = pl.Struct({"benchmark": pl.String, "item": pl.UInt32, "ngram": pl.String})


def mark_contaminated(trajectories: pl.LazyFrame, benchmark_ngrams: pl.DataFrame) -> pl.LazyFrame:
    """Mark trajectories whose prompt shares an n-gram of words with a benchmark question.

    A trajectory without a prompt passes: it asks nothing a benchmark asks. With no n-grams nothing is read.

    Grain: one row per trajectory, kept, in order.
    Reads: prompt String; reason, evidence; `benchmark_ngrams` as `benchmarks.benchmark_ngrams` gives it.
    Writes: reason `contaminated`; evidence: benchmark, item (its index in the file), ngram (the shared words).
    """
    if benchmark_ngrams.is_empty():
        return trajectories

    def overlap(prompts: pl.Series) -> pl.Series:
        return find_overlaps(prompts, benchmark_ngrams)

    found = pl.col("prompt").map_batches(overlap, return_dtype=_EVIDENCE, is_elementwise=True)
    marked = trajectories.with_columns(_overlap=found)
    return mark(marked, pl.col("_overlap").is_not_null(), Reason.CONTAMINATED, evidence=pl.col("_overlap")).drop(
        "_overlap"
    )


def find_overlaps(prompts: pl.Series, benchmark_ngrams: pl.DataFrame) -> pl.Series:
    """For each prompt a struct (benchmark, item, ngram) of the first n-gram it shares, null where it shares none.

    First is the smallest position in the prompt, then the longer n-gram.
    """
    if benchmark_ngrams.is_empty():
        return pl.Series(prompts.name, [None] * len(prompts), dtype=_EVIDENCE)
    parts = [_overlaps_of(prompts[part], benchmark_ngrams) for part in slices(prompts)]
    return pl.concat(parts).alias(prompts.name) if parts else pl.Series(prompts.name, [], dtype=_EVIDENCE)


def _overlaps_of(prompts: pl.Series, benchmark_ngrams: pl.DataFrame) -> pl.Series:
    words = split_words(prompts)
    hashed = hash_words(words)
    sizes = benchmark_ngrams["num_words"].unique().sort(descending=True)
    hits = pl.concat([_hits(hashed, size, benchmark_ngrams) for size in sizes])
    first = hits.sort("start", pl.col("num_words").neg()).unique("row", keep="first", maintain_order=True)
    shared = pl.col("words").list.slice("start", "num_words").list.join(" ")
    told = first.with_columns(words=words.gather(first["row"])).select(
        "row", overlap=pl.struct("benchmark", "item", ngram=shared)
    )
    rows = pl.DataFrame({"row": np.arange(len(prompts), dtype=np.int64)})
    return rows.join(told, on="row", how="left", maintain_order="left")["overlap"].cast(_EVIDENCE)


def _hits(hashed: HashedWords, size: int, benchmark_ngrams: pl.DataFrame) -> pl.DataFrame:
    """The windows of `size` words that a benchmark holds: row, start (in words of the row), benchmark, item."""
    windows, starts = hash_windows(hashed, size, short_whole=False)
    row = np.repeat(np.arange(len(hashed.counts), dtype=np.int64), windows.counts)
    frame = pl.DataFrame({"ngram": windows.hashes, "row": row, "start": starts - hashed.offsets[row]})
    wanted = benchmark_ngrams.filter(pl.col("num_words") == size)
    joined = frame.join(wanted, on="ngram")
    return joined.select("row", "start", pl.col("num_words").cast(pl.Int64), "benchmark", "item")
