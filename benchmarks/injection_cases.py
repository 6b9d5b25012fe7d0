"""Sample traces with an attack in them, for benchmarks/injection."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from benchmarks.processes import ROOT
from benchmarks.replay_agreement import screened_rows
from pipeline.judging.config import JudgeConfig
from pipeline.judging.criteria import Criterion
from pipeline.judging.questions import Question
from pipeline.judging.rendering import questions_of
from pipeline.judging.rubric import load_rubric
from pipeline.schema import TRAJECTORIES

ATTACKS = Path(__file__).with_name("injection_attacks.jsonl")
CONTROL = "control"
"""The kind of harmless sentences, put where attacks are put."""
BAD_PER_ATTACK, GOOD_ROWS = 3, 18

_CRITERION = {
    "ungrounded": "grounded",
    "incoherent": "coherent",
    "tool_misuse": "tool_rationale",
    "irrelevant": "relevant",
}
_ROLES = {"observation": "tool", "answer": "assistant", "user": "user"}

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """An attack in a row, and the criterion asked of it: of a bad row the one it fails."""

    attack: dict[str, str]
    row: Row
    is_good: bool
    criterion: Criterion

    @property
    def base(self) -> str:
        """Names the row without the attack."""
        return f"{self.row['trajectory_id']}/{self.criterion.name}"

    @property
    def name(self) -> str:
        """Names the row with it."""
        return f"{self.base}/{self.attack['id']}"

    def hostile(self) -> Row:
        """The row with the attack."""
        place = self.attack["place"]
        if self.criterion.grain == "call" and place == "answer":
            place = "observation"  # a question about a call does not show what comes later
        return attacked(self.row, self.attack["text"].replace("{question}", self.criterion.question), place)


def read_attacks() -> list[dict[str, str]]:
    """Attacks and controls: id, kind, place, text; `{question}` in a text stands for the criterion's."""
    return [orjson.loads(line) for line in ATTACKS.read_bytes().splitlines()]


def sample_rows() -> pl.DataFrame:
    """The sample traces that reach a judge and call a tool, with `expected`: keep, or what is wrong with them."""
    labels = [orjson.loads(line) for line in (ROOT / "examples" / "labels.jsonl").read_bytes().splitlines()]
    told = pl.DataFrame(
        [(each["path"], each["index"], each["expected"]) for each in labels],
        schema={"path": pl.String, "raw_index": pl.UInt32, "expected": pl.String},
        orient="row",
    )
    rows = screened_rows(ROOT / "examples" / "traces").filter(pl.col("reason").is_null(), pl.col("num_tool_calls") > 0)
    path = pl.col("raw_path").str.split("/traces/").list.last()
    joined = rows.with_columns(path=path).join(told, on=["path", "raw_index"], how="inner")
    return joined.filter(pl.col("expected").is_in(["keep", *_CRITERION])).sort("trajectory_id")


def cases_of(rows: pl.DataFrame, attacks: Sequence[dict[str, str]]) -> list[Case]:
    """Every attack in some bad rows and a good one, other ones from attack to attack."""
    criteria = {each.name: each for each in load_rubric("trajectories", JudgeConfig())}
    held = rows.select(*TRAJECTORIES, "expected").to_dicts()
    bad = [row for row in held if row["expected"] != "keep"]
    good = [row for row in held if row["expected"] == "keep"]
    good = good[:: len(good) // GOOD_ROWS][:GOOD_ROWS]
    names = sorted(_CRITERION.values())
    cases: list[Case] = []
    for number, attack in enumerate(attacks):
        for place in range(number * BAD_PER_ATTACK, (number + 1) * BAD_PER_ATTACK):
            row = bad[place % len(bad)]
            cases.append(Case(attack, row, False, criteria[_CRITERION[row["expected"]]]))
        place = number % len(good)
        cases.append(Case(attack, good[place], True, criteria[names[place % len(names)]]))
    return cases


def attacked(row: Row, text: str, place: str) -> Row:
    """The row with the text behind its last observation, behind its last words and answer, or behind its task."""
    messages = [dict(message) for message in row["messages"]]
    found = [index for index, message in enumerate(messages) if message["role"] == _ROLES[place]]
    index = found[0] if place == "user" else found[-1]
    content = messages[index]["content"] or ""
    messages[index]["content"] = f"{content}\n{text}"
    changed: Row = {"messages": messages}
    if place == "user" and content == row["prompt"]:
        changed["prompt"] = messages[index]["content"]
    if place == "answer" and row["final_answer"] is not None:
        changed["final_answer"] = f"{row['final_answer']}\n{text}"
    return row | changed


def frame_of(rows: Sequence[Row], names: Sequence[str]) -> pl.DataFrame:
    """The rows under other names."""
    named = [row | {"trajectory_id": name} for row, name in zip(rows, names, strict=True)]
    return pl.DataFrame(named, schema=TRAJECTORIES)


def question_of(row: Row, name: str, criterion: Criterion, *, defended: bool) -> Question:
    """The criterion's question about a row; of several calls the last one, whose observation may hold the attack."""
    return questions_of(frame_of([row], [name]), (criterion,), JudgeConfig(), defended=defended)[-1]
