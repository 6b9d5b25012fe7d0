"""What the UI shows of a partition: reasons as a table, the funnel as a picture, some rows."""

from collections.abc import Mapping
from html import escape
from typing import Any

import dagster as dg
import polars as pl

from pipeline.curation.summary import Summary
from pipeline.reasons import Reason

_OTHER = "other"
_COLOURS = {"keep": "seagreen", "drop": "firebrick", "review": "darkorange", "retry": "steelblue", _OTHER: "gray"}
_BARS, _ROW, _LABEL_WIDTH, _BAR_WIDTH = 8, 17, 190, 130


def metadata_of(summary: Summary, sample: pl.DataFrame) -> dict[str, dg.MetadataValue]:
    """Counts, reasons, picture and sample rows of one partition.

    The sample names rows and never quotes them: Dagster keeps its history, and a purged trajectory must be gone.
    """
    values: dict[str, dg.MetadataValue] = {
        "dagster/partition_row_count": dg.MetadataValue.int(summary.rows_out),
        "rows_in": dg.MetadataValue.int(summary.rows_in),
        "kept": dg.MetadataValue.int(summary.num_kept),
        "funnel": dg.MetadataValue.md(funnel_picture(summary.rows_by_reason)),
        "rows_by_reason": dg.MetadataValue.md(reason_table(summary.rows_by_reason)),
        "sample": dg.MetadataValue.md(sample_table(sample)),
    }
    for name, value in summary.facts.items():
        values[name] = dg.MetadataValue.json(value) if isinstance(value, Mapping) else _plain(value)
    return values


def reason_table(counts: Mapping[str, int]) -> str:
    """Rows by reason as Markdown, kept first, then the largest."""
    total = sum(counts.values()) or 1
    lines = ["| reason | rows | share | kind |", "|---|---:|---:|---|"]
    for reason, rows in _ordered(counts):
        lines.append(f"| {reason} | {rows:,} | {rows / total:.1%} | {_kind(reason)} |")
    return "\n".join(lines)


def funnel_picture(counts: Mapping[str, int]) -> str:
    """A bar for what was kept and each of the largest reasons, coloured by kind, as an SVG image in Markdown.

    Short enough for the UI to show it without a click, which it does with less than a thousand characters of Markdown;
    hence no base64, one path per colour, and the smaller reasons in one bar.
    """
    rows = _ordered(counts)
    if len(rows) > _BARS:
        rows = [*rows[: _BARS - 1], (_OTHER, sum(number for _, number in rows[_BARS - 1 :]))]
    scale = _BAR_WIDTH / max([1, *(number for _, number in rows)])
    bars: dict[str, str] = {}
    for k, (reason, number) in enumerate(rows):
        colour = _COLOURS[_kind(reason)]
        bar = f"M{_LABEL_WIDTH} {k * _ROW + 3}h{max(1, round(number * scale))}v9H{_LABEL_WIDTH}"
        bars[colour] = bars.get(colour, "") + bar
    labels = (f"<text y='{k * _ROW + 12}'>{reason} {number:,}</text>" for k, (reason, number) in enumerate(rows))
    paths = (f"<path fill='{colour}' d='{path}'/>" for colour, path in bars.items())
    svg = (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{_LABEL_WIDTH + _BAR_WIDTH}' height='{len(rows) * _ROW}'"
        f" fill='gray' style='font:11px sans-serif'>{''.join(labels)}{''.join(paths)}</svg>"
    )
    return f"![funnel](<data:image/svg+xml,{svg.replace('<', '%3C').replace('>', '%3E')}>)"


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
    return reason if reason in ("keep", _OTHER) else Reason(reason).kind.value


def _ordered(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (item[0] != "keep", -item[1], item[0]))
