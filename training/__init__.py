"""Training on the curated sets. Empty until the training issue; it may import pipeline, never assets."""
