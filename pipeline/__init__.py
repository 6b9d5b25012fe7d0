"""The curation library: trace formats, gates, answers, ledger and export. No dagster, no torch."""

__version__ = "0.1.0"
