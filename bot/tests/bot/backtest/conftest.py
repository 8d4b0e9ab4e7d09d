"""Markets for the backtest's tests: recorded, and made up from a seed."""

import os
import random
from dataclasses import dataclass
from decimal import Decimal, localcontext
from pathlib import Path

import numpy as np
import pytest
from gridbase.candles.price_units import from_units, to_units
from gridbase.market import Market
from gridbot.backtest import Candles, read_candles
from gridbot.backtest.data import Columns
from gridbot.core.grid import Fees, FeesIn, GridSpec, Spacing

from . import reference

DATA = Path(os.environ.get("GRIDBERRY_TEST_DATA", Path(__file__).parents[5] / "shared" / "data"))
REAL = DATA / "btc-usd-perp-1m-2022-01.csv"
MINUTE_MS = 60_000


@dataclass
class Case:
    """One grid on one market."""

    candles: Candles
    lower: Decimal
    upper: Decimal
    grids: int
    spacing: str
    investment: Decimal
    fee: Decimal
    fee_in: str
    tick: Decimal
    lot: Decimal

    @property
    def spec(self) -> GridSpec:
        spacing = Spacing(self.spacing)
        return GridSpec(self.lower, self.upper, self.grids, spacing, self.investment)

    @property
    def market(self) -> Market:
        return Market("base/quote", "base", "quote", self.tick, self.lot, Decimal(0), Decimal(0))

    @property
    def fees(self) -> Fees:
        return Fees(self.fee, FeesIn(self.fee_in))

    @property
    def rows(self) -> list:
        """Time, open, high, low and close of each candle, in decimals."""
        columns = [column.tolist() for column in self.candles.columns]
        return [(time, *map(from_units, prices)) for time, *prices in zip(*columns, strict=True)]

    @property
    def settings(self) -> dict:
        names = ("lower", "upper", "grids", "spacing", "investment", "fee", "fee_in", "tick", "lot")
        return {name: getattr(self, name) for name in names}


def make_candles(rows) -> Candles:
    """Candles, a minute each, of rows of open, high, low and close as texts."""
    units = [[to_units(str(price))[0] for price in row] for row in rows]
    columns = np.array(units, dtype=np.int64).reshape(-1, 4).T.copy()
    times = np.arange(len(units), dtype=np.int64) * MINUTE_MS
    return Candles("made up", Columns(times, *columns))


def stock_case(seed: int) -> Case:
    """A stock over some days of regular hours, with weekends, a holiday, jumps at openings."""
    rng = random.Random(seed)  # noqa: S311 - a market, no secret
    close, rows, times = 10_000, [], []
    for day in [number for number in range(20) if number % 7 < 5 and number != 9]:
        close += rng.choice((0, -1, 1)) * rng.randint(0, 400)
        for minute in range(rng.choice((390, 390, 210))):
            first = close
            close = max(5_000, first + (10_000 - first) // 40 + rng.randint(-40, 40))
            high, low = max(first, close) + rng.randint(0, 9), min(first, close) - rng.randint(0, 9)
            rows.append([f"{cents / 100:.2f}" for cents in (first, high, low, close)])
            times.append(((day * 24 + 14) * 60 + 30 + minute) * MINUTE_MS)
    columns = make_candles(rows).columns._replace(times=np.array(times, dtype=np.int64))
    return Case(
        candles=Candles("made up", columns),
        lower=Decimal(95),
        upper=Decimal(105),
        grids=rng.randint(4, 20),
        spacing=rng.choice(["arithmetic", "geometric"]),
        investment=Decimal(rng.randint(5_000, 50_000)),
        fee=Decimal(rng.choice(["0", "0.0005", "0.001"])),
        fee_in="quote",
        tick=Decimal("0.01"),
        lot=Decimal(1),
    )


def random_case(seed: int) -> Case:
    """A market and a grid that hold what is hard: gaps, flat candles, prices on lines."""
    rng = random.Random(seed)  # noqa: S311 - a market, no secret
    tick = Decimal(rng.choice(["1", "0.5", "0.1", "0.01", "0.001"]))
    start = Decimal(rng.randint(2_000, 60_000)) * tick
    grids = rng.randint(1, 40)
    fee = Decimal(rng.choice(["0", "0.0002", "0.00075", "0.001", "0.0025"]))
    # Each step some ticks and some fees wide.
    half = (start * (Decimal("0.006") + 4 * fee) + tick * 2) * grids / 2
    half = min(half, start * Decimal("0.8"))
    centre = start
    if rng.random() < 0.3:
        centre = start * Decimal(rng.choice(["0.4", "0.7", "1.5", "2.5"]))
        half = min(half, centre * Decimal("0.8"))
    lower, upper = ((centre + sign * half).quantize(tick / 100) for sign in (-1, 1))
    lot = Decimal(rng.choice(["0.00000001", "0.0001", "0.01", "1"]))
    spacing = rng.choice(["arithmetic", "geometric"])
    investment = (start * grids * lot * rng.randint(5, 5_000)).quantize(Decimal("0.01")) + 1
    fee_in = rng.choice(["received", "quote"])
    with localcontext(prec=80):
        lines = reference.grid_lines(lower, upper, grids, spacing, tick)
    candles = random_candles(rng, start, lines, tick)
    return Case(candles, lower, upper, grids, spacing, investment, fee, fee_in, tick, lot)


def random_candles(rng, start, lines, tick) -> Candles:
    grids = len(lines) - 1
    step = (lines[-1] - lines[0]) / grids
    # Prices on the tick, or between two of them.
    grain = rng.choice([tick, tick / 10])

    def near(price, steps):
        moved = price + step * Decimal(rng.gauss(0, steps))
        return max(grain, moved.quantize(grain))

    def on_a_line():
        return max(tick, rng.choice(lines))

    rows = []
    close = start
    for _ in range(rng.randint(1, 160)):
        kind = rng.random()
        opening = close
        if kind < 0.1:
            opening = near(close, grids)  # a gap
        elif kind < 0.2:
            opening = on_a_line()
        if not rows:
            opening = start
        if rng.random() < 0.1:
            rows.append((opening,) * 4)  # nothing happens
            close = opening
            continue
        close = on_a_line() if rng.random() < 0.2 else near(opening, rng.choice([0.2, 1, 3]))
        reach = rng.choice([0, 0.3, 2])
        ends = [opening, close, near(opening, reach), near(close, reach)]
        if rng.random() < 0.15:
            ends.append(on_a_line())
        rows.append((opening, max(ends), min(ends), close))
    return make_candles(rows)


@pytest.fixture(scope="session")
def recorded() -> Candles:
    if not REAL.is_file():
        pytest.skip(f"the recorded market {REAL} is not here")
    return read_candles(REAL)


@pytest.fixture
def recorded_file() -> Path:
    if not REAL.is_file():
        pytest.skip(f"the recorded market {REAL} is not here")
    return REAL
