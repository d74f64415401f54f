"""The benchmark suite: `python -m benchmarks.run`. README.md says how to read what it prints."""
