"""Rollouts: a policy acting on tasks with real tools, many at a time, and what it can do without them."""
