"""What people said of rows: the store's own answers, files of further ones, and what they say together."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import polars as pl

from pipeline.judging.config import JudgeConfig
from pipeline.judging.criteria import Criterion, Rubric
from pipeline.judging.gold import JOINT
from pipeline.judging.label_files import read_label_files
from pipeline.judging.label_rows import named_rows, with_tasks
from pipeline.schema import LABELS
from pipeline.store import TableStore, write_frame

_QUESTION = ("subject_id", "rubric", "criterion")


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often people who answered the same question said the same; who could not tell said nothing."""

    num_twice: int
    """Questions that two persons or more answered."""
    num_agreed: int

    @property
    def rate(self) -> float | None:
        """Share that all of them answered alike; None where no question was answered twice."""
        return self.num_agreed / self.num_twice if self.num_twice else None

    @property
    def told(self) -> str:
        """The rate in words."""
        if self.rate is None:
            return "no question was answered by two persons"
        return f"two persons or more agreed on {self.num_agreed} of {self.num_twice} questions ({self.rate:.0%})"


@dataclass(frozen=True, slots=True)
class GoldLabels:
    """Every label there is, and what is to be said of them."""

    labels: pl.DataFrame
    """As LABELS: one row per subject, criterion and meaning of it; `answer` is null where people disagree or nobody
    could tell."""
    answers: pl.DataFrame
    """As LABELS: one row per answer, each person's latest."""
    agreement: dict[Rubric, Agreement]
    num_unknown: int
    """Labelled rows that no table holds."""


def read_labels(store: TableStore, config: JudgeConfig) -> pl.DataFrame:
    """The labels of the store and of the configured files, as LABELS: one answer for each question.

    Raises: LabelsError with every line that cannot be used.
    """
    return gather_labels(store, config).labels


def gather_labels(store: TableStore, config: JudgeConfig) -> GoldLabels:
    """The labels of the store and of the configured files, with how well people agree.

    Every answer is joined with the tables for its task. One about a row that no table holds is kept, without a task:
    nothing can be judged there, so nothing comes of it.

    Raises: LabelsError with every line that cannot be used.
    """
    given = named_rows(store, read_label_files([Path(each) for each in config.labels]))
    answers, num_unknown = with_tasks(store, pl.concat([given, stored_labels(store)]))
    latest = _latest_of_each(answers)
    agreement: dict[Rubric, Agreement] = {
        each: _agreement(latest.filter(pl.col("rubric") == each)) for each in get_args(Rubric)
    }
    return GoldLabels(_merged(latest), latest, agreement, num_unknown)


def stored_labels(store: TableStore) -> pl.DataFrame:
    """Every answer given on the page of `toolwise label`, as LABELS: one per person and question."""
    path = _path(store)
    return pl.read_parquet(path) if path.exists() else pl.DataFrame(schema=LABELS)


def add_labels(store: TableStore, labels: pl.DataFrame) -> None:
    """Keep answers, each in place of what the same person said to the same question.

    Reads: labels as LABELS; `at` is now where it is null.
    """
    with store.lock("labels"):
        _write(store, pl.concat([stored_labels(store), _dated(labels)]))


def replace_labels(
    store: TableStore, labels: pl.DataFrame, *, subject_id: str, rubric: Rubric, by: str, criteria: Collection[str]
) -> None:
    """Keep these answers, in one step, in place of all that one person said of one row by these criteria.

    Reads: labels as LABELS, all of that person and row; none take back what was said.
    """
    with store.lock("labels"):
        mine = (pl.col("subject_id") == subject_id) & (pl.col("rubric") == rubric) & (pl.col("by") == by)
        held = stored_labels(store).filter(~(mine & pl.col("criterion").is_in(list(criteria))))
        _write(store, pl.concat([held, _dated(labels)]))


def forget_labels(store: TableStore, subject_ids: Collection[str]) -> int:
    """Remove every answer about these rows from the store; the number removed. Files of labels are their owner's."""
    with store.lock("labels"):
        held = stored_labels(store)
        left = held.filter(~pl.col("subject_id").is_in(list(subject_ids)))
        if left.height < held.height:
            _write(store, left)
    return held.height - left.height


