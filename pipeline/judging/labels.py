"""What people said of rows: the store's own answers, files of further ones, and what they say together."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.judging.config import JudgeConfig
from pipeline.judging.criteria import Criterion, Rubric
from pipeline.judging.gold import JOINT
from pipeline.judging.label_files import RAW_KEYS, FileLabels, read_label_files
from pipeline.schema import LABELS
from pipeline.store import TableStore, write_frame

_QUESTION = ("subject_id", "rubric", "criterion")
_MEANING = "_meaning"


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
    given = read_label_files([Path(each) for each in config.labels])
    answers, num_unknown = _joined(store, given, stored_labels(store))
    latest = _latest(answers)
    rubrics: tuple[Rubric, Rubric] = ("trajectories", "prompts")
    agreement = {each: _agreement(latest.filter(pl.col("rubric") == each)) for each in rubrics}
    return GoldLabels(_merged(latest), latest, agreement, num_unknown)


def stored_labels(store: TableStore) -> pl.DataFrame:
    """Every answer given on the page of `toolwise label`, as LABELS: one per person and question."""
    path = _path(store)
    return pl.read_parquet(path) if path.exists() else pl.DataFrame(schema=LABELS)


def add_labels(store: TableStore, labels: pl.DataFrame) -> int:
    """Keep answers, each in place of what the same person said to the same question; the number kept of all.

    Reads: labels as LABELS; `at` is now where it is null.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    new = labels.select(pl.col(name).cast(dtype) for name, dtype in LABELS.items()).with_columns(
        pl.col("at").fill_null(now)
    )
    with store.lock("labels"):
        held = pl.concat([stored_labels(store), new]).unique([*_QUESTION, "by"], keep="last", maintain_order=True)
        write_frame(_path(store), held.sort(*_QUESTION, "by"))
    return held.height


def drop_labels(store: TableStore, *, subject_id: str, rubric: Rubric, by: str) -> int:
    """Take back what one person said of one row; the number of answers that went."""
    with store.lock("labels"):
        held = stored_labels(store)
        mine = (pl.col("subject_id") == subject_id) & (pl.col("rubric") == rubric) & (pl.col("by") == by)
        return _keep(store, held, ~mine)


def forget_labels(store: TableStore, subject_ids: Collection[str]) -> int:
    """Remove every answer about these rows from the store; the number removed. Files of labels are their owner's."""
    with store.lock("labels"):
        held = stored_labels(store)
        return _keep(store, held, ~pl.col("subject_id").is_in(list(subject_ids)))


def settled_subjects(answers: pl.DataFrame, criteria: Collection[Criterion]) -> set[str]:
    """Rows of which enough is said: the row as a whole, a no to one criterion, or something to each that is always asked.

    Only answers to what a criterion means now count.

    Reads: answers as LABELS, of one rubric.
    """
    versions = {each.name: each.version for each in criteria}
    always = [each.name for each in criteria if each.applies == "always"]
    now = pl.col("criterion").replace_strict(versions, default=None, return_dtype=pl.Int64)
    then = _version_number()
    usable = answers.filter((pl.col("criterion") == JOINT) | (now.is_not_null() & (then.is_null() | (then == now))))
    told = usable.group_by("subject_id").agg(
        is_wrong=(~pl.col("answer")).fill_null(value=False).any(),
        is_whole=(pl.col("criterion") == JOINT).any(),
        num_always=pl.col("criterion").filter(pl.col("criterion").is_in(always)).n_unique(),
    )
    settled = pl.col("is_wrong") | pl.col("is_whole") | (pl.col("num_always") == max(len(always), 1))
    return set(told.filter(settled)["subject_id"].to_list())


def _keep(store: TableStore, held: pl.DataFrame, kept: pl.Expr) -> int:
    """Write the answers that stay, if any goes; the lock is the caller's."""
    left = held.filter(kept)
    if left.height < held.height:
        write_frame(_path(store), left)
    return held.height - left.height


def _path(store: TableStore) -> Path:
    return store.root / "state" / "labels.parquet"


def _joined(store: TableStore, given: FileLabels, stored: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """All answers with the task of their row, the store's last; and how many rows no table holds."""
    held = store.scan_days("trajectories", store.days("trajectories"))
    wanted = pl.concat([given.labels, stored.select(list(LABELS))], how="diagonal")
    if wanted.is_empty() or held is None:
        told = _named(wanted.with_columns(_found_id=pl.lit(None, pl.String), _found_task=pl.lit(None, pl.String)))
        return told, _subjects(wanted).n_unique()
    columns = ["trajectory_id", "task_id", *RAW_KEYS]
    # a record may lie on several days; it has one id and one task
    ids, places = wanted["trajectory_id"].drop_nulls(), wanted["raw_path"].drop_nulls()
    subjects = stored["subject_id"]
    is_named = (
        pl.col("trajectory_id").is_in(pl.concat([ids, subjects]).unique().implode())
        | pl.col("task_id").is_in(pl.concat([wanted["task_id"].drop_nulls(), subjects]).unique().implode())
        | pl.col("raw_path").is_in(places.unique().implode())
    )
    rows = held.select(columns).filter(is_named).collect()
    return _named(_found(wanted, rows)), _num_unknown(wanted, rows)


def _subjects(wanted: pl.DataFrame) -> pl.Series:
    return wanted.select(pl.struct("rubric", "subject_id", "trajectory_id", "task_id", *RAW_KEYS)).to_series()
