"""The dataset card of a snapshot: what is in it, what was left out and why, and what made it."""

from typing import Any

_TEMPLATE = """---
configs:
- config_name: default
  data_files:
{data_files}
---

# {title}

{lead}

| | rows |
|---|---:|
{split_rows}

## From raw records to this set

{funnel}

Every reason can be looked up per row: `toolwise why TRAJECTORY_ID`, or the table `decisions`.

## What the numbers rest on

{caveats}

## Made from

| | |
|---|---|
{versions}
"""


def card(
    *,
    title: str,
    lead: str,
    rows_by_split: dict[str, int],
    funnel: dict[str, dict[str, int]],
    caveats: list[str],
    versions: dict[str, Any],
) -> str:
    """The card as Markdown, with the YAML head that `datasets` and dataset viewers read.

    Args:
        title: the heading.
        lead: one paragraph that says what a row is.
        rows_by_split: rows per split, in order.
        funnel: stage to rows by reason, `keep` for those still in.
        caveats: what a reader must know to trust the numbers.
        versions: name and version of all that made the set.
    """
    files = "\n".join(f"  - split: {split}\n    path: data/{split}-*.parquet" for split in rows_by_split)
    return _TEMPLATE.format(
        data_files=files,
        title=title,
        lead=lead,
        split_rows="\n".join(f"| {split} | {rows:,} |" for split, rows in rows_by_split.items()),
        funnel=funnel_table(funnel),
        caveats="\n".join(f"- {line}" for line in caveats),
        versions="\n".join(f"| {name} | `{value}` |" for name, value in versions.items()),
    )


def funnel_table(funnel: dict[str, dict[str, int]]) -> str:
    """Rows per stage and reason as a Markdown table; the reasons of a stage add up to the rows it was given."""
    lines = ["| stage | rows in | kept | out, by reason |", "|---|---:|---:|---|"]
    for stage, counts in funnel.items():
        out = sorted(
            ((rows, reason) for reason, rows in counts.items() if reason != "keep"), key=lambda x: (-x[0], x[1])
        )
        told = ", ".join(f"{reason} {rows:,}" for rows, reason in out) or "none"
        lines.append(f"| {stage} | {sum(counts.values()):,} | {counts.get('keep', 0):,} | {told} |")
    return "\n".join(lines)
