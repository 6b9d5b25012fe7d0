"""Writing the true observation in the place of a wrong one, where the rest of the trajectory survives it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from pipeline.schema import MESSAGE, Message, Verdict

_TOKEN = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]\w+")
"""What a later turn can have taken from an observation: a number, or a word of two letters or more."""


def repairs(trajectories: pl.DataFrame, replays: pl.DataFrame) -> pl.DataFrame:
    """The trajectories whose every mismatch can be mended: trajectory_id, messages, repaired (message indices).

    The answer survives where nothing the agent wrote later (text, reasoning, arguments, final answer) holds a number or
    word that only the wrong observation said: not the true one, and nothing before it. Two runs must have agreed on the
    true observation, and no other call of the trajectory may be in doubt.

    Reads: trajectory_id, messages, final_answer; replays as REPLAYS with `observed`.
    Writes: one row per mended trajectory, in order of the trajectories.
    """
    genuine = replays.filter(pl.col("origin") == "environment")
    verdicts = genuine.group_by("trajectory_id").agg(pl.col("verdict").cast(pl.String).unique())
    certain = [Verdict.MATCH.value, Verdict.MISMATCH.value]
    settled = verdicts.filter(
        pl.col("verdict").list.contains(Verdict.MISMATCH.value)
        & pl.col("verdict").list.eval(pl.element().is_in(certain)).list.all()
    )["trajectory_id"]
    wrong: dict[str, dict[int, str]] = {}
    mismatches = genuine.filter(
        pl.col("trajectory_id").is_in(settled.implode()), pl.col("verdict") == Verdict.MISMATCH.value
    )
    for row in mismatches.iter_rows(named=True):
        wrong.setdefault(row["trajectory_id"], {})[row["observation_index"]] = row["observed"].rstrip("\n")
    rows = []
    candidates = trajectories.filter(pl.col("trajectory_id").is_in(list(wrong)))
    for row in candidates.select("trajectory_id", "messages", "final_answer").iter_rows(named=True):
        mended = repaired(row["messages"], wrong[row["trajectory_id"]], row["final_answer"])
        if mended is not None:
            indices = sorted(wrong[row["trajectory_id"]])
            rows.append({"trajectory_id": row["trajectory_id"], "messages": mended, "repaired": indices})
    schema = {"trajectory_id": pl.String, "messages": pl.List(MESSAGE), "repaired": pl.List(pl.UInt32)}
    return pl.DataFrame(rows, schema=schema)


def repaired(
    messages: Sequence[Message], true: Mapping[int, str], final_answer: str | None
) -> list[dict[str, Any]] | None:
    """The messages with the true observations (by message index) in place; None where the rest does not survive."""
    for index, text in true.items():
        said_before = _tokens(_texts(messages[:index]))
        only_false = _tokens([messages[index]["content"] or ""]) - _tokens([text]) - said_before
        later = [*_texts(m for m in messages[index + 1 :] if m["role"] == "assistant"), final_answer or ""]
        if only_false & _tokens(later):
            return None
    return [
        {**message, "content": true[index]} if index in true else dict(message)
        for index, message in enumerate(messages)
    ]


def _texts(messages: Iterable[Message]) -> list[str]:
    """Everything the messages say: content, reasoning and arguments of calls."""
    found = []
    for message in messages:
        found += [message["content"] or "", message["reasoning"] or ""]
        found += [call["arguments"] or "" for call in message["tool_calls"] or ()]
    return found


def _tokens(texts: Iterable[str]) -> set[str]:
    return {token.lower() for text in texts for token in _TOKEN.findall(text)}
