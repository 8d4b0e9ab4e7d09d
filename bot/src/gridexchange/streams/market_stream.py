"""Binance's market streams: klines, mini tickers and best prices, raw or combined."""

import json
from collections.abc import Iterator
from copy import copy
from decimal import Decimal
from http import HTTPStatus
from typing import Protocol

from gridexchange.errors import ApiError
from gridexchange.exchange import Exchange
from gridexchange.faults.plan import Faults
from gridexchange.market import tape
from gridexchange.market.feed import LEGS
from gridexchange.market.klines import INTERVALS, bucket_at, day_window
from gridexchange.market.listing import Listing
from gridexchange.protocol import market_answers
from gridexchange.protocol.answers import Json
from gridexchange.streams import events
from gridexchange.streams.connection import Connection

KLINE_PAUSE_MS = 2_000  # between two looks at a kline that is not closed, as on Binance
TICKER_PAUSE_MS = 1_000
MOST_STREAMS = 1024
Levels = dict[Decimal, Decimal]
DIFFERENCES = ("depth", "depth@100ms")
DEPTHS = {"depth5": 5, "depth10": 10, "depth20": 20}


class Stream(Protocol):
    """One thing that a client listens to."""

    def gather(self, now_ms: int) -> Iterator[Json]:
        """What has become due since the last call."""

    def wait_ms(self, now_ms: int) -> int | None:
        """Milliseconds until something becomes due that no market move brings."""


class KlineStream:
    """Every close of a kline, in order, and now and then how the open one looks."""

    def __init__(self, listing: Listing, interval: str) -> None:
        self._listing = listing
        self._interval = interval
        self._begin()

    def _begin(self) -> None:
        self._number = self._listing.position // LEGS
        self._bucket = bucket_at(self._listing.feed, self._number, self._interval)
        self._told_ms: int | None = None
        self._told_update = -1

    def gather(self, now_ms: int) -> Iterator[Json]:
        """What has become due since the last call."""
        listing, feed = self._listing, self._listing.feed
        current = listing.position // LEGS
        if current < self._number:
            self._begin()  # the books were read again, the market goes on from an earlier place
        while self._number < current:
            self._bucket.add(feed.candle(self._number))
            self._number += 1
            if feed.candle(self._number).time >= self._bucket.end:
                yield self._event(now_ms, closed=True)
                self._bucket = bucket_at(feed, self._number, self._interval)
        moved = listing.update != self._told_update
        if moved and (self._told_ms is None or now_ms - self._told_ms >= KLINE_PAUSE_MS):
            self._told_ms, self._told_update = now_ms, listing.update
            yield self._event(now_ms, closed=False)

    def wait_ms(self, now_ms: int) -> int | None:
        """Milliseconds until something becomes due that no market move brings."""
        if self._told_ms is None or self._listing.update == self._told_update:
            return None
        return max(0, self._told_ms + KLINE_PAUSE_MS - now_ms)

    def _event(self, now_ms: int, *, closed: bool) -> Json:
        bucket = self._bucket
        if not closed:
            bucket = copy(bucket)
            bucket.add(self._listing.feed.forming(self._listing.position))
        return events.kline(self._listing.symbol, self._interval, bucket, now_ms, closed=closed)


class MiniTickerStream:
    """The last 24 hours, at most once a second while the market moves."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._told_ms: int | None = None
        self._told_update = -1

    def gather(self, now_ms: int) -> Iterator[Json]:
        """What has become due since the last call."""
        listing = self._listing
        early = self._told_ms is not None and now_ms - self._told_ms < TICKER_PAUSE_MS
        if early or listing.update == self._told_update:
            return
        self._told_ms, self._told_update = now_ms, listing.update
        window = day_window(listing.feed, listing.position)
        yield events.mini_ticker(market_answers.day_ticker(listing.engine, window), now_ms)

    def wait_ms(self, now_ms: int) -> int | None:
        """Milliseconds until something becomes due that no market move brings."""
        if self._told_ms is None or self._listing.update == self._told_update:
            return None
        return max(0, self._told_ms + TICKER_PAUSE_MS - now_ms)


class BookTickerStream:
    """Best bid and ask, whenever they have changed."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._told: object = None

    def gather(self, now_ms: int) -> Iterator[Json]:  # noqa: ARG002  one form for all streams
        """What has become due since the last call."""
        listing = self._listing
        best = market_answers.book_ticker(listing.engine)
        if self._told == best:
            return
        self._told = best
        yield events.book_ticker(best, listing.update)

    def wait_ms(self, now_ms: int) -> int | None:  # noqa: ARG002  one form for all streams
        """Milliseconds until something becomes due that no market move brings."""
        return None


