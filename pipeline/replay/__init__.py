"""Calling a trajectory's tools again: environments, what a run gave, and what that says of the record."""
