"""Live against backtest: what a bot did beside what a backtest of the same prices would have done.

Pure but for `books`, which reads the bot's file, and `prices`, which reads recorded ones.
"""
