"""One day of one asset: read its inputs from the store, run the stages, write it, say what was counted."""
