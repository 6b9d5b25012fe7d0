"""The `--day` option: one day, or a range `A..B`."""

import re
from datetime import date

import click

from pipeline.store import TableStore

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def parse_day(text: str) -> str:
    """The day in ISO form. Raises click.BadParameter for anything that is not a date."""
    told = f"want YYYY-MM-DD, found {text!r}"
    if not _DAY.fullmatch(text):
        raise click.BadParameter(told)
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise click.BadParameter(told) from error


def parse_range(text: str | None) -> tuple[str, str] | None:
    """First and last day of `A..B` or of one day; None for no restriction."""
    if text is None:
        return None
    first, dots, last = text.partition("..")
    span = (parse_day(first), parse_day(last) if dots else parse_day(first))
    if span[0] > span[1]:
        raise click.BadParameter(f"the range {text} ends before it begins")
    return span


def days_within(store: TableStore, asset: str, span: tuple[str, str] | None) -> list[str]:
    """The written days of an asset inside the range."""
    return [day for day in store.days(asset) if span is None or span[0] <= day <= span[1]]
