"""Processes of ours, whoever starts them."""
