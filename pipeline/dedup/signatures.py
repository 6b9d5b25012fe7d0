"""The duplicate index of a day: per row an exact hash, a MinHash signature, and the band keys near duplicates share."""

from hashlib import blake2b

import numpy as np
import polars as pl
from rensa import RMinHash  # pyright: ignore[reportAttributeAccessIssue] - rensa has no stubs

from pipeline.config import DuplicateGate
from pipeline.dedup.words import HashedWords, fold, hash_windows, hash_words, normalise, slices, split_words

INDEX: dict[str, pl.DataType | type[pl.DataType]] = {
    "trajectory_id": pl.String,
    "day": pl.String,
    "exact_hash": pl.Binary,
    "bands": pl.List(pl.UInt64),
    "signature": pl.Binary,
    "scheme": pl.String,
}
"""One row per trajectory still in. `signature` is uint32 [P], little-endian, null (and `bands` empty) for a text
without words; `exact_hash` is null for a text without anything. `scheme` names how the bands were made: only rows of
one scheme can share a band."""

MIN_RECALL = 0.99
"""Chance that a pair exactly at the threshold shares a band."""

_SEED = 42
_EXACT_BYTES = 16


def band_shape(threshold: float, num_permutations: int, min_recall: float = MIN_RECALL) -> tuple[int, int]:
    """Bands and rows a band, the rows as many as keep the chance of meeting at `threshold` at `min_recall` or more.

    Two texts of similarity s agree in a slot of the signature with chance s, in all r rows of a band with s**r, and
    in at least one of b bands with 1 - (1 - s**r)**b. More rows mean fewer strangers to compare. With the defaults:
    16 bands of 8 rows, 0.994 at 0.85 and 0.06 at 0.5.

    Raises: nothing; a threshold too low for any shape gets bands of one row.
    Source: Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, section 3.4.
    """
    for rows in range(num_permutations, 1, -1):
        bands = num_permutations // rows
        if 1 - (1 - threshold**rows) ** bands >= min_recall:
            return bands, rows
    return num_permutations, 1


def index_scheme(gate: DuplicateGate) -> str:
    """What two rows must have in common for their bands to be comparable: the signature's making, in one word."""
    bands, rows = band_shape(gate.threshold, gate.num_permutations)
    if not gate.near:
        return "exact"
    return f"rminhash{RMinHash.ALGORITHM_VERSION}-words{gate.shingle_words}-bands{bands}x{rows}"


def fingerprint(texts: pl.DataFrame, day: str, gate: DuplicateGate) -> pl.DataFrame:
    """The index rows of one day, in the order of `texts`; they depend on these texts and the gate, on nothing else.

    Texts that differ only in case or white space share the exact hash. Images take part: the same words about another
    image are neither a duplicate nor a near duplicate.

    Grain: one row per row of `texts`.
    Reads: trajectory_id String; text String; images String (`fingerprint.image_references`).
    Writes: the columns of INDEX.
    """
    scheme = index_scheme(gate)
    shape = band_shape(gate.threshold, gate.num_permutations)
    parts = [_fingerprint_slice(texts[part], gate, shape, scheme) for part in slices(texts["text"])]
    empty = pl.DataFrame(schema=INDEX)
    if not parts:
        return empty
    return pl.concat(parts).with_columns(day=pl.lit(day), scheme=pl.lit(scheme)).select(*INDEX)


def signatures(shingles: HashedWords, num_permutations: int) -> np.ndarray:
    """MinHash signatures, uint32 [len(texts), num_permutations]; the row of a text without shingles means nothing."""
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(
        shingles.hashes, shingles.offsets.astype(np.uint64), num_perm=num_permutations, seed=_SEED
    )
    return np.array(matrix.to_rows(), dtype=np.uint32).reshape(len(shingles.counts), num_permutations)


def band_keys(matrix: np.ndarray, shape: tuple[int, int], salt: str) -> np.ndarray:
    """Band keys, uint64 [N, bands], of signatures uint32 [N, P]; keys of different bands or salts never agree."""
    bands, rows = shape
    start = np.frombuffer(blake2b(salt.encode(), digest_size=8).digest(), dtype="<u8")[0]
    keys = np.empty((len(matrix), bands), dtype=np.uint64)
    for band in range(bands):
        columns = matrix[:, band * rows : (band + 1) * rows].astype(np.uint64)
        keys[:, band] = fold(columns, np.full(len(matrix), start ^ np.uint64(band), dtype=np.uint64))
    return keys


def _fingerprint_slice(texts: pl.DataFrame, gate: DuplicateGate, shape: tuple[int, int], scheme: str) -> pl.DataFrame:
    normal = texts.select(text=normalise(pl.col("text").fill_null("")))["text"]
    salts = _image_salts(texts["images"])
    exact = [
        blake2b(text.encode(), digest_size=_EXACT_BYTES, salt=salt).digest() if text or salt else None
        for text, salt in zip(normal.to_list(), salts, strict=True)
    ]
    frame = texts.select("trajectory_id").with_columns(exact_hash=pl.Series(exact, dtype=pl.Binary))
    if not gate.near:
        none = {"bands": pl.lit([], pl.List(pl.UInt64)), "signature": pl.lit(None, pl.Binary)}
        return frame.with_columns(**none)
    words = hash_words(split_words(normal))
    salt = np.frombuffer(b"".join(salt.ljust(8, b"\0")[:8] for salt in salts), dtype="<u8")
    words = HashedWords(words.hashes ^ np.repeat(salt, words.counts), words.offsets)
    shingles, _ = hash_windows(words, gate.shingle_words, short_whole=True)
    matrix = signatures(shingles, gate.num_permutations)
    has_words = pl.Series(shingles.counts > 0)
    keys = pl.Series(band_keys(matrix, shape, scheme)).arr.to_list()
    raw = matrix.astype("<u4").tobytes()
    width = 4 * gate.num_permutations
    signature = pl.Series([raw[k : k + width] for k in range(0, len(raw), width)], dtype=pl.Binary)
    return frame.with_columns(
        bands=pl.when(has_words).then(keys).otherwise(pl.lit([], pl.List(pl.UInt64))),
        signature=pl.when(has_words).then(signature),
    )


def _image_salts(images: pl.Series) -> list[bytes]:
    """Sixteen bytes per row that name its images, none where it has none."""
    return [blake2b(text.encode(), digest_size=16).digest() if text else b"" for text in images.to_list()]
