"""A made-up market: seeded, endless, the same on every machine, at any index without history.

The price is ``start * exp(x)``, and `x` a random walk with a drift of minus half its variance: at
every moment the expected price is the present one, so no strategy has an edge, and a grid's
expected profit is minus its fees. Nothing pulls the price back to where it was.

Days form eras of 1024. An era's variance is shared out by halving: each half gets an uneven share,
drawn anew, and `x` in the middle is drawn between what it is at both ends (a Brownian bridge). Ten
halvings lead to a day, whichever it is: calm and wild days come in clusters, by about 3 % a day in
the mean. Within a day the walk goes minute by minute, tied to both ends; highs and lows are those
of a walk without steps, so that a line which the price crosses is crossed at the line.

Such a price would be near zero after decades, so eras end within a twentieth and twenty times the
start: `x` that would end beyond is mirrored back. This is the only rule that knows the start; a
market's first era meets it once in 200 markets.

Seeds come in pairs, 0 and 1, 2 and 3: the same calm and wild days, and one market rises where the
other falls. So any few seeds in a row hold as many rising markets as falling ones.

Everything is made of additions, multiplications, divisions and square roots, whose results IEEE 754
fixes to the bit, unlike those of a library's `exp` or of Python's `sum`.
"""

from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate, pairwise
from math import sqrt
from random import Random
from typing import NamedTuple

from gridbase.candles.price_units import UNITS_PER_QUOTE
from gridbase.candles.series import Candle

MADE_UP = "synthetic-"
VERSION = f"{MADE_UP}2"  # another one for every change that moves a price
INTERVAL_MS = 60_000
CANDLES_PER_DAY = 1440
EPOCH_MS = 1_704_067_200_000  # 2024-01-01 UTC: where the made-up calendar begins

HALVINGS = 10
ERA_DAYS = 1 << HALVINGS
DAY_VARIANCE = 0.03 * 0.03  # of x, in the mean
ERA_VARIANCE = ERA_DAYS * DAY_VARIANCE
UNEVEN = 0.2  # a half's share of its whole's variance: a half, more or less by at most this
FURTHEST = 3.0  # x at the end of an era: exp(3) is about 20
NOISE_BITS = 256
NOISE_DEVIATION = 8.0  # of the number of ones among that many random bits
MEAN_VOLUME = 12.0
EXP_SQUARINGS = 6
DAYS_KEPT = 3


@dataclass(frozen=True)
class SyntheticSettings:
    """What makes a synthetic market.

    Attributes:
        seed: equal seeds give equal markets.
        start_price: the price at index 0 (quote).
        tick_size: prices are whole multiples of it (quote).
    """

    seed: int
    start_price: Decimal
    tick_size: Decimal


class _Span(NamedTuple):
    """Some days of the walk: `x` at both ends, and its variance between them."""

    first: float
    last: float
    variance: float


