"""Dagster wiring and the command line: no logic about the data lives here."""
