"""Decisions about a grid, from prices and candles alone. Pure."""
