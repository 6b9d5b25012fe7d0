"""A rollout is a row like any trace: what its raw record is curated to is what its row says."""

from pathlib import Path

import orjson
import polars as pl
import pytest

from pipeline.config import CurationConfig
from pipeline.curation.trajectories import write_trajectories
from pipeline.formats.base import message
from pipeline.rollouts.config import Limits, Sampling
from pipeline.rollouts.engine import RolloutEngine
from pipeline.rollouts.rollout import Completion, End, Rollout, Task, Tokens, Turn
from pipeline.rollouts.rows import raw_records, rollouts_frame, trajectories_frame
from pipeline.rollouts.toolbox import Toolbox
from pipeline.schema import ROLLOUTS, TRAJECTORIES
from pipeline.store import TableStore
from tests.pipeline.rollouts.acting import ActingPolicy, Counting, calls, counted, in_turn, make_task, says, tools

DAY = "2025-03-01"


@pytest.fixture(scope="module")
def rollouts() -> list[Rollout]:
    opened: list[Counting] = []
    toolbox = Toolbox({"count": counted(opened)})

    def course(task: Task, shown: list[str]):  # noqa: ANN202 - a Turn
        number = int(task.task_id[5:])
        return (
            calls(*[("count", '{"x": 1}')] * (number % 3))
            if number % 3 and not shown
            else says(f"Answer: {40 + number}")
        )

    engine = RolloutEngine(ActingPolicy(course), toolbox, limits=Limits(), sampling=Sampling(), concurrency=1)
    found = list(engine.rollouts((make_task(number, "count"), 0) for number in range(6)))
    toolbox.close()
    return found


def test_records_curated_from_files_are_the_rows_of_the_rollouts(rollouts: list[Rollout], tmp_path: Path) -> None:
    store = TableStore(tmp_path)
    folder = tmp_path / "raw" / "rollouts" / DAY
    folder.mkdir(parents=True)
    (folder / "a.jsonl").write_bytes(b"".join(orjson.dumps(each) + b"\n" for each in raw_records(rollouts)))
    write_trajectories(store, DAY, CurationConfig())
    curated = store.scan("trajectories", DAY).collect().select(*TRAJECTORIES)
    assert curated["reason"].null_count() == 6
    rows = trajectories_frame(rollouts)
    assert rows.drop("raw_path").equals(curated.drop("raw_path"))
    assert rows.schema == curated.schema
    assert rows["num_tool_calls"].to_list() == [rollout.num_tool_calls for rollout in rollouts] == [0, 1, 2, 0, 1, 2]
    assert rows["final_answer"].to_list() == [rollout.final_answer for rollout in rollouts]
    assert rows["success"].to_list() == [False, False, True, False, False, False]
    assert rows["ground_truth"].to_list() == ["42"] * 6


def test_a_row_has_every_token_and_what_ended_it() -> None:
    tokens = Tokens()
    tokens.add_written([1, 2, 3])
    tokens.add_sampled(Completion((9, 8), (-0.5, -1.5), is_cut=False))
    task = Task("t", (message("user", "Hm?"),), tools("count"), "42", metadata={"kind": "sum"})
    said = [*task.messages, message("assistant", "Answer: 42")]
    whole = Rollout(task, 3, "p", said, tokens, End.ANSWERED, None, 1, 0, 2, 0.25, "42", True, "exact")
    broken = Rollout(task, 4, "p", list(task.messages), None, End.POLICY, "it is down")
    frame = rollouts_frame([whole, broken])
    assert dict(frame.schema) == ROLLOUTS
    first, second = frame.to_dicts()
    assert (first["token_ids"], first["is_model"], first["logprobs"]) == (
        [1, 2, 3, 9, 8],
        [0, 0, 0, 1, 1],
        [0, 0, 0, -0.5, -1.5],
    )
    assert (first["end"], first["rollout_index"], first["is_correct"], first["wall_s"]) == ("answered", 3, True, 0.25)
    assert (second["end"], second["failure"], second["token_ids"], second["is_correct"]) == (
        "policy",
        "it is down",
        None,
        None,
    )
    assert first["group_id"] == second["group_id"]
    assert orjson.loads(first["metadata"])["rollout"]["kind"] == "sum"


def test_a_call_in_a_turn_that_was_cut_was_not_made_and_its_text_is_no_answer() -> None:
    cut = Turn("so far", tool_calls=calls(("count", "{}")).tool_calls, is_cut=True, num_tokens=9)
    engine = RolloutEngine(ActingPolicy(in_turn(cut)), None, limits=Limits(), sampling=Sampling(), concurrency=1)
    rollouts = list(engine.rollouts([(make_task(0, "count"), 0)]))
    [row] = rollouts_frame(rollouts).to_dicts()
    assert (row["end"], row["num_tool_calls"], row["final_answer"], row["is_correct"]) == ("tokens", 0, None, False)
    assert row["messages"][1]["tool_calls"][0]["name"] == "count"


def test_nothing_is_no_rows() -> None:
    assert rollouts_frame([]).height == 0
    assert dict(rollouts_frame([]).schema) == ROLLOUTS
    assert pl.DataFrame(schema=TRAJECTORIES).schema == trajectories_frame([]).schema
