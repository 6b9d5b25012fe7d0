"""Which rows labels are of: named by id or by the place of their record, joined with the tables."""

import polars as pl

from pipeline.schema import LABELS
from pipeline.store import TableStore

_PLACE = ("raw_path", "raw_index")
_ROW = ("trajectory_id", "task_id", *_PLACE)


def named_rows(store: TableStore, given: pl.DataFrame) -> pl.DataFrame:
    """The answers of files as LABELS, each with the id of its row; a place that no table holds stands for the row.

    Reads: given as FILE_LABELS.
    """
    if given.is_empty():
        return pl.DataFrame(schema=LABELS)
    by_place = _rows(store, pl.col("raw_path").is_in(given["raw_path"].drop_nulls().unique().implode()))
    by_id = _rows(store, pl.col("trajectory_id").is_in(given["trajectory_id"].drop_nulls().unique().implode()))
    held = (
        given.join(
            by_place.select(*_PLACE, _placed="trajectory_id", _placed_task="task_id").unique(_PLACE),
            on=list(_PLACE),
            how="left",
            maintain_order="left",
        )
        .join(
            by_id.select("trajectory_id", _known_task="task_id").unique("trajectory_id"),
            on="trajectory_id",
            how="left",
            maintain_order="left",
        )
        .with_columns(
            _place=pl.concat_str(pl.col("raw_path"), pl.lit(":"), pl.col("raw_index").cast(pl.String)),
            _task=pl.coalesce("_placed_task", "_known_task", "task_id"),
        )
    )
    trajectory = pl.coalesce("trajectory_id", "_placed", "_place")
    prompt = pl.coalesce("_task", trajectory)
    subject = pl.when(pl.col("rubric") == "prompts").then(prompt).otherwise(trajectory)
    return held.with_columns(subject_id=subject, task_id="_task").select(
        pl.col(name).cast(dtype) for name, dtype in LABELS.items()
    )


def with_tasks(store: TableStore, answers: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """The answers with the task that the tables have for each row, and how many of the rows no table holds.

    Reads: answers as LABELS. The task an answer came with stays where no table knows better; a row has one task.
    """
    subjects = answers["subject_id"].unique().implode()
    rows = _rows(store, pl.col("trajectory_id").is_in(subjects) | pl.col("task_id").is_in(subjects))
    known = pl.concat(
        [
            rows.select(subject_id="trajectory_id", rubric=pl.lit("trajectories", LABELS["rubric"]), _task="task_id"),
            rows.select(subject_id="task_id", rubric=pl.lit("prompts", LABELS["rubric"]), _task="task_id"),
        ]
    ).unique(["subject_id", "rubric"], keep="first", maintain_order=True)
    held = answers.join(known, on=["subject_id", "rubric"], how="left", maintain_order="left")
    unknown = answers.join(known, on=["subject_id", "rubric"], how="anti")
    told = pl.col("task_id").max().over("subject_id", "rubric")
    joined = held.with_columns(task_id=pl.coalesce("_task", told)).select(list(LABELS))
    return joined, unknown.select("subject_id", "rubric").n_unique()


def _rows(store: TableStore, wanted: pl.Expr) -> pl.DataFrame:
    """Rows of the tables that are meant, the earliest day first."""
    held = store.scan_days("trajectories", store.days("trajectories"))
    if held is None:
        return pl.DataFrame(schema=dict.fromkeys(_ROW, pl.String) | {"raw_index": pl.UInt32})
    return held.filter(wanted).select(*_ROW, "day").collect().sort("day", *_ROW).drop("day")
