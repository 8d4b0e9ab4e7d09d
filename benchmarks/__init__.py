"""Measurements of the host on a virtual Pi, beside their limits: see docs/host-benchmarks.md."""
