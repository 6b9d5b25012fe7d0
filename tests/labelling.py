"""Judged tables of a test's own, written without running a stage, for people to label."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import polars as pl
from PIL import Image

from pipeline.schema import ATTEMPTED, JUDGED, PROMPTS, PROMPTS_JUDGED, VERDICTS
from pipeline.stages.privacy import find_spans
from pipeline.store import TableStore
from tests.factories import assistant, make_trajectory, tool, user

DAY = "2025-03-01"
JUDGE = "judge-a"


def judged_row(trajectory_id: str, **columns: Any) -> dict[str, Any]:
    """A row of `judged`; unnamed columns hold a clean trajectory of a task of its own, which the judge let pass.

    `score`: what the judge said of it, None for nothing. `before`: the reason it had when it came to the judge.
    """
    defaults = {"trajectory_id": trajectory_id, "task_id": f"task-{trajectory_id}", "score": 0.5, "before": None}
    judged = {"repaired": [], "acceptance": None, "decided_by": None}
    return make_trajectory(columns.pop("messages", None)) | defaults | judged | columns


def write_judged_tables(store: TableStore, rows: Sequence[dict[str, Any]], day: str = DAY) -> None:
    """The tables `trajectories`, `attempted`, `judged` and `verdicts` of a day."""
    held = [{name: row.get(name) for name in (*JUDGED, "before", "score")} for row in rows]
    reason = JUDGED["reason"]
    frame = pl.DataFrame(held, schema={**JUDGED, "before": reason, "score": pl.Float64}).drop("spans")
    frame = frame.join(find_spans(frame), on="trajectory_id", how="left", maintain_order="left")
    came = frame.with_columns(reason=pl.col("before")).select(list(ATTEMPTED))
    said = frame.filter(pl.col("score").is_not_null()).select(
        subject_id="trajectory_id", criterion=pl.lit("grounded"), judge=pl.lit(JUDGE), score="score"
    )
    verdicts = said.select(
        (pl.col(name) if name in said.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in VERDICTS.items()
    )
    _write(store, day, trajectories=came, attempted=came, judged=frame.select(list(JUDGED)), verdicts=verdicts)


def prompt_row(task_id: str, **columns: Any) -> dict[str, Any]:
    """A row of `prompts_judged`; unnamed columns hold a clean question."""
    row = {
        "task_id": task_id,
        "trajectory_id": f"first-{task_id}",
        "source": "unit",
        "prompt": f"How far is {task_id}?",
        "ground_truth": "384400 km",
        "tools": None,
        "images": [],
        "ability": "search",
        "num_attempts": 1,
        "num_correct": 1,
        "acceptance": None,
        "reason": None,
    }
    return row | columns


def write_prompts_tables(store: TableStore, rows: Sequence[dict[str, Any]], day: str = DAY) -> None:
    """The tables `prompts`, `prompts_judged` and `prompt_verdicts` of a day."""
    frame = pl.DataFrame(rows, schema=PROMPTS_JUDGED)
    came = frame.with_columns(reason=pl.lit(None, PROMPTS["reason"])).select(list(PROMPTS))
    _write(store, day, prompts=came, prompts_judged=frame, prompt_verdicts=pl.DataFrame(schema=VERDICTS))


def attack_everywhere(attack: str) -> dict[str, Any]:
    """A row with the attack in every field that holds text of a trace."""
    call = (f"search {attack}", {attack: attack, "nested": [{"deep": attack}]})
    messages = [
        {**user(f"How far is the moon? {attack}"), "images": [attack, f"https://pictures.example/{attack}"]},
        {**assistant(f"I look. {attack}", call), "reasoning": attack},
        tool(f"384400 km {attack}", "c0", attack),
        tool(attack, "nothing", attack),
        {**user(attack), "role": "system"},
        assistant(f"It is 384400 km. {attack}"),
    ]
    text = {"prompt": attack, "final_answer": attack, "ground_truth": attack, "source": attack, "tools": attack}
    return judged_row("attack", messages=messages, metadata=attack, **text)


def picture(colour: str = "#cc4444", size: tuple[int, int] = (64, 36)) -> str:
    """A small image as a data URI."""
    held = io.BytesIO()
    Image.new("RGB", size, colour).save(held, "PNG")
    return "data:image/png;base64," + base64.b64encode(held.getvalue()).decode()


def lines_file(path: Path, *lines: Any) -> Path:
    """A file of these JSON lines; bytes stand as they are."""
    path.write_bytes(b"".join((line if isinstance(line, bytes) else orjson.dumps(line)) + b"\n" for line in lines))
    return path


def _write(store: TableStore, day: str, **tables: pl.DataFrame) -> None:
    for asset, frame in tables.items():
        with store.writing(asset, day) as writer:
            writer.write_shard(frame)
