"""The result of judge_mint as Markdown: every row for the terminal, and the section of the page."""

from collections.abc import Iterator
from typing import Any

SHOWN = 0.1
"""The share kept that the page shows."""
STRICT = 0.9
"""From here on a target is a strict one."""


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


def section(result: dict[str, Any]) -> list[str]:
    """The section of README.md: how well each scorer orders, what it saves, and every promise that could be made."""
    promises = [(half, told) for half in result["halves"] for told in half["targets"]]
    made = [(half, told) for half, told in promises if told["all_rows"]["precision"] is not None]
    lines = [
        "## judge_mint: real outcomes as gold",
        "",
        f"`{result['command']}` (wants the public traces of MINT): recorded success is the label of one criterion, "
        "correctness; tasks are split in halves, calibrated on one, measured on the other, both ways. The second stage "
        "behind the classifier is the embedded model (of "
        f"{result['embedded']['questions']} attempts), a text classifier of the answer, a forest over how many of a "
        "task's other attempts agree, and an oracle that knows. First answer and whole: what of the attempt is read.",
        "",
        *(
            f"- {name}: {r['rows']:,} attempts at {r['tasks']} tasks, {r['share_right']:.1%} right."
            for name, r in result["readings"].items()
        ),
        "",
        "| second stage | reading, calibrated on | AUC of the second stage | of the classifier | of both "
        "| calls saved at equal precision, best 10% kept | that precision |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for half in result["halves"]:
        [told] = [told for told in half["saved_at_equal_precision"] if told["kept"] == SHOWN]
        saved = (f"{told['calls_saved']:.0%}", f"{told['precision_asking_all']:.1%}")
        lines.append(_row(half, *map(_figure, half["auc"].values()), *saved))
    strict = sum(told["target"] >= STRICT for _, told in made)
    return [
        *lines,
        "",
        f"Of {len(promises)} promises asked for, {len(made)} could be made, {strict} of them at {STRICT:.0%} or more: "
        "with a quarter of the attempts right and about a hundred labels to certify with, the rest keep nothing, "
        "which is the answer a promise has to give. Those made, and what came true on the other half:",
        "",
        "| second stage | reading, calibrated on | target | cascade | coverage | precision, one row a task "
        "| precision, all rows |",
        "|---|---|---:|---|---:|---:|---:|",
        *(
            _row(
                half,
                f"{told['target']:.0%}",
                "yes" if told["cascade"] else "no",
                _percent(told["coverage"]),
                _share(told["one_per_task"]),
                _share(told["all_rows"]),
            )
            for half, told in made
        ),
        "",
        "A label is a task's, not an attempt's: the promise is about one row a task, and attempts that fail together "
        "can lie under it.",
    ]


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
