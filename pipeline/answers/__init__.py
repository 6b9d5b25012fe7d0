"""Answers: taking one out of a text, and deciding whether it matches the ground truth."""
