"""Closed candles that a stream has brought, so that they need not be asked for. Pure."""

from gridbase.candles.series import Candle

MOST_CANDLES = 1000  # of each interval


class Shelf:
    """The latest closed candles of one symbol and interval, without a hole.

    They are good as long as the stream that brings them is not interrupted.
    """

    def __init__(self) -> None:
        self._candles: list[Candle] = []
        self._asked = 0
        self._good = False

    def fill(self, candles: list[Candle], asked: int) -> None:
        """Begin with candles that were asked for.

        Args:
            candles: oldest first.
            asked: how many were asked for: the exchange has no more where these are fewer.
        """
        self._candles = list(candles)
        self._asked = asked
        self._good = bool(candles)

    def push(self, candle: Candle) -> None:
        """Take a candle that has just closed. Doubles are ignored, a hole ends the series."""
        if not self._good or candle.time <= self._candles[-1].time:
            return
        if len(self._candles) > 1:
            distance = self._candles[-1].time - self._candles[-2].time
            if candle.time - self._candles[-1].time > distance:
                self.spoil()
                return
        self._candles.append(candle)
        self._asked += 1
        del self._candles[:-MOST_CANDLES]

    def spoil(self) -> None:
        """Candles may be missing: what is here is of no use any more."""
        self._good = False
        self._candles.clear()

    def latest(self, count: int) -> list[Candle] | None:
        """The latest `count`; None where they have to be asked for."""
        if not self._good or count > self._asked:
            return None
        if count > len(self._candles) == MOST_CANDLES:
            return None
        return self._candles[-count:]
