"""Trace formats: one module a family, detected by content, each turning one raw record into messages."""
