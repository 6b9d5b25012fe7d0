"""A small world where it is known which tasks need a tool: its facts, tools, tasks, and a model that lives in it."""
