"""Cheap features of trajectories: what a careful reader would count before reading.

No recorded outcome is read (reward, success, ground_truth, metadata), so a feature means the same on a row nobody
graded. Counts are log(1 + count), shares and flags run from 0 to 1. Nothing is null: each phrase says what a missing
thing becomes.
"""

import polars as pl

from pipeline.judging.feature_tables import feature_table, share_in
from pipeline.judging.text_marks import (
    APOLOGISES,
    CODE,
    CONCLUDES,
    FAILED,
    GIVES_UP,
    HEDGES,
    NEGATES,
    NOTHING,
    TURNS_AROUND,
    WHOLE_END,
    has,
    rate,
    ratio,
    size,
)

TRAJECTORY_FEATURES = {
    "num_turns": "assistant messages",
    "num_calls": "tool calls",
    "num_tools_called": "different tools called",
    "num_tools_declared": "tools declared; 0 where none are, or not readably",
    "num_images": "images in messages",
    "task_chars": "length of the task",
    "reply_chars": "length of the reply: the last thing the assistant said",
    "answer_chars": "length of the final answer; the reply's where none is recorded",
    "thought_chars": "length of all the assistant thought and said before the reply",
    "argument_chars": "length of all arguments",
    "observation_chars": "length of all observations",
    "calls_nothing": "1 where no tool is called",
    "share_failed": "share of observations that tell of a failure; 0 without any",
    "share_empty": "share of observations that tell nothing; 0 without any",
    "share_unanswered": "share of calls nothing came back for; 0 without any",
    "share_repeated": "share of calls made before, same tool and arguments; 0 without any",
    "share_repaired": "share of observations that replay replaced by the true one; 0 without any",
    "last_failed": "1 where the last observation tells of a failure",
    "last_empty": "1 where the last observation tells nothing",
    "arguments_unseen": "share of a call's numbers and words that nobody had told before it, mean of calls; 0 without",
    "call_unseen": "the same of the call with the largest share",
    "arguments_from_task": "share of the arguments' words that stand in the task; 1 without any",
    "task_numbers_asked": "share of the task's numbers that stand in arguments; 1 without any",
    "task_words_asked": "share of the task's words that stand in arguments; 1 without any",
    "observations_used": "share of observations whose news come up later; 1 without news",
    "last_used": "1 where the last observation's news come up later; 1 without news",
    "num_numbers": "numbers in the reply",
    "numbers_observed": "share of the reply's numbers that stand in observations; 1 without any",
    "numbers_nowhere": "share of the reply's numbers in neither task, arguments nor observations; 0 without any",
    "answer_observed": "1 where the answer's last number stands in an observation; 0.5 without a number",
    "answer_in_last": "1 where it stands in the last observation; 0.5 where either has no number",
    "answer_is_last": "1 where it is the last number of the last observation; 0.5 where either has none",
    "answer_in_task": "1 where it stands in the task; 0.5 without a number",
    "answer_gap": "log10 of its relative distance to the nearest number observed, -6 to 0; 1 with none to compare",
    "answer_text_observed": "1 where the final answer stands in observations word by word; 0.5 without one",
    "answer_in_reply": "1 where the final answer stands in the reply word by word; 0.5 without one",
    "names_known": "share of the reply's capitalised words that stand in task or observations; 1 without any",
    "words_known": "share of the reply's words that stand in task, arguments or observations; 1 without any",
    "words_observed": "share of the reply's words that stand in observations; 1 without any",
    "words_from_task": "share of the reply's words that stand in the task; 0 without any",
    "task_words_answered": "share of the task's words that stand in the reply; 0 without any",
    "task_words_treated": "share of the task's words in anything the assistant thought, asked or said; 0 without any",
    "task_numbers_treated": "share of the task's numbers in arguments or reply; 1 without any",
    "first_thought_known": "share of the first thought's words that stand in the task or its own call; 0.5 without any",
    "thought_known": "share of the words of all thoughts in task, arguments or observations; 0.5 without any",
    "gives_up": "1 where the reply gives up",
    "apologises": "1 where the reply apologises",
    "hedge_rate": "hedging words per hundred of the reply",
    "turn_rate": "words that take something back, per hundred of the reply",
    "thought_turn_rate": "the same of what was thought and said before the reply",
    "negation_rate": "negations per hundred words of the reply",
    "thought_negation_rate": "the same of what was thought and said before the reply",
    "conclusion_rate": "concluding words per hundred of the reply",
    "asks_back": "1 where the reply ends in a question",
    "variety": "share of the reply's words that are different and of four letters or more; 1 without any",
    "has_answer": "1 where a final answer is recorded",
    "has_reply": "1 where the assistant said anything",
    "reply_is_last": "1 where nothing follows the reply",
    "ends_whole": "1 where the reply ends as whole texts do",
    "has_code": "1 where the reply holds code",
    "answer_digits": "share of digits in the answer; 0 without one",
    "foreign_letters": "share of the reply's bytes that characters outside ASCII take beyond one; 0 without any",
    "foreign_change": "distance of that share from the task's",
}
"""Name to what it says, in the order of the columns."""


