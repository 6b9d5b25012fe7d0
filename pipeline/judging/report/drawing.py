"""Figures as inline SVG: the same bytes for the same numbers, and colours that follow the page's light or dark."""

import html
import io
import re
from contextlib import AbstractContextManager

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.style import context

INK, FAINT, BEFORE, AFTER, RIGHT, WRONG, LINE = (
    "#0a0b01",
    "#0a0b02",
    "#0a0b03",
    "#0a0b04",
    "#0a0b05",
    "#0a0b06",
    "#0a0b07",
)
"""Stand-ins that matplotlib draws with; the page's style sheet says what they are in light and in dark."""
VARIABLES = {
    INK: "--ink",
    FAINT: "--faint",
    BEFORE: "--before",
    AFTER: "--after",
    RIGHT: "--right",
    WRONG: "--wrong",
    LINE: "--line",
}
_WIDTH, _HEIGHT = 4.0, 3.0
_STYLE = {
    "svg.fonttype": "none",
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "grid.color": FAINT,
    "grid.alpha": 0.25,
}


class Drawing:
    """One figure of the report while it is drawn; `svg()` ends it."""

    def __init__(self, name: str, *, says: str, heights: tuple[int, ...] = (1,)) -> None:
        """An empty figure.

        Args:
            name: letters and dashes, alone in the page.
            says: what it shows, for those who cannot see it.
            heights: relative heights of the panels, one above the other.
        """
        self._name, self._says = name, says
        with self._styled():
            self._figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
            grid = self._figure.add_gridspec(len(heights), 1, height_ratios=heights)
            self.panels: list[Axes] = []
            for k in range(len(heights)):
                self.panels.append(self._figure.add_subplot(grid[k], sharex=self.panels[0] if self.panels else None))
                self.panels[-1].grid(visible=True)

    def svg(self) -> str:
        """The figure as an `<svg>` element."""
        with self._styled():
            held = io.StringIO()
            nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
            self._figure.savefig(held, format="svg", transparent=True, metadata=nothing)
        return self._inline(held.getvalue())

    def _styled(self) -> AbstractContextManager[None]:
        """Matplotlib's own defaults, whatever this user's matplotlibrc says, and ours over them."""
        return context(["default", {**_STYLE, "svg.hashsalt": self._name}])

    def _inline(self, text: str) -> str:
        """The element alone: no prologue, ids that no other figure has, colours by variable, type of the page."""
        text = text[text.index("<svg") :]
        text = re.sub(r' xmlns:xlink="[^"]*"', "", text).replace("xlink:href", "href")
        text = re.sub(
            r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", text, flags=re.DOTALL
        )  # would style the whole page
        text = re.sub(r'\bid="', f'id="{self._name}-', text)
        text = re.sub(r'(url\(|href=")#', rf"\g<1>#{self._name}-", text)
        text = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, sans-serif", text)
        text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
        text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
        for colour, variable in VARIABLES.items():
            text = text.replace(colour, f"var({variable})")
        return text.replace("<svg", f'<svg role="img" aria-label="{html.escape(self._says)}"', 1).rstrip()
