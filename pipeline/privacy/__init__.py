"""Secrets and personal data: where they stand in a text, and the text without them."""
