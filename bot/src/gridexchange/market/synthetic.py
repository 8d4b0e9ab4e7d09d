"""A made-up market: seeded, endless, the same on every machine, at any index without history.

The price is ``start * exp(x)``. From day to day `x` is a random walk of 2.8 % a day, with the drift
that keeps the price's expectation where it is (minus half the variance): no side of a trade has an
advantage, and nothing pulls the price back, so that a grid loses its fees on average, and may lose
much more or win. Within a day `x` is a random walk tied to both ends (a Brownian bridge) whose
volatility changes from day to day. Years later the price would be anywhere: `x` is reflected at
plus and minus 2, a factor of seven.

Day 2^(k+1) is day 2^k plus a noise of its own; the days between them are found by halving (midpoint
displacement; Fournier, Fussell, Carpenter, "Computer rendering of stochastic models", 1982).
Everything is made of additions, multiplications and square roots, which give the same bits on every
processor, unlike a library's `exp`.
"""

from dataclasses import dataclass
from decimal import Decimal
from math import sqrt
from random import Random

from gridbase.candles.price_units import UNITS_PER_QUOTE
from gridbase.candles.series import Candle

INTERVAL_MS = 60_000
CANDLES_PER_DAY = 1440
STEPS_PER_CANDLE = 4
EPOCH_MS = 1_704_067_200_000  # 2024-01-01 UTC: where the made-up calendar begins

DAY_NOISE = 0.028  # standard deviation of a day's change of x
REFLECTED_AT = 2.0  # x stays between minus this and this
STEP_NOISE = DAY_NOISE / (CANDLES_PER_DAY * STEPS_PER_CANDLE) ** 0.5
NOISE_BITS = 256
NOISE_DEVIATION = 8.0  # of the number of ones among that many random bits
MEAN_VOLUME = 12.0
TAYLOR_TERMS = 16
DAYS_KEPT = 3


@dataclass(frozen=True)
class SyntheticSettings:
    """What makes a synthetic market.

    Attributes:
        seed: equal seeds give equal markets.
        start_price: the price it begins at (quote).
        tick_size: prices are whole multiples of it (quote).
    """

    seed: int
    start_price: Decimal
    tick_size: Decimal


class SyntheticSeries:
    """An endless series of one-minute candles (see the module's text)."""

    def __init__(self, settings: SyntheticSettings) -> None:
        self.name = f"synthetic seed={settings.seed}"
        self.fingerprint = (
            f"synthetic-2 {settings.seed} {settings.start_price} {settings.tick_size}"
        )
        self.interval_ms = INTERVAL_MS
        self.length: int | None = None
        self.span_ms = 0
        self._seed = settings.seed
        self._start = float(settings.start_price / settings.tick_size)
        self._tick = int(settings.tick_size * UNITS_PER_QUOTE)
        self._days: dict[int, list[Candle]] = {}

    def candle(self, index: int) -> Candle:
        """The candle at `index`, counted from 0."""
        day, minute = divmod(index, CANDLES_PER_DAY)
        candles = self._days.get(day)
        if candles is None:
            candles = self._make_day(day)
            while len(self._days) >= DAYS_KEPT:
                del self._days[next(iter(self._days))]
            self._days[day] = candles
        return candles[minute]

    def _make_day(self, day: int) -> list[Candle]:
        random = Random(f"{self._seed} day {day}")  # noqa: S311  a market, not a secret
        volatility = STEP_NOISE * (0.5 + random.random())
        first, last = self._boundary(day), self._boundary(day + 1)
        path = [0.0]
        for _ in range(CANDLES_PER_DAY * STEPS_PER_CANDLE):
            path.append(path[-1] + volatility * _noise(random))
        tilt = (last - first - path[-1]) / (CANDLES_PER_DAY * STEPS_PER_CANDLE)
        prices = [self._price(first + x + tilt * step) for step, x in enumerate(path)]
        candles = []
        time = EPOCH_MS + day * CANDLES_PER_DAY * INTERVAL_MS
        for minute in range(CANDLES_PER_DAY):
            seen = prices[minute * STEPS_PER_CANDLE : (minute + 1) * STEPS_PER_CANDLE + 1]
            volume = round(MEAN_VOLUME * (random.random() + random.random()), 5)
            candles.append(
                Candle(time + minute * INTERVAL_MS, seen[0], max(seen), min(seen), seen[-1], volume)
            )
        return candles

    def _boundary(self, day: int) -> float:
        """`x` where `day` begins; days before the first one have negative numbers."""
        drifted = DAY_NOISE * self._walk(day) - DAY_NOISE * DAY_NOISE / 2 * day
        beyond = (drifted + REFLECTED_AT) % (4 * REFLECTED_AT)
        return min(beyond, 4 * REFLECTED_AT - beyond) - REFLECTED_AT

    def _walk(self, day: int) -> float:
        """The walk where `day` begins, in deviations of a day's change."""
        number, side = abs(day), 1 if day > 0 else -1
        low, at_low = 0, 0.0
        high, at_high = 1, self._seeded(side)
        while high < number:
            low, at_low = high, at_high
            high, at_high = 2 * high, at_high + sqrt(high) * self._seeded(2 * high * side)
        while low < number < high:
            middle = (low + high) // 2
            noise = sqrt((high - low) / 4) * self._seeded(middle * side)
            at_middle = (at_low + at_high) / 2 + noise
            if number < middle:
                high, at_high = middle, at_middle
            else:
                low, at_low = middle, at_middle
        return at_low if number == low else at_high

    def _seeded(self, day: int) -> float:
        return _noise(Random(f"{self._seed} boundary {day}"))  # noqa: S311  a market, no secret

    def _price(self, x: float) -> int:
        """Price in units: start * exp(x), on the tick and at least one tick."""
        return max(1, round(self._start * _exp(x))) * self._tick


def _noise(random: Random) -> float:
    """A number of mean 0 and deviation 1, nearly normal: how many of many random bits are ones."""
    return (random.getrandbits(NOISE_BITS).bit_count() - NOISE_BITS / 2) / NOISE_DEVIATION


def _exp(x: float) -> float:
    """exp(x) for x of a few, by its series."""
    total = term = 1.0
    for order in range(1, TAYLOR_TERMS + 1):
        term *= x / order
        total += term
    return total
