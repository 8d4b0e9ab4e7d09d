"""Candles for the tests of indicators and of what decides by them."""

import csv
import itertools
import os
import random
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from gridbase.candles.price_units import UNITS_PER_QUOTE
from gridbase.candles.series import Candle
from gridbot.indicators.window import CandleWindow

MINUTE = 60_000
HOUR = 60 * MINUTE
TALIB = Path(__file__).with_name("talib_252.csv")
DATA = Path(os.environ.get("GRIDBERRY_TEST_DATA", Path(__file__).parents[5] / "shared" / "data"))
REAL = DATA / "btc-usd-perp-1m-2022-01.csv"


def units(price: str | float) -> int:
    return int(Decimal(str(price)) * UNITS_PER_QUOTE)


def candle(index: int, *prices: str | float, interval: int = MINUTE) -> Candle:
    """From open, high, low, close, or from one price that all four have."""
    four = [units(price) for price in (prices if len(prices) == 4 else prices * 4)]
    return Candle(index * interval, *four, 1.0)


def from_closes(closes: Sequence[str | float], interval: int = MINUTE) -> list[Candle]:
    """Candles that open at the close before; high and low are the further of the two."""
    opens = [closes[0], *closes[:-1]]
    return [
        candle(index, first, max(first, last), min(first, last), last, interval=interval)
        for index, (first, last) in enumerate(zip(opens, closes, strict=True))
    ]


def walk(
    count: int, *, seed: int, start: int = 46_319_12345678, step: float = 0.001
) -> list[Candle]:
    """A random market in whole units of 10^-8."""
    dice = random.Random(seed)  # noqa: S311 - a reproducible market, no secret
    candles, price = [], start
    for index in range(count):
        first = price
        path = list(
            itertools.accumulate(
                (dice.gauss(0, step * first) for _ in range(4)),
                lambda at, move: max(1, round(at + move)),
                initial=first,
            )
        )
        price = path[-1]
        candles.append(Candle(index * MINUTE, first, max(path), min(path), price, dice.random()))
    return candles


def window_of(
    candles: Sequence[Candle], capacity: int | None = None, interval: int = MINUTE
) -> CandleWindow:
    window = CandleWindow(interval, capacity or max(len(candles), 1))
    for each in candles:
        window.append(each)
    return window


def columns(candles: Sequence[Candle]) -> tuple[list[float], list[float], list[float]]:
    """Highs, lows and closes as doubles (quote)."""
    return tuple(
        [getattr(each, name) / UNITS_PER_QUOTE for each in candles]
        for name in ("high", "low", "close")
    )


def talib_candles() -> list[Candle]:
    with TALIB.open(encoding="utf-8") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        return [
            candle(index, row["open"], row["high"], row["low"], row["close"])
            for index, row in enumerate(rows)
        ]
