"""The result of judge_mint as Markdown."""

from collections.abc import Iterator
from typing import Any


def tables(result: dict[str, Any]) -> Iterator[str]:
    """Three tables: how each scorer orders unseen tasks, what the cascade saves, what was kept at each target."""
    for reading, rows in result["readings"].items():
        yield f"{reading}: {rows['rows']:,} attempts at {rows['tasks']:,} tasks, {rows['share_right']:.1%} right."
    yield ""
    yield (
        "| AUC on unseen tasks | reading, calibrated on | second stage | classifier | both "
        "| with an answer: second stage | classifier | both |"
    )
    yield "|---|---|---:|---:|---:|---:|---:|---:|"
    for half in result["halves"]:
        yield _row(half, *map(_figure, [*half["auc"].values(), *half["auc_with_answer"].values()]))
    yield ""
    yield (
        "| calls saved at equal precision | reading, calibrated on | rows kept | precision asking all | calls saved "
        "| precision |"
    )
    yield "|---|---|---:|---:|---:|---:|"
    for half in result["halves"]:
        for told in half["saved_at_equal_precision"]:
            kept, whole = f"{told['kept']:.0%}", f"{told['precision_asking_all']:.1%}"
            yield _row(half, kept, whole, f"{told['calls_saved']:.0%}", f"{told['precision']:.1%}")
    yield ""
    yield (
        "| second stage | reading, calibrated on | target | cascade | calls saved | coverage | recall "
        "| precision, one row a task | precision, all rows |"
    )
    yield "|---|---|---:|---|---:|---:|---:|---:|---:|"
    for half in result["halves"]:
        for told in half["targets"]:
            saved, covered, found = (_percent(told[name]) for name in ("calls_saved", "coverage", "recall"))
            cascade, shares = (
                "yes" if told["cascade"] else "no",
                (_share(told["one_per_task"]), _share(told["all_rows"])),
            )
            yield _row(half, f"{told['target']:.0%}", cascade, saved, covered, found, *shares)


def _row(half: dict[str, Any], *cells: str) -> str:
    place = f"{half['reading']}, {half['calibrated_on']}"
    return f"| {' | '.join((half['second_stage'], place, *cells))} |"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _share(told: dict[str, Any]) -> str:
    """A precision with its interval and what it is counted over."""
    if told["precision"] is None:
        return "nothing promised, nothing kept"
    low, high = told["interval"]
    return f"{told['precision']:.1%} ({low:.1%} to {high:.1%}) of {told['kept']:,}"
