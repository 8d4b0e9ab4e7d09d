"""Candle files: every format a user may have, read once, checked, and kept exact."""
