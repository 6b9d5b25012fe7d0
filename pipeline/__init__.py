"""The curation library: trace formats, gates, answers, ledger and export. No dagster, no torch."""
