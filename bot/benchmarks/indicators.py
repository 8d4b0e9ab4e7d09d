"""Indicators: how far float32 is from float64, what a new candle costs, what a window takes.

    python bot/benchmarks/indicators.py [--candles 1000000] [FILE]

FILE is a file of candles, such as ../shared/data/btc-usd-perp-1m-2022-01.csv; the other market is
synthetic. Drift is against doubles computed from the candles' whole numbers; beside what gridbot
does stand the two ways that it does not: state in float32 as well, and differences taken between
prices that are already float32. Exits 1 where a limit is missed.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from gridbase.candles.price_units import UNITS_PER_QUOTE
from gridbase.candles.reader import load_series
from gridbase.candles.series import Candle
from gridbot.indicators.window import CandleWindow
from gridbot.policies.buy_filters import TrendFilter, VolatilityFilter

PERIOD, FAST, SLOW = 14, 20, 50
NAMES = ("RSI 14", "ATR 14", "ADX 14", "+DI 14", "-DI 14", "EMA 50", "SMA 50")
# RSI, ADX and DI are measured as parts of 100, the others as parts of themselves: a value near 0
# of the former has no meaningful relative error.
BOUNDED = {"RSI 14", "ADX 14", "+DI 14", "-DI 14"}
# Two roundings (in and out) of sums: four units in the last of 24 bits.
MOST_DRIFT = 4 * 2.0**-24
LEAST_GAIN = 20.0
MOST_BYTES_A_CANDLE = 48
MOST_WINDOW_BYTES = 100_000

Number = Callable[[float], Any]


@dataclass
class Drift:
    """How far one way of computing an indicator is from doubles.

    Attributes:
        greatest: greatest absolute difference.
        total: sum of absolute differences.
        relative: greatest relative difference, in each tenth of the candles.
        relative_total: sum of relative differences.
        count: how many values.
    """

    greatest: float = 0.0
    total: float = 0.0
    relative: list[float] = field(default_factory=lambda: [0.0] * 10)
    relative_total: float = 0.0
    count: int = 0

    def take(self, name: str, value: float, exact: float, tenth: int) -> None:
        """Compare one value."""
        apart = abs(value - exact)
        scale = 100.0 if name in BOUNDED else abs(exact)
        share = apart / scale
        self.greatest = max(self.greatest, apart)
        self.total += apart
        self.relative[tenth] = max(self.relative[tenth], share)
        self.relative_total += share
        self.count += 1


class Plain:
    """The same formulas in numbers of one kind, for comparison: `number` makes them.

    Args:
        number: `float`, or `numpy.float32` for state of 24 bits.
        prices_first: round prices, not differences.
    """

    def __init__(self, number: Number, *, prices_first: bool = False) -> None:
        self.number = number
        self.prices_first = prices_first
        self.before: Candle | None = None
        self.seen = 0
        zero = number(0.0)
        self.gain = self.loss = self.range = self.adx = self.ema = self.sum = zero
        self.sums = [zero, zero, zero]
        self.closes = [zero] * SLOW
        self.strengths = 0

    def difference(self, after: int, before: int) -> Any:
        """`after` less `before`, in units of 10^-8 quote, as a number (quote)."""
        if self.prices_first:
            return self.price(after) - self.price(before)
        return self.number((after - before) / UNITS_PER_QUOTE)

    def price(self, units: int) -> Any:
        """A price (quote)."""
        return self.number(units / UNITS_PER_QUOTE)

    def wilder(self, average: Any, value: Any, index: int) -> Any:
        """Wilder's average after the value of this index, counted from 1."""
        period = self.number(PERIOD)
        if index < PERIOD:
            return average + value
        if index == PERIOD:
            return (average + value) / period
        return average + (value - average) / period

    def feed(self, candle: Candle) -> dict[str, float]:
        """The values after the next candle."""
        before, self.before = self.before, candle
        self.seen += 1
        found = self.averages(self.price(candle.close))
        if before is None:
            return found
        index = self.seen - 1
        change = self.difference(candle.close, before.close)
        zero = self.number(0.0)
        self.gain = self.wilder(self.gain, max(change, zero), index)
        self.loss = self.wilder(self.loss, max(-change, zero), index)
        true_range = self.difference(max(candle.high, before.close), min(candle.low, before.close))
        self.range = self.wilder(self.range, true_range, index)
        if index >= PERIOD:
            moved = self.gain + self.loss
            found["RSI 14"] = float(100 * self.gain / moved) if moved > 0 else 50.0
            found["ATR 14"] = float(self.range)
        self.direction(candle, before, true_range, index, found)
        return found

    def averages(self, close: Any) -> dict[str, float]:
        """Both averages of closes."""
        slot = self.seen % SLOW
        self.sum += close - self.closes[slot]
        self.closes[slot] = close
        if self.seen < SLOW:
            return {}
        average = self.sum / self.number(SLOW)
        if self.seen == SLOW:
            self.ema = average
        else:
            self.ema += self.number(2 / (SLOW + 1)) * (close - self.ema)
        return {"SMA 50": float(average), "EMA 50": float(self.ema)}

    def direction(
        self, candle: Candle, before: Candle, true_range: Any, index: int, found: dict[str, float]
    ) -> None:
        """ADX and both DI."""
        zero = self.number(0.0)
        up = self.difference(candle.high, before.high)
        down = self.difference(before.low, candle.low)
        plus = up if up > down and up > 0 else zero
        minus = down if down > up and down > 0 else zero
        for place, value in enumerate((true_range, plus, minus)):
            kept = self.sums[place]
            if index >= PERIOD:
                kept -= kept / self.number(PERIOD)
            self.sums[place] = kept + value
        if index < PERIOD:
            return
        whole, plus, minus = self.sums
        found["+DI 14"] = float(100 * plus / whole)
        found["-DI 14"] = float(100 * minus / whole)
        strength = self.number(100) * abs(plus - minus) / (plus + minus)
        self.adx = self.wilder(self.adx, strength, index - PERIOD + 1)
        if index >= 2 * PERIOD - 1:
            found["ADX 14"] = float(self.adx)


