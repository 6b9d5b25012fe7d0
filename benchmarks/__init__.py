"""Scripts that measure, each with the result it committed beside it."""
