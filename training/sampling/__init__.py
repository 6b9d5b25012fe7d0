"""Policies in process: a torch model that answers many dialogues at a time."""