class Shipped:
    """What gridbot does: a window as the bot has it, every candle appended."""

    def __init__(self) -> None:
        self.window = CandleWindow(60_000, 2 * SLOW)
        adx = self.window.adx(PERIOD)
        lines = (
            self.window.rsi(PERIOD).line,
            self.window.atr(PERIOD).line,
            adx.line,
            adx.plus,
            adx.minus,
            self.window.ema(SLOW).line,
            self.window.sma(SLOW).line,
        )
        self.lines = dict(zip(NAMES, lines, strict=True))

    def feed(self, candle: Candle) -> dict[str, float]:
        """The values after the next candle."""
        self.window.append(candle, bridge=True)
        found = ((name, line.value) for name, line in self.lines.items())
        return {name: value for name, value in found if value is not None}


def synthetic(count: int) -> Iterator[Candle]:
    """A random market around 46,319.12345678 that uses all eight decimals."""
    dice = random.Random(7)  # noqa: S311 - a reproducible market, no secret
    home = price = 46_319_12345678
    for index in range(count):
        first = price
        price += round(dice.gauss(0, 0.0006) * price + 0.0005 * (home - price))
        high = max(first, price) + round(abs(dice.gauss(0, 0.0003)) * price)
        low = min(first, price) - round(abs(dice.gauss(0, 0.0003)) * price)
        yield Candle(index * 60_000, first, high, low, price, 1.0)


