"""The jobs of a night: each bot beside a backtest, its report, searches on the latest prices."""
