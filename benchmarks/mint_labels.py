"""The labelled self-written observations of MINT, each beside the step of ours that makes the same claim."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.replay.arguments import code_of
from pipeline.replay.claims import merged_steps

LABELS = Path(__file__).parents[2] / "shared" / "data" / "mint" / "DERIVED_self_written_observations.jsonl"

SCHEMA = {
    "trajectory_id": pl.String,
    "step_index": pl.UInt32,
    "trace": pl.String,
    "pair": pl.UInt32,
    "code": pl.String,
    "claimed": pl.String,
    "reexecuted": pl.String,
    "label": pl.String,
    "trace_label": pl.String,
    "is_same_code": pl.Boolean,
    "is_same_claim": pl.Boolean,
}


def labelled_claims(trajectories: pl.DataFrame, labels: Path = LABELS) -> pl.DataFrame:
    """One row per labelled pair of code and claimed output, with the step that our reading of the trace makes of it.

    The labels name model, setting, task and its number; these stand in `raw_path` and `metadata`. They are about the
    first self-written message of a trace, so the k-th pair is our k-th claim with a result in that message; claims
    equal after folding white space are `is_same_claim`.

    Grain: labelled pairs, in order; trajectory_id and step_index are null where no trajectory or claim is theirs.
    Reads: trajectories: trajectory_id, raw_path, metadata, messages, of MINT; others are passed over.
    """
    told = [json.loads(line) for line in labels.read_text(encoding="utf-8").splitlines()]
    named = trajectories.filter(pl.col("raw_path").is_not_null(), pl.col("messages").list.len() > 0).select(
        "trajectory_id", "raw_path", "metadata"
    )
    known = {_trace(path, metadata): name for name, path, metadata in named.iter_rows()}
    ids = [known[trace] for item in told if (trace := _labelled_trace(item)) in known]
    rows = trajectories.filter(pl.col("trajectory_id").is_in(ids))
    claims: dict[str, list[dict[str, Any]]] = defaultdict(list)
    is_told = (pl.col("origin") == "assistant") & pl.col("recorded").is_not_null()
    for step in merged_steps(rows, ids).filter(is_told).iter_rows(named=True):
        held = claims[step["trajectory_id"]]
        if not held or held[0]["message_index"] == step["message_index"]:
            held.append(step)
    pairs = [
        {"trajectory_id": known.get(trace), "trace": trace, "pair": place, "trace_label": item["trace_label"], **pair}
        | _compared(pair, claims[known.get(trace, "")], place)
        for item in told
        for trace in [_labelled_trace(item)]
        for place, pair in enumerate(item["pairs"])
    ]
    return pl.DataFrame(pairs, schema=SCHEMA)


def _compared(pair: dict[str, Any], claims: list[dict[str, Any]], place: int) -> dict[str, Any]:
    """The step of a pair, and what of it is the same."""
    if place >= len(claims):
        return {"step_index": None, "is_same_code": False, "is_same_claim": False}
    claim = claims[place]
    return {
        "step_index": claim["step_index"],
        "is_same_code": (code_of(claim["arguments"]) or "").strip() == pair["code"].strip(),
        "is_same_claim": claim["recorded"].split() == pair["claimed"].split(),
    }


def _trace(raw_path: str, metadata: str | None) -> str:
    """Model, setting, task and its number, as MINT's folders and records name them."""
    number = json.loads(metadata or "{}").get("task_id")
    return "/".join([*Path(raw_path).with_suffix("").parts[-3:], str(number)])


def _labelled_trace(item: dict[str, Any]) -> str:
    return "/".join([item["model"], item["setting"], item["task"], str(item["task_id"])])
