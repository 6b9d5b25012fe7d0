"""What leaves: training rows, immutable snapshots and their dataset cards."""