class TradeStream:
    """Every trade of others, in order."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._told = tape.last_number(listing.position)

    def gather(self, now_ms: int) -> Iterator[Json]:
        """What has become due since the last call."""
        listing = self._listing
        last = tape.last_number(listing.position)
        for number in range(self._told + 1, last + 1):
            trade = tape.trade(listing.feed, listing.rules, number)
            time_ms = listing.due_at(tape.position_of(number))
            said = market_answers.aggregate_trade(trade, time_ms)
            yield {"e": "aggTrade", "E": now_ms, "s": listing.symbol} | said
        self._told = last

    def wait_ms(self, now_ms: int) -> int | None:  # noqa: ARG002  one form for all streams
        """Milliseconds until something becomes due that no market move brings."""
        return None


class DepthStream:
    """The best levels of the book, whenever they have changed; at once for a new listener."""

    def __init__(self, listing: Listing, limit: int) -> None:
        self._listing = listing
        self._limit = limit
        self._told: object = None

    def gather(self, now_ms: int) -> Iterator[Json]:  # noqa: ARG002  one form for all streams
        """What has become due since the last call."""
        listing = self._listing
        book = market_answers.depth(listing.engine, listing.update, self._limit, listing.rungs())
        levels = book["bids"], book["asks"]
        if levels != self._told:
            self._told = levels
            yield book

    def wait_ms(self, now_ms: int) -> int | None:  # noqa: ARG002  one form for all streams
        """Milliseconds until something becomes due that no market move brings."""
        return None


class DifferenceStream:
    """What has changed in the whole book, whenever the market has moved."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._told_update = listing.update
        self._told = self._levels()

    def _levels(self) -> tuple[Levels, Levels]:
        return market_answers.levels_of(self._listing.engine, self._listing.rungs())

    def gather(self, now_ms: int) -> Iterator[Json]:
        """What has become due since the last call."""
        before, update = self._told_update, self._listing.update
        if update == before:
            return
        levels = self._levels()
        bids, asks = (events.changes(*both) for both in zip(self._told, levels, strict=True))
        self._told_update, self._told = update, levels
        if update > before:  # else the books were read again, and the numbers begin anew
            updates = before + 1, update
            yield events.depth_update(self._listing.symbol, updates, bids, asks, now_ms)

    def wait_ms(self, now_ms: int) -> int | None:  # noqa: ARG002  one form for all streams
        """Milliseconds until something becomes due that no market move brings."""
        return None


class MarketConnection(Connection):
    """A connection to the market streams.

    Args:
        exchange: whose markets.
        faults: what goes wrong on purpose.
        names: what to listen to from the start, such as btcusdt@kline_1m.
        combined: whether each event comes with its stream's name.

    Raises:
        ApiError: there is no such stream.
    """

    def __init__(
        self, exchange: Exchange, faults: Faults, names: list[str], *, combined: bool
    ) -> None:
        super().__init__(exchange, faults)
        self._combined = combined
        self._streams: dict[str, Stream] = {}
        for name in names:
            self._streams[name] = self._open(name)

    def _open(self, name: str) -> Stream:
        symbol, _, kind = name.partition("@")
        listing = None
        if symbol == symbol.lower():
            listing = self._exchange.listings.get(symbol.upper())
        if listing is None or len(self._streams) >= MOST_STREAMS:
            raise _no_stream(name)
        if kind == "miniTicker":
            return MiniTickerStream(listing)
        if kind == "bookTicker":
            return BookTickerStream(listing)
        if kind == "aggTrade" and listing.past is None:
            return TradeStream(listing)
        if kind in DIFFERENCES and listing.past is None:
            return DifferenceStream(listing)
        if kind in DEPTHS:
            return DepthStream(listing, DEPTHS[kind])
        word, _, interval = kind.partition("_")
        length = INTERVALS.get(interval, 0)
        if word != "kline" or not length or length % listing.feed.series.interval_ms:
            raise _no_stream(name)
        return KlineStream(listing, interval)

    def wait_ms(self) -> int | None:
        """Milliseconds until `outgoing` may have something that no market move brings."""
        with self._exchange.lock:
            now_ms = self._exchange.clock.now_ms()
            waits = [super().wait_ms()]
            waits += [stream.wait_ms(now_ms) for stream in self._streams.values()]
        return min((wait for wait in waits if wait is not None), default=None)

    def _gather(self) -> None:
        now_ms = self._exchange.clock.now_ms()
        for name, stream in self._streams.items():
            for event in map(self.worded, stream.gather(now_ms)):
                message = {"stream": name, "data": event} if self._combined else event
                self.send_event(name, str(event.get("e", "bookTicker")), message)
                if self.closed:
                    return

    def _handle(self, text: str) -> None:
        identity: object = None
        try:
            request = json.loads(text)
            identity = request.get("id") if isinstance(request, dict) else None
            answer = {"result": self._act(request), "id": identity}
        except ValueError:
            answer = {"code": 3, "msg": "Invalid JSON", "id": identity}
        except _BadRequest as error:
            answer = {"code": error.code, "msg": str(error), "id": identity}
        self.send(answer)

    def _act(self, request: object) -> object:
        if not isinstance(request, dict):
            raise _BadRequest(2, "Invalid request: must be an object")
        method, params = request.get("method"), request.get("params", [])
        if not isinstance(params, list):
            raise _BadRequest(2, "Invalid request: params must be a list")
        if method == "SUBSCRIBE":
            for name in params:
                self._subscribe(name)
        elif method == "UNSUBSCRIBE":
            for name in params:
                self._streams.pop(str(name), None)
        elif method == "LIST_SUBSCRIPTIONS":
            return list(self._streams)
        elif method == "GET_PROPERTY" and params == ["combined"]:
            return self._combined
        elif method == "SET_PROPERTY" and params in (["combined", True], ["combined", False]):
            self._combined = bool(params[1])
        else:
            raise _BadRequest(2, f"Invalid request: unknown variant {method}")
        return None

    def _subscribe(self, name: object) -> None:
        try:
            if str(name) not in self._streams:
                self._streams[str(name)] = self._open(str(name))
        except ApiError as error:
            raise _BadRequest(2, f"Invalid request: {error.message}") from error

    def _shutdown(self, event: Json) -> object:
        return {"stream": "!serverShutdown", "data": event} if self._combined else event


def _no_stream(name: str) -> ApiError:
    return ApiError(-1020, f"There is no stream {name}.", HTTPStatus.NOT_FOUND)


class _BadRequest(Exception):  # noqa: N818  never leaves this module
    """A message that cannot be acted on; `code` is Binance's."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
