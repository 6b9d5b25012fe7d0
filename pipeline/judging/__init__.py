"""Asking a model whether rows are good, and how far its answers may be trusted."""