def trajectory_features(rows: pl.DataFrame) -> pl.DataFrame:
    """`subject_id` (the trajectory_id), then the columns of TRAJECTORY_FEATURES, Float64 without null or NaN.

    Grain: one row per trajectory, kept, in order.
    Reads: REPLAYED: trajectory_id, prompt, messages, tools, final_answer, repaired.
    """
    found = {**_sizes(), **_calls(), **_grounding(), **_relevance(), **_manner(), **_ending()}
    return feature_table(rows).select(
        pl.col("trajectory_id").alias("subject_id"),
        *(found[name].cast(pl.Float64).alias(name) for name in TRAJECTORY_FEATURES),
    )


def _sizes() -> dict[str, pl.Expr]:
    declared = pl.col("tools").str.count_matches(r'"(?:parameters|input_schema)"\s*:').fill_null(0)
    texts = {"task": "task", "reply": "reply", "answer": "claim", "thought": "thought", "argument": "arguments"}
    return {
        "num_turns": size(pl.col("turns")),
        "num_calls": size(pl.col("num_calls")),
        "num_tools_called": size(pl.col("num_tools")),
        "num_tools_declared": size(declared),
        "num_images": size(pl.col("images")),
        **{f"{name}_chars": size(pl.col(text).str.len_chars()) for name, text in texts.items()},
        "observation_chars": size(pl.col("observed").str.len_chars()),
    }


def _calls() -> dict[str, pl.Expr]:
    shares = ("share_failed", "share_empty", "share_unanswered", "share_repeated", "arguments_unseen", "call_unseen")
    has_observation = pl.col("num_answered").fill_null(0) > 0
    last = pl.when(has_observation).then("last_observed")
    return {
        "calls_nothing": pl.col("num_calls").is_null(),
        **{name: pl.col(name).fill_null(0.0) for name in shares},
        "share_repaired": ratio(pl.col("repaired").list.len(), pl.col("num_answered"), empty=0.0).clip(0, 1),
        "last_failed": has(last, FAILED),
        "last_empty": has(last, NOTHING),
        "arguments_from_task": _share("arguments_words", "task_words", empty=1.0),
        "task_numbers_asked": _share("task_numbers", "arguments_numbers", empty=1.0),
        "task_words_asked": _share("task_words", "arguments_words", empty=1.0),
        "observations_used": pl.col("observations_used").fill_null(1.0),
        "last_used": pl.col("last_used").fill_null(1.0),
    }


