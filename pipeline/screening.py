"""The order of the screening gates, and one pass of a shard through them."""

import polars as pl

from pipeline.config import CurationConfig
from pipeline.reasons import REASON_DTYPE, Kind, Reason, kind_of
from pipeline.stages.contamination import mark_contaminated
from pipeline.stages.empty import mark_empty
from pipeline.stages.length import mark_overlong
from pipeline.stages.pairing import mark_orphan_observation, mark_unpaired_call
from pipeline.stages.privacy import find_spans, mark_personal_data, mark_secret
from pipeline.stages.repeated import mark_repeated_call
from pipeline.stages.self_written import LOOSER, mark_self_written
from pipeline.stages.tools import mark_bad_arguments, mark_undeclared_tool
from pipeline.stages.truncated import mark_truncated
from pipeline.stages.wrong_answer import mark_wrong_answer

REVIEWS: dict[str, type[pl.DataType]] = dict.fromkeys(
    ("trajectory_id", "stage", "reason", "answer", "by", "at"), pl.String
)


def screen_rows(
    trajectories: pl.DataFrame,
    config: CurationConfig,
    *,
    benchmarks: pl.DataFrame | None = None,
    reviews: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """The shard with `spans`, `reason` and `evidence`, after every gate that needs no other row.

    The order is part of the promise: the first gate to speak wins, so a reason names the earliest fault found.
    Duplicates come later, among the rows that are still in here.
    """
    lf = trajectories.lazy().with_columns(evidence=pl.lit(None, pl.String))
    lf = mark_empty(lf)
    lf = mark_self_written(lf, also=LOOSER if config.structure.looser_self_written else None)
    lf = mark_truncated(lf)
    lf = mark_unpaired_call(lf)
    lf = mark_orphan_observation(lf)
    lf = mark_undeclared_tool(lf, config.structure)
    lf = mark_bad_arguments(lf, config.structure)
    lf = mark_repeated_call(lf, config.structure)
    lf = mark_wrong_answer(lf, config.answer)
    lf = mark_overlong(lf, config.length)
    marked = lf.collect()
    marked = marked.join(find_spans(marked), on="trajectory_id", how="left", maintain_order="left")
    lf = mark_secret(marked.lazy(), config.privacy)
    lf = mark_personal_data(lf, config.privacy)
    if benchmarks is not None:
        lf = mark_contaminated(lf, benchmarks)
    if reviews is not None and reviews.height:
        lf = apply_reviews(lf, reviews, stage="screened")
    return lf.collect()


def apply_reviews(lf: pl.LazyFrame, reviews: pl.DataFrame, *, stage: str) -> pl.LazyFrame:
    """Rows a person has answered for: kept ones have their reason lifted, dropped ones become `rejected`.

    An answer holds for the stage and the reason it was given to; a row that is out for another reason now waits again.
    Grain: one row per trajectory, kept, in order.
    """
    answers = (
        reviews.lazy()
        .filter(pl.col("stage") == stage)
        .select("trajectory_id", _reason="reason", _answer="answer", _by="by", _at="at")
    )
    rejected = pl.lit(Reason.REJECTED.value, REASON_DTYPE)
    told = pl.struct(was="_reason", by="_by", at="_at", evidence=pl.col("evidence")).struct.json_encode()
    dropped = pl.col("_answer") == "drop"
    answered = pl.col("_answer").is_not_null() & (kind_of(pl.col("reason")) == Kind.REVIEW.value)
    return (
        lf.with_columns(_reason=pl.col("reason").cast(pl.String))
        .join(answers, on=["trajectory_id", "_reason"], how="left", maintain_order="left")
        .with_columns(
            evidence=pl.when(answered).then(pl.when(dropped).then(told)).otherwise("evidence"),
            reason=pl.when(answered).then(pl.when(dropped).then(rejected)).otherwise("reason"),
        )
        .drop("_reason", "_answer", "_by", "_at")
    )
