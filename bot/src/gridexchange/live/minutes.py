"""The last candles of the exchange that is followed, a day of minutes. Pure."""

from gridbase.candles.series import Candle

MINUTE_MS = 60_000
MOST_MINUTES = 1_600  # a day, and some that may be missing


class Minutes:
    """Candles by the number of their minute since 1970; see `market.feed.Series`.

    Args:
        name: of the exchange that is followed.

    Attributes:
        first: number of the first minute; 0 while there is none.
        last: number of the latest minute, which still forms.
    """

    interval_ms = MINUTE_MS
    length = None
    span_ms = 0

    def __init__(self, name: str) -> None:
        self.name = name
        self.fingerprint = f"live {name}"
        self.first = self.last = 0
        self._candles: dict[int, Candle] = {}

    def add(self, candle: Candle) -> None:
        """Take a candle, or how it looks by now; they come in order of time."""
        number = candle.time // MINUTE_MS
        self._candles[number] = candle
        self.last = max(self.last, number)
        while len(self._candles) > MOST_MINUTES:
            del self._candles[min(self._candles)]
        self.first = next(iter(self._candles))

    def candle(self, index: int) -> Candle:
        """A minute's candle; where there is none, nothing has traded since the one before."""
        candle = self._candles.get(index)
        if candle is not None:
            return candle
        before = next((self._candles[n] for n in reversed(self._candles) if n < index), None)
        price = 0 if before is None else before.close
        return Candle(index * MINUTE_MS, price, price, price, price, 0.0)
