"""The fleet's memory: copies the books of all bots to TimescaleDB, and serves them as one API."""

__version__ = "0.1.0"
