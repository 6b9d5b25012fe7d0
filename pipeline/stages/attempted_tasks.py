"""The tasks that a policy is to attempt without tools, and the answers its attempts are held against."""

import polars as pl

TASK_INPUTS = (
    "task_id",
    "trajectory_id",
    "prompt",
    "messages",
    "final_answer",
    "ground_truth",
    "success",
    "num_tool_calls",
    "reason",
)


def group_attempted_tasks(rows: pl.LazyFrame) -> pl.LazyFrame:
    """One row per task for which a row that is still in calls a tool; rows without a prompt have no task.

    The reference is the ground truth, else the final answer of a row recorded as right, of the first row by
    trajectory_id that has one; prompts of one task differ in spelling at most, and the first row's is taken.

    Grain: trajectories become tasks, in order of task_id.
    Reads: TASK_INPUTS.
    Writes: task_id, prompt, reference (null: nobody knows the answer), has_images (of a user's message).
    """
    images = pl.col("messages").list.eval(
        pl.element().struct.field("images").filter(pl.element().struct.field("role") == "user").list.len()
    )
    truth = pl.when(pl.col("ground_truth").str.strip_chars() != "").then("ground_truth")
    right = pl.when(pl.col("success") & (pl.col("final_answer").str.strip_chars() != "")).then("final_answer")
    first = {"prompt": pl.col("prompt"), "_truth": pl.col("_truth"), "_right": pl.col("_right")}
    return (
        rows.filter(pl.col("reason").is_null() & pl.col("task_id").is_not_null() & pl.col("prompt").is_not_null())
        .select(
            "task_id",
            "trajectory_id",
            "prompt",
            _truth=truth,
            _right=right,
            _calls=pl.col("num_tool_calls") > 0,
            _images=images.list.sum().fill_null(0) > 0,
        )
        .group_by("task_id")
        .agg(
            *(each.sort_by("trajectory_id").drop_nulls().first().alias(name) for name, each in first.items()),
            pl.col("_calls").any(),
            has_images=pl.col("_images").any(),
        )
        .filter("_calls")
        .select("task_id", "prompt", reference=pl.coalesce("_truth", "_right"), has_images="has_images")
        .sort("task_id")
    )
