"""Request weights and order counts, with Binance's answers to those who use too much."""

from dataclasses import dataclass
from http import HTTPStatus

from gridexchange.errors import ApiError

MINUTE_MS = 60_000
TEN_SECONDS_MS = 10_000
DAY_MS = 86_400_000
WARNINGS_BEFORE_BAN = 10
SHORTEST_BAN_MS = 120_000
LONGEST_BAN_MS = 3 * DAY_MS
WEIGHT = "REQUEST_WEIGHT"
ORDERS = "ORDERS"
# What an order's first trade takes off the count; Binance's own examples.
TAKER_CREDIT = 1
MAKER_CREDIT = 5


@dataclass(frozen=True)
class Limits:
    """How much one client may use.

    Attributes:
        weight_per_minute: request weight of one address in a minute.
        orders_per_10s: new orders of the account in ten seconds, less those that trade.
        orders_per_day: the same in a day.
    """

    weight_per_minute: int = 6000
    orders_per_10s: int = 100
    orders_per_day: int = 200_000


@dataclass(frozen=True)
class Usage:
    """How much of one limit is used.

    Attributes:
        kind: REQUEST_WEIGHT or ORDERS.
        interval: SECOND, MINUTE or DAY.
        number: how many of them.
        limit: how much is allowed.
        count: how much is used.
    """

    kind: str
    interval: str
    number: int
    limit: int
    count: int

    def headers(self) -> tuple[tuple[str, str], ...]:
        """The headers that tell it."""
        if self.kind == WEIGHT:
            return weight_headers(self.count)
        return ((f"X-MBX-ORDER-COUNT-{self.number}{self.interval[0]}", str(self.count)),)


@dataclass
class _Client:
    window: int = 0
    used: int = 0
    warnings: int = 0
    bans: int = 0
    banned_until_ms: int = 0


class WeightLimiter:
    """Counts request weight per address and minute; warns (429), then bans (418)."""

    def __init__(self, limits: Limits) -> None:
        self._limit = limits.weight_per_minute
        self._clients: dict[str, _Client] = {}

    def charge(self, address: str, weight: int, now_ms: int) -> Usage:
        """Count a request.

        Args:
            address: who asks.
            weight: what the request weighs.
            now_ms: when.

        Returns:
            What is used in this minute, this request included.

        Raises:
            ApiError: -1003 with 429 over the limit, with 418 for going on regardless.
        """
        client = self._clients.setdefault(address, _Client())
        if now_ms < client.banned_until_ms:
            raise self._banned(client, now_ms)
        window = now_ms // MINUTE_MS
        if window != client.window:
            client.window, client.used, client.warnings = window, 0, 0
            self._forget(window)
        client.used += weight
        if client.used <= self._limit:
            return Usage(WEIGHT, "MINUTE", 1, self._limit, client.used)
        client.warnings += 1
        if client.warnings > WARNINGS_BEFORE_BAN:
            length = min(SHORTEST_BAN_MS * 2**client.bans, LONGEST_BAN_MS)
            client.bans += 1
            client.banned_until_ms = now_ms + length
            raise self._banned(client, now_ms)
        raise ApiError(
            -1003,
            f"Too much request weight used; current limit is {self._limit} request weight per"
            " 1 MINUTE. Please use WebSocket Streams for live updates to avoid polling the API.",
            HTTPStatus.TOO_MANY_REQUESTS,
            (retry_after((window + 1) * MINUTE_MS - now_ms), *weight_headers(client.used)),
        )

    @staticmethod
    def _banned(client: _Client, now_ms: int) -> ApiError:
        return ApiError(
            -1003,
            f"Way too much request weight used; IP banned until {client.banned_until_ms}. Please"
            " use WebSocket Streams for live updates to avoid bans.",
            HTTPStatus.IM_A_TEAPOT,
            (retry_after(client.banned_until_ms - now_ms),),
        )

    def _forget(self, window: int) -> None:
        """Drop addresses that were not seen for a minute and never banned: bounded memory."""
        self._clients = {
            address: client
            for address, client in self._clients.items()
            if client.bans or client.window >= window
        }


class OrderLimiter:
    """Counts the account's orders that have not traded, in ten seconds and in a day."""

    def __init__(self, limits: Limits) -> None:
        self._windows = [
            _OrderWindow(TEN_SECONDS_MS, limits.orders_per_10s, "SECOND", 10),
            _OrderWindow(DAY_MS, limits.orders_per_day, "DAY", 1),
        ]

    def check(self, now_ms: int) -> None:
        """Refuse an order that would be one too many.

        Raises:
            ApiError: -1015 with 429.
        """
        for window in self._windows:
            if window.used(now_ms) >= window.limit:
                raise ApiError(
                    -1015,
                    f"Too many new orders; current limit is {window.limit} orders per"
                    f" {window.multiple} {window.interval}.",
                    HTTPStatus.TOO_MANY_REQUESTS,
                )

    def add(self, now_ms: int) -> None:
        """Count an order."""
        for window in self._windows:
            window.count = window.used(now_ms) + 1

    def filled(self, now_ms: int, *, is_maker: bool) -> None:
        """An order has traded for the first time: that many less count from now on."""
        credit = MAKER_CREDIT if is_maker else TAKER_CREDIT
        for window in self._windows:
            window.count = max(0, window.used(now_ms) - credit)

    def usages(self, now_ms: int) -> list[Usage]:
        """How many orders count now."""
        return [
            Usage(ORDERS, window.interval, window.multiple, window.limit, window.used(now_ms))
            for window in self._windows
        ]


class _OrderWindow:
    def __init__(self, length_ms: int, limit: int, interval: str, multiple: int) -> None:
        self.length_ms = length_ms
        self.limit = limit
        self.interval = interval
        self.multiple = multiple
        self.count = 0
        self._number = 0

    def used(self, now_ms: int) -> int:
        number = now_ms // self.length_ms
        if number != self._number:
            self._number, self.count = number, 0
        return self.count


def weight_headers(used: int) -> tuple[tuple[str, str], ...]:
    """The headers that tell how much weight an address has used in this minute."""
    return (("X-MBX-USED-WEIGHT", str(used)), ("X-MBX-USED-WEIGHT-1M", str(used)))


def retry_after(milliseconds: int) -> tuple[str, str]:
    """The header that tells how long to wait: whole seconds, at least one."""
    return ("Retry-After", str(max(1, -(-milliseconds // 1000))))
