"""What is drawn of a backtest: price, lines and fills above, equity below."""

from __future__ import annotations

import numpy as np

from gridbot.backtest.data import Candles, Floats, Integers
from gridbot.backtest.figure import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    Band,
    Dots,
    Figure,
    Line,
    Panel,
    Rules,
)
from gridbot.backtest.result import Result
from gridbot.candles.units import UNITS_PER_QUOTE
from gridbot.market import Market, plain
from gridbot.orders import Side

COLUMNS = 1_500  # more than a drawing has pixels for
ROWS = 500


def backtest_figure(result: Result, market: Market) -> Figure:
    """Price with the grid's lines and fills, and equity."""
    candles, plan = result.candles, result.plan
    starts = column_starts(len(candles))
    lines = np.array([float(line) for line in plan.lines])
    price = Panel(
        title=f"price ({market.quote})",
        layers=(
            Rules("lines", lines, color="#b9bec4"),
            price_band(candles, starts),
            *_fills(result),
        ),
        weight=2,
    )
    curve = result.curve().at_closes()
    equity = Panel(title=f"equity ({market.quote})", layers=(_extremes(candles, curve, starts),))
    account = result.account
    facts = (
        ("fills", f"{account.buys:,} buys, {account.sells:,} sells"),
        ("grid profit", f"{account.grid_profit:.2f} {market.quote}"),
        ("unrealised profit", f"{account.unrealised_profit(result.price):.2f} {market.quote}"),
        ("fees", f"{account.fees_in_quote:.2f} {market.quote}"),
        ("equity at the end", f"{result.equity:.2f} of {plain(plan.investment)} {market.quote}"),
        ("largest drawdown", f"{result.drawdown.share * 100:.2f} %"),
    )
    title = f"{candles.name}: {len(lines)} lines, {plain(plan.lines[0])} to {plain(plan.lines[-1])}"
    return Figure(title, (price, equity), facts)


def column_starts(length: int) -> Integers:
    """First index of each of at most `COLUMNS` groups that share `length` things evenly."""
    count = min(length, COLUMNS)
    return np.arange(count, dtype=np.int64) * length // count


def price_band(candles: Candles, starts: Integers) -> Band:
    """Lowest and highest price of each group of candles."""
    low = np.minimum.reduceat(candles.lows, starts) / UNITS_PER_QUOTE
    high = np.maximum.reduceat(candles.highs, starts) / UNITS_PER_QUOTE
    return Band("price", candles.times[starts].astype(float), low, high, GREY)


def _extremes(candles: Candles, values: Floats, starts: Integers) -> Line:
    """A curve through the lowest and the highest value of each group of candles."""
    both = np.column_stack(
        (np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts))
    )
    times = np.repeat(candles.times[starts].astype(float), 2)
    return Line("equity", times, both.ravel(), GREEN)


def _fills(result: Result) -> tuple[Dots, ...]:
    candles, ledger = result.candles, result.ledger
    times = candles.times[ledger.candle].astype(float)
    prices = ledger.prices() / UNITS_PER_QUOTE
    sells = ledger.sells()
    layers = []
    for side, chosen, color in ((Side.BUY, ~sells, BLUE), (Side.SELL, sells, ORANGE)):
        x, y = visible(times[chosen], prices[chosen])
        layers.append(Dots(f"{side}s", x, y, color))
    return tuple(layers)


def visible(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """The points, but one only for each spot of the drawing."""
    if len(x) == 0:
        return x, y
    column = _spots(x, COLUMNS)
    _, first = np.unique(column * (ROWS + 1) + _spots(y, ROWS), return_index=True)
    return x[first], y[first]


def _spots(values: Floats, count: int) -> Integers:
    width = float(np.ptp(values)) or 1.0
    spots: Integers = ((values - values.min()) / width * count).astype(np.int64)
    return spots
