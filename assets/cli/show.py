"""Tables as a terminal shows them."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from pipeline.reasons import Reason

_COLOURS = {"drop": "red", "review": "yellow", "retry": "blue"}


def console() -> Console:
    """A console that never wraps a table's numbers, also when the output is a file."""
    made = Console(highlight=False, soft_wrap=False)
    if not made.is_terminal:
        made = Console(highlight=False, width=160)
    return made


def funnel_table(funnel: Mapping[str, Mapping[str, int]]) -> Table:
    """Rows per stage and reason: what came in, what is still in, and every reason with its kind."""
    table = Table(title="funnel", title_justify="left", show_edge=False, pad_edge=False)
    table.add_column("stage")
    table.add_column("rows in", justify="right")
    table.add_column("kept", justify="right")
    table.add_column("reason")
    table.add_column("kind")
    table.add_column("rows", justify="right")
    for stage, counts in funnel.items():
        out = sorted(
            ((reason, rows) for reason, rows in counts.items() if reason != "keep"), key=lambda x: (-x[1], x[0])
        )
        head = (stage, f"{sum(counts.values()):,}", f"{counts.get('keep', 0):,}")
        for k, (reason, rows) in enumerate(out or [("", 0)]):
            kind = Reason(reason).kind.value if reason else ""
            colour = _COLOURS.get(kind, "default")
            cells = head if k == 0 else ("", "", "")
            table.add_row(*cells, f"[{colour}]{reason}[/]", kind, f"{rows:,}" if reason else "")
        table.add_section()
    return table
