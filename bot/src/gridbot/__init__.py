"""Gridberry's grid-trading bot."""

__version__ = "0.1.0"
