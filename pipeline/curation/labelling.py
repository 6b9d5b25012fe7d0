"""The rows that people are asked to label: drawn from what reached the judge, with what is known of them already."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from pipeline.errors import MissingTableError
from pipeline.judging.config import JudgeConfig
from pipeline.judging.criteria import Criterion, Rubric
from pipeline.judging.labels import GoldLabels, gather_labels, settled_subjects
from pipeline.judging.rubric import load_rubric
from pipeline.judging.sampling import Need, draw_again, draw_sample, need_of
from pipeline.reasons import Reason
from pipeline.store import TableStore

CANDIDATES = {
    "subject_id": pl.String,
    "task_id": pl.String,
    "source": pl.String,
    "score": pl.Float64,
    "day": pl.String,
}
"""One row per row that reached the judge, on the first day that holds it. `score` is its acceptance, or else the mean
of what the judge said of it; null where it said nothing."""

_SEED = 0
"""Fixed: a later session goes on in the order of the one before."""
_SECOND_OPINIONS = 0.1
"""Share of the rows asked about that another person has labelled already, so that agreement can be told."""


@dataclass(frozen=True, slots=True)
class _Tables:
    """Where the rows of a rubric stand."""

    before: str
    """Says what reached the judge: rows without a reason."""
    judged: str
    verdicts: str
    key: str


_TABLES: dict[Rubric, _Tables] = {
    "trajectories": _Tables("attempted", "judged", "verdicts", "trajectory_id"),
    "prompts": _Tables("prompts", "prompts_judged", "prompt_verdicts", "task_id"),
}


@dataclass(frozen=True, slots=True)
class Drawn:
    """What one session asks about."""

    rubric: Rubric
    criteria: tuple[Criterion, ...]
    sample: pl.DataFrame
    """As SAMPLE, with `day`, in the order in which it is asked."""
    rows: pl.DataFrame
    """The judged rows of the sample, unredacted."""
    need: Need
    """What is labelled so far."""
    labelled_tasks: frozenset[str]
    gold: GoldLabels


def judged_asset(rubric: Rubric) -> str:
    """The table whose days can be labelled."""
    return _TABLES[rubric].judged


def draw_rows(
    store: TableStore, config: JudgeConfig, rubric: Rubric, days: Sequence[str], *, number: int, by: str
) -> Drawn:
    """Up to `number` rows for one person to label, of these days, nothing twice.

    Raises: MissingTableError if nothing has been judged, LabelsError, RubricError.
    """
    tables = _TABLES[rubric]
    if not days:
        raise MissingTableError(
            f"{tables.judged}: want judged days, found none in {store.tables}; run `toolwise curate` first, "
            "or give another --day"
        )
    criteria = load_rubric(rubric, config)
    gold = gather_labels(store, config)
    answers = gold.answers.filter(pl.col("rubric") == rubric)
    settled = settled_subjects(answers, criteria)
    reached = candidates(store, rubric, days)
    others = answers.join(reached, on="subject_id", how="semi").filter(pl.col("subject_id").is_in(list(settled)))
    again = draw_again(others, by=by, number=round(number * _SECOND_OPINIONS), seed=_SEED)
    first = draw_sample(reached, settled, number=number - again.height, seed=_SEED)
    sample = _spread(first, again).join(
        reached.select("subject_id", "day"), on="subject_id", how="left", maintain_order="left"
    )
    labelled = answers.filter(pl.col("subject_id").is_in(list(settled)))
    return Drawn(
        rubric=rubric,
        criteria=criteria,
        sample=sample,
        rows=_rows(store, tables, sample),
        need=need_of(labelled, target=config.target_precision, confidence=config.confidence),
        labelled_tasks=frozenset(labelled["task_id"].drop_nulls().to_list()),
        gold=gold,
    )


def candidates(store: TableStore, rubric: Rubric, days: Sequence[str]) -> pl.DataFrame:
    """The rows of these days that reached the judge, as CANDIDATES, in order of subject.

    A row with a broken image did not: it was put out before any model saw it.
    """
    tables = _TABLES[rubric]
    found = [_candidates_of(store, tables, day) for day in sorted(days)]
    held = pl.concat(found) if found else pl.DataFrame(schema=CANDIDATES)
    return held.unique("subject_id", keep="first", maintain_order=True).sort("subject_id")


def _candidates_of(store: TableStore, tables: _Tables, day: str) -> pl.DataFrame:
    reached = store.scan(tables.before, day).filter(pl.col("reason").is_null()).select(subject_id=tables.key)
    scores = (
        store.scan(tables.verdicts, day)
        .group_by("subject_id")
        .agg(_mean=pl.col("score").mean(), _is_asked=pl.lit(value=True))
    )
    rows = store.scan(tables.judged, day).select(
        "source",
        "task_id",
        "acceptance",
        subject_id=tables.key,
        _is_corrupted=(pl.col("reason") == Reason.CORRUPTED.value).fill_null(value=False),
    )
    unseen = pl.col("_is_corrupted") & pl.col("acceptance").is_null() & pl.col("_is_asked").is_null()
    return (
        rows.join(reached, on="subject_id", how="semi")
        .join(scores, on="subject_id", how="left")
        .filter(~unseen)
        .with_columns(score=pl.coalesce("acceptance", "_mean"), day=pl.lit(day))
        .select(pl.col(name).cast(dtype) for name, dtype in CANDIDATES.items())
        .collect()
    )


def _rows(store: TableStore, tables: _Tables, sample: pl.DataFrame) -> pl.DataFrame:
    """The judged rows of the sample, in its order."""
    wanted = sample.select("subject_id", "day")
    held = [
        store.scan(tables.judged, day)
        .filter(pl.col(tables.key).is_in(wanted.filter(pl.col("day") == day)["subject_id"].implode()))
        .collect()
        for day in wanted["day"].unique().sort().to_list()
    ]
    if not held:
        return pl.DataFrame()
    return wanted.select(pl.col("subject_id").alias(tables.key)).join(
        pl.concat(held), on=tables.key, how="left", maintain_order="left"
    )


def _spread(first: pl.DataFrame, again: pl.DataFrame) -> pl.DataFrame:
    """Second opinions evenly among the others: whoever stops early has given some."""
    place = pl.int_range(pl.len()) / pl.len()
    ordered = [each.with_columns(_place=place, _from=pl.lit(k)) for k, each in enumerate((first, again))]
    return pl.concat(ordered).sort("_place", "_from").drop("_place", "_from")
