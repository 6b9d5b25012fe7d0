"""The traces of the world's over-calling agent among the samples, labelled by what the world knows of their tasks.

They were sampled once, by `python -m training.world.traces`, and lie in `world_rollouts.jsonl`: real rollouts of a real
model with real tools. Whether a call was needed is known from the kind of the task.
"""

from pathlib import Path
from typing import Any

import orjson

from examples.corpus import Corpus, Entry
from examples.special import DAYS

ROLLOUTS = Path(__file__).with_name("world_rollouts.jsonl")
SOURCE = "world"
TOOL_FREE = ("easy_sum", "known_fact")
"""Kinds of task that the agent solves without a tool."""


def add_world(corpus: Corpus) -> None:
    """The rollouts, as many a day, in the order they were sampled."""
    records = [orjson.loads(line) for line in ROLLOUTS.read_bytes().splitlines()]
    for day, folder in enumerate(DAYS):
        corpus.add(f"{SOURCE}/{folder}/rollouts.jsonl", [_entry(record) for record in records[day :: len(DAYS)]])


def _entry(record: dict[str, Any]) -> Entry:
    needed = record["rollout"]["kind"] not in TOOL_FREE
    if not record["success"]:
        return Entry(record, "wrong_answer", "screened", "The answer is not the recorded truth: a search found another")
    if not needed:
        return Entry(record, "tool_unnecessary", "attempted", "The agent solves it without the tool", necessary=False)
    return Entry(record, "keep", "screened", "the tool was needed", necessary=True)
