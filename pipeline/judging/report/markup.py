"""Small pieces of HTML; every text that comes in is escaped."""

import math
from collections.abc import Iterable, Sequence
from html import escape

Cell = str | int | float | None

NONE = "–"


def table(head: Sequence[str], rows: Iterable[Sequence[Cell]], *, says: str) -> str:
    """A table with a heading of its own; numbers stand to the right. It scrolls where it is too wide."""
    titles = "".join(f'<th scope="col">{escape(each)}</th>' for each in head)
    body = "".join(f"<tr>{''.join(_cell(each) for each in row)}</tr>" for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(says)}"><table><caption>{escape(says)}'
        f"</caption><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def bullets(texts: Iterable[str]) -> str:
    """A list of plain texts."""
    return f"<ul>{''.join(f'<li>{escape(each)}</li>' for each in texts)}</ul>"


def figure(svg: str, title: str, told: str) -> str:
    """A drawing with its title above and what it says below."""
    return f"<figure><h3>{escape(title)}</h3>{svg}<figcaption>{escape(told)}</figcaption></figure>"


def section(title: str, *parts: str) -> str:
    """A part of the page under its heading."""
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def percent(share: float) -> str:
    """A share to a tenth of a percent, `95%` for 0.95."""
    return f"{100 * share:.1f}".removesuffix(".0") + "%"


def at_least(share: float) -> str:
    """A lower bound as a percentage: rounded down, for it may not grow by being told."""
    return percent(math.floor(share * 1000 + 1e-9) / 1000)


def _cell(value: Cell) -> str:
    if value is None:
        return f'<td class="number">{NONE}</td>'
    if isinstance(value, bool | str):
        return f"<td>{escape(str(value))}</td>"
    told = f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
    return f'<td class="number">{told}</td>'
