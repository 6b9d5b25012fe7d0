"""Cheap features of prompts for reinforcement learning: how they read, what they lack, how they can be checked.

Counts are log(1 + count), shares and flags run from 0 to 1. Nothing is null: each phrase says what a missing thing
becomes.
"""

import polars as pl

from pipeline.judging.feature_tables import share_in
from pipeline.judging.text_marks import (
    CODE,
    WHOLE_END,
    clipped,
    has,
    length_words,
    names,
    numbers,
    rate,
    ratio,
    size,
    words,
)

ASKS = (
    r"(?i)\?|^\s*(?:please\s+)?(?:find|compute|calculate|determine|evaluate|solve|prove|show|give|list|name|write|count|tell"
    r"|convert|simplify|express|explain|describe|translate|what|who|when|where|why|how|which)\b"
)
POINTS_AT_IMAGE = r"(?i)\b(?:image|picture|photo\w*|figure|diagram|screenshot|chart|graph|map|drawing|plot)s?\b"
POINTS_AWAY = (
    r"(?i)\b(?:above|below|attached|following|previous(?:ly)?|earlier|aforementioned|see (?:the )?(?:table|link|file)"
    r"|this (?:passage|text|article|document|file|table|paragraph))\b"
)
VAGUE = (
    r"(?i)\b(?:best|better|good|nice|interesting|some|several|etc|recent(?:ly)?|latest|current(?:ly)?|today|now"
    r"|popular)\b"
)
BLANKS = r"_{2,}|\[(?:blank|mask|\.\.\.|missing|insert[^\]]*|todo)\]|<(?:blank|mask|missing)>|\{\{?\w*\}?\}|\?\?\?|�"
CHOICES = r"(?m)(?:^|\s)\(?[A-Ea-e][).:]\s+\S"
NUMERIC = r"^\W{0,3}[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?\s*%?\W{0,3}$"
YES_NO = r"(?i)^\W*(?:yes|no|true|false|[a-e])\W*$"

PROMPT_FEATURES = {
    "prompt_chars": "length of the prompt",
    "prompt_words": "its words",
    "prompt_lines": "its lines",
    "num_numbers": "numbers in it",
    "num_names": "different capitalised words in it",
    "num_images": "images with it",
    "num_tools_declared": "tools declared; 0 where none are, or not readably",
    "num_questions": "question marks in it",
    "asks": "1 where it asks or commands anything",
    "ends_whole": "1 where it ends as whole texts do",
    "has_blanks": "1 where it holds a placeholder or a broken character",
    "has_choices": "1 where it lists choices",
    "has_code": "1 where it holds code",
    "has_link": "1 where it holds a link",
    "misses_image": "1 where it speaks of an image and has none",
    "unspoken_image": "1 where it has an image and does not speak of one",
    "points_away_rate": "words that point at something outside the prompt, per hundred",
    "vague_rate": "words without one meaning, per hundred",
    "open_brackets": "brackets and quotes opened and not closed, or closed and not opened",
    "odd_characters": "share of characters that are neither letters, digits, space nor common signs; 0 without any",
    "variety": "share of words that are different and of four letters or more; 1 without any",
    "foreign_letters": "share of bytes that characters outside ASCII take beyond one; 0 without any",
    "has_truth": "1 where a ground truth is recorded",
    "truth_chars": "length of the ground truth",
    "truth_words": "words of the ground truth",
    "truth_is_number": "1 where the ground truth is a number",
    "truth_is_choice": "1 where the ground truth is yes, no or a letter",
    "truth_has_code": "1 where the ground truth holds code",
    "truth_in_prompt": "1 where the ground truth stands in the prompt word by word; 0.5 without one",
    "truth_words_in_prompt": "share of the ground truth's words that stand in the prompt; 0 without any",
    "num_attempts": "attempts of the day",
    "share_correct": "share of them recorded as right, half an attempt of either kind added; 0.5 without any",
}
"""Name to what it says, in the order of the columns."""


