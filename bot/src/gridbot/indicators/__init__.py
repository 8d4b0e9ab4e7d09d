"""Indicators over closed candles: RSI, ATR and ADX by Wilder, exponential and simple averages.

Pure. numpy is loaded with the first window, not with this package. Conventions, sources and the
drift of float32 are in docs/indicators.md.
"""
