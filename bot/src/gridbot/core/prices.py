"""What the price did between two looks at it: the latest, and the lowest and highest. Pure.

The candles of a minute tell it: their low and high hold every trade, however short a dip was, and
they come with every change of the price or are asked for. A candle may have begun before anybody
looked; of such a one only what it tells anew counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

MINUTE_MS = 60_000
# Candles that a look asks for at least; on paper the market may be faster than the clock.
LEAST_MINUTES = 5
# A candle so much older than the latest is no late one: the market has been set back.
REWOUND_MS = 60 * MINUTE_MS


@dataclass(frozen=True)
class Seen:
    """Prices since the look before (quote).

    Attributes:
        last: of the latest trade.
        low: the lowest, `last` included.
        high: the highest, `last` included.
    """

    last: Decimal
    low: Decimal
    high: Decimal

    @staticmethod
    def at(price: Decimal) -> "Seen":
        """One price (quote), of which nothing else is known."""
        return Seen(price, price, price)


@dataclass(frozen=True)
class Minute:
    """A candle of a minute, as far as it has come.

    Attributes:
        start_ms: when it began (the market's Unix milliseconds).
        low: the lowest price so far (quote).
        high: the highest (quote).
        close: the latest (quote).
    """

    start_ms: int
    low: Decimal
    high: Decimal
    close: Decimal


class PriceRange:
    """Collects what one market's minutes tell."""

    def __init__(self) -> None:
        self._latest: Minute | None = None
        self._unseen: list[Decimal] = []  # the extremes since the look before

    def begin(self) -> None:
        """What was before does not count: the next minute that is told of may have begun before."""
        self._latest = None
        self._unseen = []

    def take(self, minutes: Sequence[Minute]) -> None:
        """Take what was told.

        Args:
            minutes: oldest first; any of them may have been told of before.
        """
        latest = self._latest
        if latest is not None and minutes and latest.start_ms - minutes[-1].start_ms > REWOUND_MS:
            latest = None
        for minute in minutes if latest is not None else minutes[-1:]:
            self._take(minute, latest)
            if latest is None or minute.start_ms >= latest.start_ms:
                self._latest = latest = minute

    def _take(self, minute: Minute, latest: Minute | None) -> None:
        prices = [minute.close]
        if latest is not None and minute.start_ms > latest.start_ms:
            prices += [minute.low, minute.high]
        elif latest is not None and minute.start_ms == latest.start_ms:
            prices += [minute.low] if minute.low < latest.low else []
            prices += [minute.high] if minute.high > latest.high else []
        elif latest is not None:
            return
        self._unseen = [min(self._unseen + prices), max(self._unseen + prices)]

    def seen(self, last: Decimal) -> Seen:
        """What was not seen yet, with the latest price (quote); it is seen from here on."""
        prices, self._unseen = [*self._unseen, last], []
        return Seen(last, min(prices), max(prices))

    def rest(self) -> Seen | None:
        """What was told and not seen yet, where nobody tells the latest price any more.

        It is seen from here on. None where there is nothing.
        """
        return self.seen(self._latest.close) if self._unseen and self._latest else None
