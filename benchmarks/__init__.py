"""rxbridge against hand-written loops, on loopback: `python -m benchmarks` prints a table and writes JSON."""