def _grounding() -> dict[str, pl.Expr]:
    answer = pl.col("claim_numbers").list.last()
    final = pl.when(pl.col("final") != "").then("final")
    anywhere = _together("task_numbers", "arguments_numbers", "observed_numbers")
    known = _together("task_words", "arguments_words", "observed_words")
    lowered = pl.concat_str("task", "observed", separator="\n").str.to_lowercase()
    in_last = pl.col("last_observed_numbers").list.contains(answer)
    return {
        "num_numbers": size(pl.col("reply_numbers").list.len()),
        "numbers_observed": _share("reply_numbers", "observed_numbers", empty=1.0),
        "numbers_nowhere": 1.0 - share_in(pl.col("reply_numbers"), anywhere, empty=1.0),
        "answer_observed": _told(answer, pl.col("observed_numbers").list.contains(answer)),
        "answer_in_last": _told(answer, pl.when(pl.col("last_observed_numbers").list.len() > 0).then(in_last)),
        "answer_is_last": _told(answer, pl.col("last_observed_numbers").list.last() == answer),
        "answer_in_task": _told(answer, pl.col("task_numbers").list.contains(answer)),
        "answer_gap": pl.col("answer_gap").fill_null(1.0),
        "answer_text_observed": _told(final, pl.col("observed").str.contains(final, literal=True)),
        "answer_in_reply": _told(final, pl.col("reply").str.contains(final, literal=True)),
        "names_known": share_in(pl.col("reply_names"), lowered.str.extract_all(r"[\p{L}\d'\x{2019}-]+"), empty=1.0),
        "words_known": share_in(pl.col("reply_words"), known, empty=1.0),
        "words_observed": _share("reply_words", "observed_words", empty=1.0),
    }


def _relevance() -> dict[str, pl.Expr]:
    treated = _together("thought_words", "arguments_words", "reply_words")
    numbers_treated = _together("arguments_numbers", "reply_numbers")
    first_known = _together("task_words", "first_arguments_words")
    known = _together("task_words", "arguments_words", "observed_words")
    return {
        "words_from_task": _share("reply_words", "task_words", empty=0.0),
        "task_words_answered": _share("task_words", "reply_words", empty=0.0),
        "task_words_treated": share_in(pl.col("task_words"), treated, empty=0.0),
        "task_numbers_treated": share_in(pl.col("task_numbers"), numbers_treated, empty=1.0),
        "first_thought_known": share_in(pl.col("first_words"), first_known, empty=0.5),
        "thought_known": share_in(pl.col("thought_words"), known, empty=0.5),
    }


def _manner() -> dict[str, pl.Expr]:
    reply, thought = pl.col("reply"), pl.col("thought")
    spoken, pondered = pl.col("reply_length"), pl.col("thought_length")
    return {
        "gives_up": has(reply, GIVES_UP),
        "apologises": has(reply, APOLOGISES),
        "hedge_rate": rate(reply, HEDGES, spoken),
        "turn_rate": rate(reply, TURNS_AROUND, spoken),
        "thought_turn_rate": rate(thought, TURNS_AROUND, pondered),
        "negation_rate": rate(reply, NEGATES, spoken),
        "thought_negation_rate": rate(thought, NEGATES, pondered),
        "conclusion_rate": rate(reply, CONCLUDES, spoken),
        "asks_back": has(reply, r"\?\s*$"),
        "variety": ratio(pl.col("reply_words").list.len(), spoken, empty=1.0).clip(0, 1),
    }


def _ending() -> dict[str, pl.Expr]:
    return {
        "has_answer": pl.col("final") != "",
        "has_reply": pl.col("reply") != "",
        "reply_is_last": (pl.col("reply_index") == pl.col("last_index")).fill_null(value=False),
        "ends_whole": has(pl.col("reply"), WHOLE_END),
        "has_code": has(pl.col("reply"), CODE),
        "answer_digits": ratio(pl.col("claim").str.count_matches(r"\d"), pl.col("claim").str.len_chars(), empty=0.0),
        "foreign_letters": _foreign("reply"),
        "foreign_change": (_foreign("reply") - _foreign("task")).abs(),
    }


def _share(wanted: str, held: str, *, empty: float) -> pl.Expr:
    return share_in(pl.col(wanted), pl.col(held), empty=empty)


def _together(*names: str) -> pl.Expr:
    return pl.concat_list(*names)


def _told(asked: pl.Expr, answer: pl.Expr) -> pl.Expr:
    """1 for yes, 0 for no, 0.5 where nothing was asked or it cannot be told."""
    return pl.when(asked.is_not_null()).then(answer.cast(pl.Float64)).fill_null(0.5)


def _foreign(text: str) -> pl.Expr:
    length = pl.col(text).str.len_bytes()
    return ratio(length - pl.col(text).str.len_chars(), length, empty=0.0)
