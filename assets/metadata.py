"""What the UI shows of a partition: reasons as a table, the funnel as a picture, some rows."""

import base64
from collections.abc import Mapping
from html import escape
from typing import Any

import dagster as dg
import polars as pl

from pipeline.curation.summary import Summary
from pipeline.reasons import Reason

_COLOURS = {"keep": "#2b8a3e", "drop": "#c92a2a", "review": "#e67700", "retry": "#1864ab"}
_WIDTH, _ROW = 640, 24


def metadata_of(summary: Summary, sample: pl.DataFrame) -> dict[str, dg.MetadataValue]:
    """Counts, reasons, picture and sample rows of one partition.

    The sample names rows and never quotes them: Dagster keeps its history, and a purged trajectory must be gone.
    """
    values: dict[str, dg.MetadataValue] = {
        "dagster/partition_row_count": dg.MetadataValue.int(summary.rows_out),
        "rows_in": dg.MetadataValue.int(summary.rows_in),
        "kept": dg.MetadataValue.int(summary.num_kept),
        "rows_by_reason": dg.MetadataValue.md(reason_table(summary.rows_by_reason)),
        "funnel": dg.MetadataValue.md(f"![funnel]({funnel_picture(summary.rows_by_reason)})"),
        "sample": dg.MetadataValue.md(sample_table(sample)),
    }
    for name, value in summary.facts.items():
        values[name] = dg.MetadataValue.json(value) if isinstance(value, Mapping) else _plain(value)
    return values


def reason_table(counts: Mapping[str, int]) -> str:
    """Rows by reason as Markdown, kept first, then the largest."""
    total = sum(counts.values()) or 1
    lines = ["| reason | kind | rows | share |", "|---|---|---:|---:|"]
    for reason, rows in _ordered(counts):
        lines.append(f"| {reason} | {_kind(reason)} | {rows:,} | {rows / total:.1%} |")
    return "\n".join(lines)


def funnel_picture(counts: Mapping[str, int]) -> str:
    """A bar per reason as an SVG data URI, coloured by kind."""
    rows = _ordered(counts)
    largest = max(counts.values(), default=1) or 1
    bars = []
    for k, (reason, number) in enumerate(rows):
        top = k * _ROW
        width = max(1, round((_WIDTH - 280) * number / largest))
        bars.append(
            f'<text x="196" y="{top + 16}" text-anchor="end">{escape(reason)}</text>'
            f'<rect x="204" y="{top + 4}" width="{width}" height="{_ROW - 8}" fill="{_COLOURS[_kind(reason)]}"/>'
            f'<text x="{210 + width}" y="{top + 16}">{number:,}</text>'
        )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{len(rows) * _ROW}" '
        f'font-family="sans-serif" font-size="12" fill="#444">{"".join(bars)}</svg>'
    )
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def sample_table(rows: pl.DataFrame) -> str:
    """The rows as a Markdown table, cells shortened and escaped."""
    head = f"| {' | '.join(rows.columns)} |"
    lines = [head, "|" + "---|" * len(rows.columns)]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows.iter_rows()]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return escape(text[:60]).replace("|", "\\|").replace("\n", " ")


def _plain(value: Any) -> dg.MetadataValue:
    if isinstance(value, bool):
        return dg.MetadataValue.bool(value)
    if isinstance(value, int):
        return dg.MetadataValue.int(value)
    if isinstance(value, float):
        return dg.MetadataValue.float(value)
    return dg.MetadataValue.text(str(value))


def _kind(reason: str) -> str:
    return "keep" if reason == "keep" else Reason(reason).kind.value


def _ordered(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (item[0] != "keep", -item[1], item[0]))
