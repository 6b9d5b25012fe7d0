"""Untrusted Python in isolation: a fork server inside of bubblewrap."""
