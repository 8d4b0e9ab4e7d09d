"""Backtest and search: what a grid would have done on recorded candles. Needs numpy.

`run_backtest` is the entry: candles, grid, market and fees in, every fill and the books out, with
exact amounts. Only the backtest's commands import this package.
"""

from gridbot.backtest.data import Candles, read_candles
from gridbot.backtest.result import BacktestFill, Result
from gridbot.backtest.run import run_backtest

__all__ = ["BacktestFill", "Candles", "Result", "read_candles", "run_backtest"]
