"""Analytics: what bots did beside what a backtest would have done, and searches over many Pis."""

__version__ = "0.1.0"