def prompt_features(rows: pl.DataFrame) -> pl.DataFrame:
    """`subject_id` (the task_id), then the columns of PROMPT_FEATURES, Float64 without null or NaN.

    Grain: one row per prompt, kept, in order.
    Reads: PROMPTS: task_id, prompt, ground_truth, tools, images, num_attempts, num_correct.
    """
    table = rows.select(
        "task_id",
        "tools",
        "num_attempts",
        "num_correct",
        text=clipped(pl.col("prompt")),
        truth=clipped(pl.col("ground_truth")).str.strip_chars(),
        images=pl.col("images").list.len().fill_null(0),
    )
    found = {**_shape(), **_faults(), **_truth()}
    return table.select(
        pl.col("task_id").alias("subject_id"),
        *(found[name].cast(pl.Float64).alias(name) for name in PROMPT_FEATURES),
    )


def _shape() -> dict[str, pl.Expr]:
    text = pl.col("text")
    length = text.str.len_bytes()
    return {
        "prompt_chars": size(text.str.len_chars()),
        "prompt_words": size(length_words(text)),
        "prompt_lines": size(text.str.count_matches(r"\n")),
        "num_numbers": size(numbers(text).list.len()),
        "num_names": size(names(text).list.len()),
        "num_images": size(pl.col("images")),
        "num_tools_declared": size(pl.col("tools").str.count_matches(r'"(?:parameters|input_schema)"\s*:')),
        "num_questions": size(text.str.count_matches(r"\?")),
        "has_choices": has(text, CHOICES),
        "has_code": has(text, CODE),
        "has_link": has(text, r"https?://"),
        "variety": ratio(words(text).list.len(), length_words(text), empty=1.0).clip(0, 1),
        "foreign_letters": ratio(length - text.str.len_chars(), length, empty=0.0),
    }


def _faults() -> dict[str, pl.Expr]:
    text = pl.col("text")
    has_image = pl.col("images") > 0
    speaks = text.str.contains(POINTS_AT_IMAGE)
    pairs = (("(", ")"), ("[", "]"), ("{", "}"))
    count = {sign: text.str.count_matches(sign, literal=True).cast(pl.Int64) for pair in pairs for sign in pair}
    opened = [(count[left] - count[right]).abs() for left, right in pairs]
    odd = text.str.count_matches(
        r"[^\p{L}\p{N}\s.,;:!?()\[\]{}'\"+*/=<>%$#@&|^_~`\\\-\x{2013}\x{2014}\x{2026}\x{2018}\x{2019}\x{201C}\x{201D}]"
    )
    return {
        "asks": has(text, ASKS),
        "ends_whole": has(text, WHOLE_END),
        "has_blanks": has(text, BLANKS),
        "misses_image": speaks & ~has_image,
        "unspoken_image": has_image & ~speaks,
        "points_away_rate": rate(text, POINTS_AWAY, length_words(text)),
        "vague_rate": rate(text, VAGUE, length_words(text)),
        "open_brackets": size(pl.sum_horizontal(*opened, text.str.count_matches('"') % 2)),
        "odd_characters": ratio(odd, text.str.len_chars(), empty=0.0),
    }


def _truth() -> dict[str, pl.Expr]:
    truth, attempts = pl.col("truth"), pl.col("num_attempts").fill_null(0)
    known = truth != ""
    stands = pl.col("text").str.contains(truth, literal=True)
    return {
        "has_truth": known,
        "truth_chars": size(truth.str.len_chars()),
        "truth_words": size(length_words(truth)),
        "truth_is_number": has(truth, NUMERIC),
        "truth_is_choice": has(truth, YES_NO),
        "truth_has_code": has(truth, CODE),
        "truth_in_prompt": pl.when(known).then(stands.cast(pl.Float64)).fill_null(0.5),
        "truth_words_in_prompt": share_in(words(truth), words(pl.col("text")), empty=0.0),
        "num_attempts": size(attempts),
        "share_correct": ((pl.col("num_correct").fill_null(0) + 0.5) / (attempts + 1.0)).clip(0, 1),
    }
