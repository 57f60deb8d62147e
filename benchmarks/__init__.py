"""Benchmarks: `python -m benchmarks` runs all, side by side with the peers that are installed."""