def settled_subjects(answers: pl.DataFrame, criteria: Collection[Criterion]) -> set[str]:
    """Rows of which enough is said: on the whole, a no to one criterion, or something to each that is always asked.

    Only answers to what a criterion means now count.

    Reads: answers as LABELS, of one rubric.
    """
    versions = {each.name: each.version for each in criteria}
    always = [each.name for each in criteria if each.applies == "always"]
    now = pl.col("criterion").replace_strict(versions, default=None, return_dtype=pl.Int64)
    then = _version_number()
    is_current = now.is_not_null() & (then.is_null() | (then == now))
    usable = answers.filter((pl.col("criterion") == JOINT) | is_current)
    told = usable.group_by("subject_id").agg(
        is_wrong=(~pl.col("answer")).fill_null(value=False).any(),
        is_whole=(pl.col("criterion") == JOINT).any(),
        num_always=pl.col("criterion").filter(pl.col("criterion").is_in(always)).n_unique(),
    )
    settled = pl.col("is_wrong") | pl.col("is_whole") | (pl.col("num_always") == max(len(always), 1))
    return set(told.filter(settled)["subject_id"].to_list())


def _dated(labels: pl.DataFrame) -> pl.DataFrame:
    """The answers with a moment each: now, where they name none."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    typed = labels.select(pl.col(name).cast(dtype) for name, dtype in LABELS.items())
    return typed.with_columns(pl.col("at").fill_null(now))


def _write(store: TableStore, answers: pl.DataFrame) -> None:
    """Write all answers anew, the lock being the caller's; of two by one person to one question the later in order."""
    held = answers.unique([*_QUESTION, "by"], keep="last", maintain_order=True)
    write_frame(_path(store), held.sort(*_QUESTION, "by"))


def _path(store: TableStore) -> Path:
    return store.root / "state" / "labels.parquet"


def _latest_of_each(answers: pl.DataFrame) -> pl.DataFrame:
    """Each person's latest answer to each question; of answers without a moment the last one given."""
    return (
        answers.with_row_index("_given")
        .sort("at", "_given", nulls_last=False)
        .unique([*_QUESTION, "by"], keep="last", maintain_order=True)
        .sort(*_QUESTION, "by")
        .select(list(LABELS))
    )


def _merged(answers: pl.DataFrame) -> pl.DataFrame:
    """One row per question: the answer of those who could tell, null where they disagree or there are none.

    Answers to different meanings of a criterion are different questions. Two persons count as one row, of the mean of
    their weights, as one draw brought both. Who accepts a row disagrees with whoever says no to one of its criteria.

    Reads: answers as LABELS, one per person and question.
    """
    known = pl.col("answer").drop_nulls()
    refused = (pl.col("criterion") != JOINT) & ~pl.col("answer")
    is_denied = (pl.col("criterion") == JOINT) & pl.col("answer") & pl.col("_denied")
    return (
        answers.with_columns(_meaning(), _denied=refused.any().over("subject_id", "rubric"))
        .sort(*_QUESTION, "_meaning", "at", "by", nulls_last=False)
        .group_by(*_QUESTION, "_meaning", maintain_order=True)
        .agg(
            pl.col("task_id").drop_nulls().last(),
            pl.when(known.n_unique() == 1).then(known.first()).alias("answer"),
            pl.col("weight").mean(),
            pl.col("rubric_version").drop_nulls().last(),
            pl.col("by").unique().sort().str.join(", "),
            pl.col("at").drop_nulls().last(),
            pl.col("_denied").first(),
        )
        .with_columns(answer=pl.when(is_denied.fill_null(value=False)).then(None).otherwise("answer"))
        .select(pl.col(name).cast(dtype) for name, dtype in LABELS.items())
    )


def _agreement(answers: pl.DataFrame) -> Agreement:
    """How well people agree on the questions of one rubric, each in one meaning."""
    told = (
        answers.filter(pl.col("answer").is_not_null())
        .group_by(*_QUESTION, _meaning())
        .agg(num=pl.col("by").n_unique(), agreed=pl.col("answer").n_unique() == 1)
        .filter(pl.col("num") > 1)
    )
    return Agreement(told.height, int(told["agreed"].sum()))


def _meaning() -> pl.Expr:
    """Which meaning of its criterion an answer is about; one that names none is taken for the newest that is known."""
    return pl.coalesce(_version_number(), _version_number().max().over(_QUESTION)).alias("_meaning")


def _version_number() -> pl.Expr:
    """The part of a version that says what the criterion means, Int64; null where no version is named."""
    return pl.col("rubric_version").str.split("-").list.first().cast(pl.Int64, strict=False)
