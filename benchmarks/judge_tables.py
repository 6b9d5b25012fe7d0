"""The result of judge_mint as Markdown."""

from collections.abc import Iterator
from typing import Any


def tables(result: dict[str, Any]) -> Iterator[str]:
    """Two tables: how each scorer orders unseen tasks, and what was kept of them at each target."""
    rows = result["rows"]
    yield f"{rows['rows']:,} attempts at {rows['tasks']:,} tasks, {rows['share_right']:.1%} of them right."
    yield ""
    yield "| AUC on unseen tasks | second stage | classifier | both | with an answer: second stage | classifier | both |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for half in result["halves"]:
        auc = half["auc"]
        order = [f"{name}{which}" for which in ("", ", with an answer") for name in ("second stage", "classifier", "both")]
        cells = " | ".join(_figure(auc[name]) for name in order)
        yield f"| {half['second_stage']}, {half['calibrated_on']} | {cells} |"
    yield ""
    yield (
        "| second stage | calibrated on | target | cascade | calls saved | coverage | recall | precision, one row a task "
        "| precision, all rows |"
    )
    yield "|---|---|---:|---|---:|---:|---:|---:|---:|"
    for half in result["halves"]:
        for told in half["targets"]:
            yield " | ".join(
                (
                    f"| {half['second_stage']}",
                    half["calibrated_on"],
                    f"{told['target']:.0%}",
                    "yes" if told["cascade"] else "no",
                    f"{told['calls_saved']:.1%}",
                    f"{told['coverage']:.1%}",
                    "" if told["recall"] is None else f"{told['recall']:.1%}",
                    _share(told["one_per_task"]),
                    f"{_share(told['all_rows'])} |",
                )
            )


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _share(told: dict[str, Any]) -> str:
    """A precision with its interval and what it is counted over."""
    if told["precision"] is None:
        return "nothing promised, nothing kept"
    low, high = told["interval"]
    return f"{told['precision']:.1%} ({low:.1%} to {high:.1%}) of {told['kept']:,}"
