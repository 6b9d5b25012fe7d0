"""Evidence as the ledger keeps it."""

import polars as pl

from pipeline.privacy.redaction import redact_strings


def with_redacted_evidence(marked: pl.DataFrame) -> pl.DataFrame:
    """The decisions a stage took: trajectory_id, reason and evidence, which quotes traces and so is redacted.

    Rows that came in with a reason have no evidence here: it stands with the stage that gave the reason.
    """
    told = marked.filter(pl.col("evidence").is_not_null()).select("trajectory_id", "reason", "evidence")
    return told.with_columns(redact_strings(told["evidence"]).alias("evidence"))
