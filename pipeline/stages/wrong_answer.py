"""The gate on the final answer: wrong by the recorded outcome or by the answer checker."""

import polars as pl

from pipeline.answers.batch import CHECK_DTYPE, check_answers
from pipeline.config import AnswerGate, Unknown
from pipeline.frames import mark
from pipeline.reasons import Reason

EVIDENCE_CHARS = 200
"""What of an answer and a ground truth goes into the evidence."""

_CHECK = "__answer_check"


def mark_wrong_answer(trajectories: pl.LazyFrame, gate: AnswerGate) -> pl.LazyFrame:
    """Mark trajectories whose final answer is wrong.

    The recorded outcome is `success`; without it, a reward of `success_reward` or more is right, one of zero or less
    is wrong, and one between is partial credit, which says neither. The checker compares final_answer and
    ground_truth. Where both speak `prefer_recorded_outcome` decides; where neither does the outcome is unknown,
    which is not wrong: `unknown` says what becomes of it. Only rows still in, and not settled by the outcome, are
    checked: the checker is Python, at 20-100 us a pair and up to 150 ms where mathematics has to decide.

    Grain: one row per trajectory, kept, in order.
    Reads: final_answer, ground_truth String; reward Float64; success Boolean; reason Enum; evidence String.
    Writes: reason; evidence: rule, answer, ground_truth, recorded, disagree (recorded outcome against checker).
    """
    recorded = recorded_outcome(gate)
    settled = recorded if gate.prefer_recorded_outcome else pl.lit(value=False)
    asked = pl.col("reason").is_null() & ~settled.fill_null(value=False)
    check = pl.struct(
        answer=pl.when(asked).then("final_answer"), truth=pl.when(asked).then("ground_truth")
    ).map_batches(lambda pairs: _check(pairs, gate), return_dtype=CHECK_DTYPE, is_elementwise=True)
    checked = pl.col(_CHECK).struct.field("matches")
    order = (recorded, checked) if gate.prefer_recorded_outcome else (checked, recorded)
    right = pl.coalesce(*order)
    by_record = recorded.is_not_null() & (pl.lit(gate.prefer_recorded_outcome) | checked.is_null())
    evidence = pl.struct(
        rule=pl.when(by_record).then(pl.lit("recorded_outcome")).otherwise(pl.col(_CHECK).struct.field("rule")),
        answer=pl.col("final_answer").str.slice(0, EVIDENCE_CHARS),
        ground_truth=pl.col("ground_truth").str.slice(0, EVIDENCE_CHARS),
        recorded=recorded,
        disagree=recorded != checked,
    )
    unknown = Reason.UNKNOWN_OUTCOME if gate.unknown is Unknown.REVIEW else None
    marked = mark(
        trajectories.with_columns(check.alias(_CHECK)), ~right, Reason.WRONG_ANSWER, unknown=unknown, evidence=evidence
    )
    return marked.drop(_CHECK)


def recorded_outcome(gate: AnswerGate) -> pl.Expr:
    """Whether the source itself called the trajectory right; null where it says nothing or gives partial credit."""
    reward = pl.col("reward").fill_nan(None)
    by_reward = (
        pl.when(reward >= gate.success_reward).then(pl.lit(value=True)).when(reward <= 0).then(pl.lit(value=False))
    )
    return pl.coalesce("success", by_reward)


def _check(pairs: pl.Series, gate: AnswerGate) -> pl.Series:
    """The checks of one batch of (answer, truth) structs."""
    frame = pairs.struct.unnest()
    return check_answers(frame["answer"], frame["truth"], gate).alias(pairs.name)
