"""The figures of the report, each from plain numbers."""

from collections.abc import Sequence

import numpy as np

from pipeline.judging.report.bins import Bin
from pipeline.judging.report.drawing import AFTER, BEFORE, FAINT, INK, LINE, RIGHT, WRONG, Drawing

_EDGES = np.linspace(0, 1, 21)


def reliability_plot(name: str, title: str, before: Sequence[Bin], after: Sequence[Bin]) -> str:
    """Share of right answers over the score, raw and calibrated, with the rows of each bin below."""
    drawing = Drawing(name, says=f"Reliability of {title}, before and after calibration", heights=(3, 1))
    shares, counts = drawing.panels
    shares.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, linestyle=(0, (4, 3)))
    for bins, colour, label, face in ((before, BEFORE, "judge's score", "none"), (after, AFTER, "calibrated", AFTER)):
        x, y = [each.score for each in bins], [each.share for each in bins]
        reach = [[each.share - each.low for each in bins], [each.high - each.share for each in bins]]
        shares.errorbar(x, y, yerr=np.abs(reach), fmt="none", ecolor=colour, elinewidth=0.9, alpha=0.7)
        shares.plot(x, y, linestyle="none", marker="o", markersize=4.5, color=colour, markerfacecolor=face, label=label)
        counts.bar(x, [each.count for each in bins], width=0.012, color=colour, alpha=0.8)
    shares.set(title=title, ylabel="share right", ylim=(-0.03, 1.03))
    shares.tick_params(labelbottom=False)
    shares.legend(loc="upper left")
    counts.set(xlabel="score", ylabel="rows", xlim=(-0.03, 1.03))
    counts.yaxis.get_major_locator().set_params(integer=True, nbins=2)
    return drawing.svg()


def coverage_plot(
    name: str,
    coverage: np.ndarray,
    precision: np.ndarray,
    bounds: Sequence[tuple[float, float]],
    *,
    target: float,
    chosen: tuple[float, float] | None,
) -> str:
    """Precision over the share kept, with the target, the bounds that were tested and the point chosen.

    Args:
        coverage: float64 [N], ascending.
        precision: float64 [N], of the best rows that make up each coverage.
        bounds: coverage and lower bound at each threshold tested.
        target: the precision promised.
        chosen: coverage and precision at the certified threshold, None where there is none.
    """
    drawing = Drawing(name, says="Precision over coverage on the certifying labels")
    [panel] = drawing.panels
    panel.plot(coverage, precision, color=AFTER, linewidth=1.4, drawstyle="steps-post", label="measured")
    if bounds:
        x, y = zip(*sorted(bounds), strict=True)
        panel.plot(x, y, color=BEFORE, linewidth=1.0, marker=".", markersize=4, label="lower bound")
    panel.axhline(target, color=LINE, linewidth=1.0, linestyle=(0, (4, 3)), label=f"promised, {target:.1%}")
    if chosen is not None:
        panel.axvline(chosen[0], color=INK, linewidth=0.8)
        panel.plot(*chosen, marker="o", markersize=6, color=INK, linestyle="none", label="chosen")
    lowest = min([target, *precision.tolist(), *(bound for _, bound in bounds)])
    panel.set(xlabel="share of rows kept", ylabel="precision", xlim=(0, 1.02), ylim=(max(0.0, lowest - 0.05), 1.01))
    panel.legend(loc="lower left")
    return drawing.svg()


def truth_histogram(
    name: str, right: np.ndarray, wrong: np.ndarray, *, threshold: float | None, title: str, xlabel: str
) -> str:
    """How scores of right and of wrong rows lie, and the threshold between them."""
    drawing = Drawing(name, says=f"{title}: scores of right and of wrong rows", heights=(1, 1))
    for panel, held, colour, label in zip(
        drawing.panels, (right, wrong), (RIGHT, WRONG), ("right", "wrong"), strict=True
    ):
        panel.hist(np.clip(held, 0, 1), bins=_EDGES.tolist(), color=colour, alpha=0.85)
        panel.set_ylabel(f"{label} ({len(held):,})")
        panel.yaxis.get_major_locator().set_params(integer=True, nbins=4)
        if threshold is not None:
            panel.axvline(threshold, color=INK, linewidth=1.0)
    drawing.panels[0].set_title(title)
    drawing.panels[0].tick_params(labelbottom=False)
    drawing.panels[-1].set(xlabel=xlabel, xlim=(-0.02, 1.02))
    return drawing.svg()