def measure_drift(candles: Iterator[Candle], count: int) -> dict[str, dict[str, Drift]]:
    """Every way beside doubles, in one pass."""
    exact = Plain(float)
    ways: dict[str, Plain | Shipped] = {
        "gridbot": Shipped(),
        "float32 state": Plain(np.float32),
        "float32 prices": Plain(np.float32, prices_first=True),
    }
    drifts = {way: {name: Drift() for name in NAMES} for way in ways}
    for index, candle in enumerate(candles):
        wanted = exact.feed(candle)
        for way, computer in ways.items():
            found = computer.feed(candle)
            if found.keys() != wanted.keys():
                raise RuntimeError(f"{way} has other values than doubles at candle {index}")
            for name, value in found.items():
                drifts[way][name].take(name, value, wanted[name], 10 * index // count)
    return drifts


def print_drift(market: str, drifts: dict[str, dict[str, Drift]]) -> bool:
    """The table; whether gridbot's own is within the limit."""
    print(f"\nDrift from float64, {market}")
    print(
        f"{'INDICATOR':<10} {'WAY':<15} {'MAX ABS':>10} {'MEAN ABS':>10} {'MAX REL':>10} "
        f"{'MEAN REL':>10} {'1ST TENTH':>10} {'LAST TENTH':>10} {'LIMIT':>10}"
    )
    fine = True
    for name in NAMES:
        for way, by_name in drifts.items():
            drift = by_name[name]
            worst = max(drift.relative)
            limit, mark = "", ""
            if way == "gridbot":
                limit = f"{MOST_DRIFT:.2e}"
                mark = "" if worst <= MOST_DRIFT else "  OVER"
                fine = fine and worst <= MOST_DRIFT
            print(
                f"{name:<10} {way:<15} {drift.greatest:>10.2e} {drift.total / drift.count:>10.2e} "
                f"{worst:>10.2e} {drift.relative_total / drift.count:>10.2e} "
                f"{drift.relative[0]:>10.2e} {drift.relative[-1]:>10.2e} {limit:>10}{mark}"
            )
    return fine


def batch(closes: np.ndarray, highs: np.ndarray, lows: np.ndarray) -> tuple[float, ...]:
    """The same values from whole columns, as a bot without state computes them at every candle."""
    changes = np.diff(closes)
    ranges = np.maximum(highs[1:], closes[:-1]) - np.minimum(lows[1:], closes[:-1])
    up, down = np.diff(highs), -np.diff(lows)
    plus = np.where((up > down) & (up > 0), up, 0.0)
    minus = np.where((down > up) & (down > 0), down, 0.0)
    gain, loss, average = (
        smoothed(column) for column in (np.maximum(changes, 0), np.maximum(-changes, 0), ranges)
    )
    whole, positive, negative = (sums(column) for column in (ranges, plus, minus))
    strengths = [
        100 * abs(a - b) / (a + b) if a + b else 0.0
        for a, b in zip(positive, negative, strict=True)
    ]
    ema = float(closes[:SLOW].mean())
    for close in closes[SLOW:].tolist():
        ema += 2 / (SLOW + 1) * (close - ema)
    return (
        100 * gain / (gain + loss),
        average,
        smoothed(np.array(strengths)),
        100 * positive[-1] / whole[-1],
        100 * negative[-1] / whole[-1],
        ema,
        float(closes[-SLOW:].mean()),
    )


def smoothed(column: np.ndarray) -> float:
    """Wilder's average of a column."""
    average = float(column[:PERIOD].mean())
    for value in column[PERIOD:].tolist():
        average += (value - average) / PERIOD
    return average


def sums(column: np.ndarray) -> list[float]:
    """Wilder's sums of a column, from the one that is complete on."""
    total, found = float(column[: PERIOD - 1].sum()), []
    for value in column[PERIOD - 1 :].tolist():
        total += value - total / PERIOD
        found.append(total)
    return found


def measure_cost(candles: Sequence[Candle]) -> bool:
    """A new candle to a window that has all indicators, beside all of them from 1,000 candles."""
    shipped = Shipped()
    for candle in candles[:1_000]:
        shipped.feed(candle)
    begun = time.perf_counter()
    for candle in candles[1_000:]:
        shipped.window.append(candle)
    incremental = (time.perf_counter() - begun) / (len(candles) - 1_000)
    columns = [
        np.array([getattr(candle, name) for candle in candles[-1_000:]]) / UNITS_PER_QUOTE
        for name in ("close", "high", "low")
    ]
    rounds = 50
    begun = time.perf_counter()
    for _ in range(rounds):
        values = batch(*columns)
    recomputed = (time.perf_counter() - begun) / rounds
    latest = [line.value for line in shipped.lines.values()]
    same = np.allclose(values, latest, rtol=1e-4)
    gain = recomputed / incremental
    fine = same and gain >= LEAST_GAIN
    print("\nCost of a new candle, all of the above")
    print(f"  incremental            {1e6 * incremental:>8.1f} us")
    print(f"  again from 1,000       {1e6 * recomputed:>8.1f} us  (same values: {same})")
    print(
        f"  gain                   {gain:>8.1f}     limit {LEAST_GAIN:.0f}"
        + ("" if fine else "  MISSED")
    )
    return fine


def measure_memory(candles: Sequence[Candle]) -> bool:
    """A full window of the bot's capacity, with what both filters ask for."""
    tracemalloc.start()
    empty = tracemalloc.get_traced_memory()[0]
    window = CandleWindow(60_000, 1_000)
    for candle in candles[:1_000]:
        window.append(candle)
    bare = tracemalloc.get_traced_memory()[0] - empty
    TrendFilter(enabled=True).verdict(window)
    VolatilityFilter(enabled=True).verdict(window)
    full = tracemalloc.get_traced_memory()[0] - empty
    for candle in candles[1_000:]:
        window.append(candle)
    later = tracemalloc.get_traced_memory()[0] - empty
    tracemalloc.stop()
    rows = (
        ("bytes a candle", bare / 1_000, MOST_BYTES_A_CANDLE),
        ("1,000 candles", bare, 1_000 * MOST_BYTES_A_CANDLE),
        ("with both filters", full, MOST_WINDOW_BYTES),
        (f"after {len(candles):,}", later, MOST_WINDOW_BYTES),
    )
    print("\nMemory of a window (allocations traced)")
    for what, measured, limit in rows:
        print(
            f"  {what:<22} {measured:>9,.0f} B   limit {limit:>7,} B"
            + ("" if measured <= limit else "  OVER")
        )
    return all(measured <= limit for _, measured, limit in rows)


def main() -> int:
    """Print the tables; 1 if anything misses its limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--candles", type=int, default=1_000_000, help="of the synthetic market")
    parser.add_argument("file", type=Path, nargs="?", help="recorded candles")
    options = parser.parse_args()
    fine = []
    if options.file is not None:
        series = load_series(options.file)
        recorded = (series.candle(index) for index in range(series.length))
        drifts = measure_drift(recorded, series.length)
        fine.append(print_drift(f"{series.name}, {series.length:,} candles", drifts))
    drifts = measure_drift(synthetic(options.candles), options.candles)
    fine.append(print_drift(f"synthetic, {options.candles:,} candles", drifts))
    some = list(synthetic(20_000))
    fine.append(measure_cost(some))
    fine.append(measure_memory(some))
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
