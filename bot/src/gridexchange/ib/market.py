"""The stock's price: a walk through candles that goes on only while the exchange is open. Pure."""

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from gridbase.candles.price_units import UNITS_PER_QUOTE
from gridbase.candles.series import Candle

from gridexchange.ib.calendar import day_of, session_of, sessions
from gridexchange.market.feed import LEGS, Feed, Pace


class Leg(NamedTuple):
    """One straight piece of the walk.

    Attributes:
        price: where it ends (currency).
        opening: whether it opens a session: orders trade at its price, however far it jumped.
    """

    price: Decimal
    opening: bool


class SessionMarket:
    """The walk, from when it began.

    Args:
        feed: the candles as a walk.
        began_ms: when the first candle opened (Unix milliseconds).
        speed: market seconds in a second.
    """

    def __init__(self, feed: Feed, began_ms: int, speed: Fraction = Fraction(1)) -> None:
        self.feed = feed
        self.began_ms = began_ms
        self._interval_ms = feed.series.interval_ms
        self._pace = Pace(speed, self._interval_ms)
        self._seen_ms = began_ms
        self._open_ms = 0  # milliseconds of open sessions between the two

    def position(self, now_ms: int) -> int:
        """How many legs are done at a time (Unix milliseconds) that never goes back."""
        if now_ms > self._seen_ms:
            for session in sessions(self._seen_ms, now_ms):
                begun, ended = max(session.opens, self._seen_ms), min(session.closes, now_ms)
                self._open_ms += max(0, ended - begun)
            self._seen_ms = now_ms
        return self.feed.limit(self._pace.legs(self._open_ms))

    def price(self, position: int) -> Decimal:
        """The price after a leg (currency)."""
        return Decimal(self.feed.price(position)) / Decimal(UNITS_PER_QUOTE)

    def leg(self, position: int) -> Leg:
        """A leg; the first one of a candle that opens another day opens a session."""
        number, part = divmod(position, LEGS)
        opening = False
        if part == 0 and number > self.feed.first_number:
            before, now = self.feed.candle(number - 1), self.feed.candle(number)
            opening = day_of(before.time) != day_of(now.time)
        return Leg(self.price(position), opening)

    def minutes(self, position: int, count: int) -> list[Candle]:
        """The latest candles, oldest first, the last one as far as it has come."""
        last = position // LEGS
        first = max(self.feed.first_number, last - count + 1)
        return [self.feed.known(number, position) for number in range(first, last + 1)]

    def opened_ms(self, number: int) -> int:
        """When a candle opened, or opens (Unix milliseconds): only open hours count."""
        legs = abs(number) * LEGS
        rest = self._pace.due_ms(legs)
        day, step = day_of(self.began_ms), 1 if number >= 0 else -1
        while True:
            session = session_of(day)
            if session is not None and number >= 0:
                begun = max(session.opens, self.began_ms)
                if rest < session.closes - begun:
                    return begun + rest
                rest -= max(0, session.closes - begun)
            elif session is not None:
                ended = min(session.closes, self.began_ms)
                if rest <= ended - session.opens:
                    return ended - rest
                rest -= max(0, ended - session.opens)
            day += timedelta(days=step)
