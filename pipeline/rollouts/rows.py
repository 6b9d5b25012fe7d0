"""Rollouts as raw records, as rows of `trajectories`, and as rows with every token."""

from collections.abc import Iterator, Sequence
from typing import Any

import orjson
import polars as pl

from pipeline.landing.identity import UniqueIds, canonical_hash
from pipeline.landing.reading import RawRecord
from pipeline.landing.rows import batches, rows_of
from pipeline.rollouts.rollout import Rollout
from pipeline.schema import ROLLOUTS, TRAJECTORIES, Message
from pipeline.tasks import task_id_of
from pipeline.tokens import TokenCounter

_BATCH_ROWS, _BATCH_BYTES = 10_000, 48 * 2**20


def raw_records(rollouts: Sequence[Rollout]) -> list[dict[str, Any]]:
    """Each rollout as an agent's log has it: a chat with its tools, truth and outcome; `toolwise curate` reads it.

    A rollout that its policy or a tool broke off is no finished trace, and says so under `end`.
    """
    return [_record(rollout) for rollout in rollouts]


def trajectories_frame(rollouts: Sequence[Rollout]) -> pl.DataFrame:
    """A row a rollout as TRAJECTORIES, in order: what curating their raw records would give, ids included.

    `source` is the task's; `raw_path` is empty, since they were never in a file.
    """
    frames = [frame for source in _sources(rollouts) for frame in _parsed(rollouts, source)]
    if not frames:
        return pl.DataFrame(schema=TRAJECTORIES)
    rows = pl.concat(frames).sort("raw_index")
    return rows.with_columns(pl.col(name).cast(dtype) for name, dtype in TRAJECTORIES.items()).select(*TRAJECTORIES)


def rollouts_frame(rollouts: Sequence[Rollout]) -> pl.DataFrame:
    """A row a rollout as ROLLOUTS, in order.

    Its calls are those that were made and its answer is the one that was graded, whatever a parser of its text would
    see in a turn that was cut.
    """
    told = {
        "final_answer": [each.final_answer for each in rollouts],
        "num_tool_calls": [each.num_tool_calls for each in rollouts],
        "group_id": [f"{each.task.task_id}@{each.policy}" for each in rollouts],
        "rollout_index": [each.index for each in rollouts],
        "policy": [each.policy for each in rollouts],
        "end": [each.end.value for each in rollouts],
        "failure": [each.failure for each in rollouts],
        "is_correct": [each.is_correct for each in rollouts],
        "rule": [each.rule for each in rollouts],
        "num_new_tokens": [each.num_new_tokens for each in rollouts],
        "wall_s": [each.wall_s for each in rollouts],
        "token_ids": [None if each.tokens is None else each.tokens.ids for each in rollouts],
        "is_model": [None if each.tokens is None else list(each.tokens.is_model) for each in rollouts],
        "logprobs": [None if each.tokens is None else each.tokens.logprobs for each in rollouts],
    }
    own = pl.DataFrame(told, schema={name: ROLLOUTS[name] for name in told}, strict=False)
    return trajectories_frame(rollouts).drop("final_answer", "num_tool_calls").hstack(own).select(*ROLLOUTS)


def _record(rollout: Rollout) -> dict[str, Any]:
    task = rollout.task
    record: dict[str, Any] = {"messages": [_chat(each) for each in rollout.messages]}
    if task.tools:
        record["tools"] = list(task.tools)
    if task.ground_truth is not None:
        record["ground_truth"] = task.ground_truth
    if rollout.is_correct is not None:
        record["success"] = rollout.is_correct
    record["rollout"] = {
        "task": task.task_id,
        "index": rollout.index,
        "policy": rollout.policy,
        "end": rollout.end.value,
        **task.metadata,
    }
    return record


def _chat(held: Message) -> dict[str, Any]:
    """A message as chat logs have it: what is null is left out, arguments stay the text that was emitted."""
    told: dict[str, Any] = {"role": held["role"], "content": held["content"]}
    if held["reasoning"] is not None:
        told["reasoning_content"] = held["reasoning"]
    if held["tool_calls"]:
        told["tool_calls"] = [
            {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}
            for call in held["tool_calls"]
        ]
    for name in ("tool_call_id", "name"):
        if held[name] is not None:
            told[name] = held[name]
    return told


def _sources(rollouts: Sequence[Rollout]) -> list[str]:
    return list(dict.fromkeys(rollout.task.source for rollout in rollouts))


def _parsed(rollouts: Sequence[Rollout], source: str) -> Iterator[pl.DataFrame]:
    """The rows of one source, through the parser that every trace goes through."""
    rows = rows_of(_raw(rollouts, source), source=source, raw_path="", ids=UniqueIds(), purged=set())
    for frame in batches(rows, TokenCounter(None), max_rows=_BATCH_ROWS, max_bytes=_BATCH_BYTES):
        yield frame.with_columns(task_id=task_id_of(pl.col("prompt"), pl.col("tools")))


def _raw(rollouts: Sequence[Rollout], source: str) -> Iterator[RawRecord]:
    for place, rollout in enumerate(rollouts):
        if rollout.task.source == source:
            record = orjson.loads(orjson.dumps(_record(rollout)))
            yield RawRecord(record, canonical_hash(record), [place], place)
