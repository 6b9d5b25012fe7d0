"""Whether a recorded observation and a rerun say the same."""
