"""Days that hold rows waiting for another try."""

import polars as pl

from pipeline.ledger import scan_decisions
from pipeline.reasons import Kind
from pipeline.store import TableStore


def days_to_retry(store: TableStore) -> list[str]:
    """Days with at least one `retry` decision that stands, ascending."""
    waiting = scan_decisions(store).filter(pl.col("kind") == Kind.RETRY.value).select(pl.col("day").unique().sort())
    return waiting.collect()["day"].to_list()
