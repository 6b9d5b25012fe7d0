"""The project's own sample traces, their labels, and the script that makes them."""
