"""The exchange's memory: one SQLite file."""