class SyntheticSeries:
    """An endless series of one-minute candles (see the module's text)."""

    def __init__(self, settings: SyntheticSettings) -> None:
        self.name = f"synthetic seed={settings.seed}"
        self.fingerprint = f"{VERSION} {settings.seed} {settings.start_price} {settings.tick_size}"
        self.interval_ms = INTERVAL_MS
        self.length: int | None = None
        self.span_ms = 0
        self._pair, odd = divmod(settings.seed, 2)
        self._side = -1 if odd else 1  # of the mirror
        self._start = float(settings.start_price / settings.tick_size)
        self._tick = int(settings.tick_size * UNITS_PER_QUOTE)
        self._days: dict[int, list[Candle]] = {}
        self._eras = {0: 0.0}  # x where each era begins, as far as anybody asked

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
        random = self._random("day", day)
        span = self._day_span(day)
        variance = span.variance / CANDLES_PER_DAY
        path = _minutes(random, span, self._side * sqrt(variance))
        candles = []
        time = EPOCH_MS + day * CANDLES_PER_DAY * INTERVAL_MS
        closing = self._price(path[0])
        for first, last in pairwise(path):
            opening, closing = closing, self._price(last)
            high = self._price((first + last + _reach(random, last - first, variance)) / 2)
            low = self._price((first + last - _reach(random, last - first, variance)) / 2)
            volume = round(MEAN_VOLUME * (random.random() + random.random()), 5)
            candles.append(Candle(time, opening, high, low, closing, volume))
            time += INTERVAL_MS
        return candles

    def _day_span(self, day: int) -> _Span:
        """A day of the walk, by halving its era until only the day is left."""
        era, day = divmod(day, ERA_DAYS)
        first, last = self._era_start(era), self._era_start(era + 1)
        variance = ERA_VARIANCE
        place = 1  # of the span in the era's tree: its halves are at 2 * place and one beyond
        for bit in reversed(range(HALVINGS)):
            random = self._random(f"era {era} span", place)
            share = 0.5 + UNEVEN * (2 * random.random() - 1)
            drawn = sqrt(variance * share * (1 - share)) * _noise(random)
            middle = first + share * (last - first) + self._side * drawn
            later = day >> bit & 1
            if later:
                first, variance = middle, variance * (1 - share)
            else:
                last, variance = middle, variance * share
            place = 2 * place + later
        return _Span(first, last, variance)

    def _era_start(self, era: int) -> float:
        """`x` where an era begins; it is 0 where era 0 does."""
        while era not in self._eras:
            nearest = (max if era > 0 else min)(self._eras)
            walked = nearest if era > 0 else nearest - 1
            noise = _noise(self._random("era", walked))
            change = self._side * sqrt(ERA_VARIANCE) * noise - ERA_VARIANCE / 2
            if era > 0:
                self._eras[nearest + 1] = _mirrored(self._eras[nearest] + change)
            else:
                self._eras[walked] = _mirrored(self._eras[nearest] - change)
        return self._eras[era]

    def _random(self, kind: str, number: int) -> Random:
        return Random(f"{self._pair} {kind} {number}")  # noqa: S311  a market, not a secret

    def _price(self, x: float) -> int:
        """Price in units: start * exp(x), on the tick and at least one tick."""
        return max(1, round(self._start * _exp(x))) * self._tick


def _minutes(random: Random, span: _Span, deviation: float) -> list[float]:
    """`x` from minute to minute of a day, from one end to the other: a walk, tilted to arrive."""
    steps = (deviation * _noise(random) for _ in range(CANDLES_PER_DAY))
    path = list(accumulate(steps, initial=span.first))
    tilt = (span.last - path[-1]) / CANDLES_PER_DAY
    path = [x + tilt * minute for minute, x in enumerate(path)]
    path[-1] = span.last  # to the bit: the next day opens there
    return path


def _mirrored(x: float) -> float:
    """`x`, mirrored where it is beyond what an era may end at."""
    if x > FURTHEST:
        return 2 * FURTHEST - x
    return -2 * FURTHEST - x if x < -FURTHEST else x


def _reach(random: Random, change: float, variance: float) -> float:
    """How far a walk's two ends lie together below twice its highest value (or above its lowest).

    The extreme of a Brownian bridge is (change + sqrt(change² - 2 * variance * ln U)) / 2 above its
    first end, and -2 ln U is the sum of two squared normal numbers.
    """
    one, two = _noise(random), _noise(random)
    return sqrt(change * change + variance * (one * one + two * two))


def _noise(random: Random) -> float:
    """A number of mean 0 and deviation 1, nearly normal: how many of many random bits are ones."""
    return (random.getrandbits(NOISE_BITS).bit_count() - NOISE_BITS / 2) / NOISE_DEVIATION


def _exp(x: float) -> float:
    """exp(x) to nine digits where x is of single figures: a series of a small part, squared."""
    x /= 1 << EXP_SQUARINGS
    power = 1 + x * (1 + x / 2 * (1 + x / 3 * (1 + x / 4 * (1 + x / 5 * (1 + x / 6)))))
    for _ in range(EXP_SQUARINGS):
        power *= power
    return power
