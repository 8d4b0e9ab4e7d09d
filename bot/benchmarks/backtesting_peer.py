"""The same grid as a strategy of backtesting.py, timed. Run by `backtest.py` with a peer's Python.

Reads one JSON object from standard input, prints one: it needs `backtesting` (requirements.lock
beside it), and nothing of gridbot.

It is the same grid: the same lines, quantities and fee (of quote), limit orders that rest on every
line but one, and a counter order on the neighbouring line for each that fills. It is not the same
market: backtesting.py lets an order that a fill brings wait for the next candle, does not say which
of two orders of one candle came first, fills at a gap's better price, and buys the base for the
sells at the open of the third candle. So the fills are counted, not compared.
"""

import json
import sys
import time
import warnings

import backtesting
import pandas as pd
from backtesting import Backtest, Strategy

# backtesting.py trades whole units: these are the 10^-8 that coins are printed in.
UNIT = 1e-8


def make_strategy(lines: list[float], empty: int, quantity: int) -> type[Strategy]:
    """The grid, as a class, which is how backtesting.py takes strategies."""

    class Grid(Strategy):
        fills = 0

        def init(self) -> None:
            self.resting: dict[int, object] = {}
            self.started = False

        def next(self) -> None:
            if not self.started:
                self.started = True
                sells = len(lines) - 1 - empty
                if sells:
                    self.buy(size=quantity * sells)
                for line in range(len(lines)):
                    if line != empty:
                        self.rest(line, selling=line > empty)
                return
            if len(self.orders) == len(self.resting):
                return  # nothing has filled
            still = set(map(id, self.orders))
            for line, (order, selling) in list(self.resting.items()):
                if id(order) not in still:
                    del self.resting[line]
                    type(self).fills += 1
                    self.rest(line - 1 if selling else line + 1, selling=not selling)

        def rest(self, line: int, *, selling: bool) -> None:
            place = self.sell if selling else self.buy
            self.resting[line] = (place(size=quantity, limit=lines[line] * UNIT), selling)

    return Grid


def main() -> int:
    """Run the grid that standard input describes."""
    task = json.load(sys.stdin)
    data = pd.read_csv(task["data"], usecols=range(5))
    data.columns = ["time", "Open", "High", "Low", "Close"]
    data.index = pd.to_datetime(data.pop("time"), unit="ms")
    data *= UNIT
    strategy = make_strategy(task["lines"], task["empty"], round(task["quantity"] / UNIT))
    # Its own checks compare floats: 1 % more cash, so that it cancels nothing for a rounding.
    test = Backtest(data, strategy, cash=task["cash"] * 1.01, commission=task["fee_rate"])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Some trades remain open")
        started = time.perf_counter()
        stats = test.run()
        seconds = time.perf_counter() - started
    answer = {
        "version": backtesting.__version__,
        "candles": len(data),
        "seconds": seconds,
        "fills": strategy.fills,
        "equity": stats["Equity Final [$]"],
    }
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
