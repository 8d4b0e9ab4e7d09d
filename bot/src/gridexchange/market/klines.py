"""Klines and the 24-hour ticker, computed from the walk so far. Pure."""

from bisect import bisect_left
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from gridbase.candles.price_units import UNITS_PER_QUOTE
from gridbase.candles.series import Candle

from gridexchange.errors import ApiError
from gridexchange.market.feed import LEGS, Feed

MINUTE_MS = 60_000
DAY_MS = 86_400_000
WEEK_MS = 7 * DAY_MS
FIRST_MONDAY_MS = 4 * DAY_MS  # 1970-01-05
INTERVALS = {
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": 60 * MINUTE_MS,
    "2h": 120 * MINUTE_MS,
    "4h": 240 * MINUTE_MS,
    "6h": 360 * MINUTE_MS,
    "8h": 480 * MINUTE_MS,
    "12h": 720 * MINUTE_MS,
    "1d": DAY_MS,
    "3d": 3 * DAY_MS,
    "1w": WEEK_MS,
    "1M": 28 * DAY_MS,  # at least
}
# One answer looks at no more of the recording than this: the lock is held meanwhile.
MOST_CANDLES = 100_000
NOT_KNOWN = "0.00000000"


def klines(
    feed: Feed,
    position: int,
    interval: str,
    *,
    start_ms: int | None,
    end_ms: int | None,
    limit: int,
) -> list[list[object]]:
    """Klines as Binance lists them, oldest first.

    Args:
        feed: the market.
        position: how far it has come.
        interval: Binance's name of the length, such as `1m` or `1M`.
        start_ms: earliest opening time, or None for the latest klines.
        end_ms: latest opening time, or None.
        limit: most klines to return.

    Raises:
        ApiError: -1120, there is no such interval, or it is no multiple of the market's own.
    """
    length = INTERVALS.get(interval)
    if length is None or length % feed.series.interval_ms:
        raise ApiError(-1120, "Invalid interval.")
    current = position // LEGS
    last = current if end_ms is None else min(current, _number_at(feed, current, end_ms + 1) - 1)
    wanted = min(limit * (length // feed.series.interval_ms + 1), MOST_CANDLES)
    if interval == "1M":
        wanted = MOST_CANDLES
    if start_ms is None:
        first = max(feed.first_number, last - wanted + 1)
    else:
        opening = bucket_start(start_ms - 1, interval)
        first = _number_at(feed, current, opening)
        last = min(last, first + wanted)
    candles = (feed.known(number, position) for number in range(first, last + 1))
    buckets = _merge(candles, interval)
    if start_ms is not None:
        return [bucket.row() for bucket in buckets if bucket.start >= start_ms][:limit]
    # The oldest bucket may have lost its beginning to the cut-off.
    whole = buckets if first == feed.first_number else buckets[1:]
    return [bucket.row() for bucket in whole[-limit:]]


class Bucket:
    """One kline: what the candles added to it make together.

    Args:
        time_ms: a time within it.
        interval: Binance's name of its length.

    Attributes:
        start: when it opens, Unix time in ms.
        end: when it ends, exclusive.
    """

    def __init__(self, time_ms: int, interval: str) -> None:
        self.start = bucket_start(time_ms, interval)
        self.end = _bucket_end(self.start, interval)
        self.opening: int | None = None
        self.high = self.low = self.close = 0
        self.volume = self.traded = 0.0

    def add(self, candle: Candle) -> None:
        """Add the candle that follows those added so far."""
        if self.opening is None:
            self.opening, self.high, self.low = candle.open, candle.high, candle.low
        self.high = max(self.high, candle.high)
        self.low = min(self.low, candle.low)
        self.close = candle.close
        self.volume += candle.volume
        self.traded += quote_volume(candle)

    def row(self) -> list[object]:
        """The kline as Binance lists it."""
        return [
            self.start,
            print_price(self.opening or 0),
            print_price(self.high),
            print_price(self.low),
            print_price(self.close),
            f"{self.volume:.8f}",
            self.end - 1,
            f"{self.traded:.8f}",
            # A recording knows neither the number of trades nor who took.
            0,
            NOT_KNOWN,
            NOT_KNOWN,
            "0",
        ]


def bucket_at(feed: Feed, number: int, interval: str) -> Bucket:
    """The kline that candle `number` belongs to, made of the candles before that one."""
    bucket = Bucket(feed.candle(number).time, interval)
    first = number
    while first > feed.first_number and feed.candle(first - 1).time >= bucket.start:
        first -= 1
    for earlier in range(first, number):
        bucket.add(feed.candle(earlier))
    return bucket


def bucket_start(time_ms: int, interval: str) -> int:
    """When the kline that holds `time_ms` opens."""
    if interval == "1M":
        moment = datetime.fromtimestamp(time_ms / 1000, UTC)
        first = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return round(first.timestamp() * 1000)
    origin = FIRST_MONDAY_MS if interval == "1w" else 0
    length = INTERVALS[interval]
    return origin + (time_ms - origin) // length * length


def window(feed: Feed, position: int, length_ms: int) -> list[Candle]:
    """The candles of the latest stretch of market time, the forming one last.

    Args:
        feed: the market.
        position: how far it has come.
        length_ms: of the stretch; at least the forming candle is in it.
    """
    current = position // LEGS
    latest = feed.known(current, position)
    since = latest.time + feed.series.interval_ms - length_ms
    lowest = max(
        feed.first_number, min(current, current - length_ms // feed.series.interval_ms + 1)
    )
    candles = [feed.known(number, position) for number in range(lowest, current + 1)]
    return [candle for candle in candles if candle.time >= since] or candles[-1:]


def day_window(feed: Feed, position: int) -> list[Candle]:
    """The candles of the last 24 market hours, the forming one last."""
    return window(feed, position, DAY_MS)


def average_price(candles: Iterable[Candle]) -> Decimal | None:
    """Price of candles, weighted by volume, at eight decimals (quote); None without volume."""
    kept = list(candles)
    volume = sum(candle.volume for candle in kept)
    if not volume:
        return None
    return Decimal(f"{sum(quote_volume(candle) for candle in kept) / volume:.8f}")


def print_price(units: int) -> str:
    """A price as the API prints it, with eight decimals."""
    whole, fraction = divmod(units, UNITS_PER_QUOTE)
    return f"{whole}.{fraction:08d}"


def quote_volume(candle: Candle) -> float:
    """Quote traded in a candle, taken as volume times the mean of its four prices."""
    mean: float = (candle.open + candle.high + candle.low + candle.close) / 4 / UNITS_PER_QUOTE
    return candle.volume * mean


def _merge(candles: Iterable[Candle], interval: str) -> list[Bucket]:
    """The klines that candles, oldest first, make."""
    buckets: list[Bucket] = []
    for candle in candles:
        if not buckets or candle.time >= buckets[-1].end:
            buckets.append(Bucket(candle.time, interval))
        buckets[-1].add(candle)
    return buckets


def _bucket_end(start_ms: int, interval: str) -> int:
    if interval != "1M":
        return start_ms + INTERVALS[interval]
    later = datetime.fromtimestamp(start_ms / 1000, UTC) + timedelta(days=32)
    return bucket_start(round(later.timestamp() * 1000), interval)


def _number_at(feed: Feed, current: int, time_ms: int) -> int:
    """Number of the first candle that opens at or after `time_ms`; one past `current` if none."""
    numbers = range(feed.first_number, current + 1)
    return feed.first_number + bisect_left(
        numbers, time_ms, key=lambda number: feed.candle(number).time
    )
