"""Index frames out of plain texts."""

import random
from collections.abc import Mapping

import polars as pl

from pipeline.config import DuplicateGate
from pipeline.dedup.signatures import fingerprint

GATE = DuplicateGate()


def index_of(day: str, texts: Mapping[str, str | None], gate: DuplicateGate = GATE, images: str = "") -> pl.DataFrame:
    """The index of a day whose rows are `texts`, by trajectory_id."""
    return fingerprint(text_frame(texts, images), day, gate)


def text_frame(texts: Mapping[str, str | None], images: str = "") -> pl.DataFrame:
    """The frame `fingerprint` reads."""
    schema = {"trajectory_id": pl.String, "text": pl.String}
    frame = pl.DataFrame({"trajectory_id": list(texts), "text": list(texts.values())}, schema=schema)
    return frame.with_columns(images=pl.lit(images))


def random_words(num_words: int, seed: int) -> list[str]:
    """Words of a vocabulary large enough that two texts share hardly a shingle by chance."""
    dice = random.Random(seed)
    return [f"w{dice.randrange(5000)}" for _ in range(num_words)]


def with_changes(words: list[str], num_changes: int, seed: int) -> list[str]:
    """The words with `num_changes` of them, evenly spread, replaced."""
    changed = list(words)
    for k in range(num_changes):
        changed[(k * len(words)) // num_changes + 3] = f"changed{seed}x{k}"
    return changed


def true_jaccard(left: list[str], right: list[str], size: int = 5) -> float:
    """The Jaccard similarity of the sets of word shingles, by sets."""
    a = {tuple(left[k : k + size]) for k in range(len(left) - size + 1)}
    b = {tuple(right[k : k + size]) for k in range(len(right) - size + 1)}
    return len(a & b) / len(a | b)
