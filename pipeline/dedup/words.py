"""Texts as hashed words and hashed windows of words, the same on every machine and under every library version."""

from collections.abc import Iterator
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import polars as pl

_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
_WORD = rf"{_UNSPACED}|[\w--{_UNSPACED}]+"
"""A run of letters, digits and underscores; in scripts written without spaces each character is a word."""

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_SLICE_BYTES = 16 * 2**20
_ROW_BYTES = 2048  # what a signature costs while it is made, however short its text


class HashedWords(NamedTuple):
    """Hashes of several texts end to end: `hashes: uint64 [N]`, text k at `[offsets[k], offsets[k + 1])`."""

    hashes: np.ndarray
    offsets: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """Number of hashes of each text."""
        return np.diff(self.offsets)


def normalise(text: pl.Expr) -> pl.Expr:
    """The text in lower case, each run of white space one space, none at the ends."""
    return text.str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars(" ")


def split_words(texts: pl.Series) -> pl.Series:
    """The words of each text in lower case, punctuation dropped; an empty list where the text is null."""
    return texts.str.to_lowercase().str.extract_all(_WORD).fill_null([])


def hash_words(words: pl.Series) -> HashedWords:
    """Hash every word of the lists in `words`, each distinct word once."""
    offsets = np.zeros(len(words) + 1, dtype=np.int64)
    np.cumsum(words.list.len().to_numpy(), out=offsets[1:])
    flat = words.explode(empty_as_null=False).to_arrow(compat_level=pl.CompatLevel.oldest()).dictionary_encode()
    digests = b"".join(blake2b(word.encode(), digest_size=8).digest() for word in flat.dictionary.to_pylist())
    codes = flat.indices.to_numpy(zero_copy_only=False)
    return HashedWords(np.frombuffer(digests, dtype="<u8")[codes], offsets)


def hash_windows(words: HashedWords, size: int, *, short_whole: bool) -> tuple[HashedWords, np.ndarray]:
    """Hash every window of `size` consecutive words; also give the position in `words.hashes` where each starts.

    A text of fewer words has no window, or with `short_whole` one window of all its words. The size is part of the
    hash, so a window never equals one of another size.
    """
    ends = np.repeat(words.offsets[1:], words.counts)
    starts = np.flatnonzero(np.arange(len(words.hashes)) + size <= ends)
    hashes = _combine(words.hashes, starts, size)
    counts = np.maximum(words.counts - size + 1, 0)
    if short_whole:
        for length in np.unique(words.counts[(words.counts > 0) & (words.counts < size)]):
            of_length = words.offsets[:-1][words.counts == length]
            places = np.searchsorted(starts, of_length)
            starts = np.insert(starts, places, of_length)
            hashes = np.insert(hashes, places, _combine(words.hashes, of_length, int(length)))
        counts = np.where((words.counts > 0) & (words.counts < size), 1, counts)
    offsets = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=offsets[1:])
    return HashedWords(hashes, offsets), starts


def mix(values: np.ndarray) -> np.ndarray:
    """Spread uint64 values so that every input bit reaches every output bit.

    Source: the finalizer of SplitMix64, doi:10.1145/2660193.2660195.
    """
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def fold(columns: np.ndarray, start: np.ndarray) -> np.ndarray:
    """One uint64 per row of `columns` (uint64 [N, K]) that depends on the order of the K values and on `start`."""
    folded = start
    for column in columns.T:
        folded = mix(folded * _MULTIPLIER + column)
    return folded


def slices(texts: pl.Series) -> Iterator[slice]:
    """Runs of texts of bounded bytes in all, so that what is made of one run stays small; a run is never empty."""
    if texts.is_empty():
        return
    run = (texts.str.len_bytes().fill_null(0).cast(pl.UInt64) + _ROW_BYTES).cum_sum() // _SLICE_BYTES
    start = 0
    for length in run.rle().struct.field("len"):
        yield slice(start, start + length)
        start += length


def _combine(hashes: np.ndarray, starts: np.ndarray, size: int) -> np.ndarray:
    combined = np.full(len(starts), size, dtype=np.uint64)
    for shift in range(size):
        combined = combined * _MULTIPLIER + hashes[starts + shift]
    return mix(combined)
