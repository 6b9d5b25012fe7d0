"""Which tasks are attempted without tools, and against which answer."""

from typing import Any

import polars as pl
import pytest

from pipeline.formats.base import message
from pipeline.reasons import Reason
from pipeline.stages.attempted_tasks import TASK_INPUTS, group_attempted_tasks
from tests.factories import assistant, make_frame, make_trajectory, user


def tasks(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    return group_attempted_tasks(make_frame(*rows).select(TASK_INPUTS)).collect().to_dicts()


@pytest.mark.parametrize(
    ("row", "reference"),
    [
        ({"ground_truth": "384400 km"}, "384400 km"),
        ({"ground_truth": "1", "final_answer": "2", "success": True}, "1"),
        ({"ground_truth": " ", "final_answer": "2", "success": True}, "2"),
        ({"final_answer": "2", "success": True}, "2"),
        ({"final_answer": "2", "success": False}, None),
        ({"final_answer": "2"}, None),
        ({"final_answer": " ", "success": True}, None),
    ],
)
def test_the_reference_is_the_truth_or_an_answer_recorded_as_right(row: dict[str, Any], reference: str | None) -> None:
    assert tasks(make_trajectory(**row)) == [
        {"task_id": "task0", "prompt": "How far is the moon?", "reference": reference, "has_images": False}
    ]


@pytest.mark.parametrize(
    "row",
    [
        make_trajectory(reason=Reason.DUPLICATE.value),
        make_trajectory([user("How far is the moon?"), assistant("384400 km")]),
        make_trajectory(task_id=None),
        make_trajectory(prompt=None),
    ],
)
def test_rows_that_are_out_call_no_tool_or_have_no_task_ask_for_nothing(row: dict[str, Any]) -> None:
    assert tasks(row) == []


def test_rows_of_one_task_are_attempted_once_and_any_of_them_may_know_the_answer() -> None:
    unaided = [user("how far is the moon"), assistant("384400 km")]
    found = tasks(
        make_trajectory(trajectory_id="b", prompt="How far is the moon?", final_answer="far", success=True),
        make_trajectory(unaided, trajectory_id="a", prompt="how far is the moon"),
        make_trajectory(unaided, trajectory_id="c", ground_truth="384400 km"),
        make_trajectory(trajectory_id="d", task_id="task1", prompt="And the sun?"),
    )
    assert found == [
        {"task_id": "task0", "prompt": "how far is the moon", "reference": "384400 km", "has_images": False},
        {"task_id": "task1", "prompt": "And the sun?", "reference": None, "has_images": False},
    ]


def test_a_task_with_an_image_of_the_user_is_told_and_one_of_a_tool_is_none() -> None:
    seen = message("user", "What is on it?", images=["data:image/png;base64,AA"])
    shot = message("tool", "done", tool_call_id="c0", images=["data:image/png;base64,AA"])
    call = assistant(None, ("look", {}))
    found = tasks(
        make_trajectory([seen, call], task_id="with"), make_trajectory([user("Look."), call, shot], task_id="without")
    )
    assert {each["task_id"]: each["has_images"] for each in found} == {"with": True, "without": False}


def test_an_empty_day_has_no_task() -> None:
    empty = group_attempted_tasks(make_frame().select(TASK_INPUTS)).collect()
    assert empty.schema == {
        "task_id": pl.String, "prompt": pl.String, "reference": pl.String, "has_images": pl.Boolean
    }  # fmt: skip
