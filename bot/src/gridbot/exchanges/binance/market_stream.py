"""Binance's market stream: prices and closed candles of all symbols over one connection.

https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams. A candle's latest
version comes with every change of the price, at most every two seconds.
"""

import logging
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from gridbase.backoff import Backoff
from gridbase.candles.price_units import to_units
from gridbase.candles.series import Candle
from gridbase.clock import Clock
from gridbase.sockets.dialer import Dialer
from gridbase.sockets.link import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Link
from gridbase.sockets.socket import SocketClosed

log = logging.getLogger(__name__)

PATH = "/stream"
PRICE_INTERVAL = "1m"
# A market recorded in longer candles has no shorter ones; this every market has.
PRICE_SUBSTITUTE = "miniTicker"
# A price is believed no longer than this without a sign of life of the connection,
QUIET_SECONDS = 10.0
# and no longer than this without one of its own: a connection may live and say nothing of a symbol.
PRICE_SECONDS = 90.0


class MarketStream:
    """One connection.

    Args:
        url: of the exchange's WebSocket server, without a path.
        dialer: opens the connection.
        clock: time.
        timeout: longest wait for an answer (seconds).
        on_kline: gets symbol and candle, as the stream tells it; may raise as `Owner.received`.
        on_lost: called when candles may be missing.
        backoff: pauses between attempts to connect.
    """

    def __init__(
        self,
        url: str,
        *,
        dialer: Dialer,
        clock: Clock,
        timeout: float,
        on_kline: Callable[[str, dict[str, Any]], None],
        on_lost: Callable[[], None],
        backoff: Backoff | None = None,
    ) -> None:
        self.url = url
        self._on_kline = on_kline
        self._on_lost = on_lost
        self._names: list[str] = []
        self._prices: dict[str, tuple[float, Decimal]] = {}  # with when they were told of
        self._clock = clock
        self._probe = 0  # the last request for the list of streams
        self._number = 0
        self._asked: dict[int, str] = {}  # streams by the request that asked for them
        self._attempts = 0
        self._bare = False  # the address named no streams
        self.link = Link(
            "market stream",
            self._address,
            dialer,
            clock,
            self,
            timeout=timeout,
            quiet=QUIET_SECONDS,
            backoff=backoff or Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS),
        )

    @property
    def up(self) -> bool:
        """Whether what it says is up to date."""
        return self.link.open

    def watch(self, symbol: str, interval: str) -> None:
        """Have candles of a symbol come, from now on.

        Args:
            symbol: as the exchange spells it, such as ``BTCUSDT``.
            interval: such as ``1h``.
        """
        name = f"{symbol.lower()}@kline_{interval}"
        if name in self._names:
            return
        self._names.append(name)
        if self.link.open:
            try:
                self._subscribe(name)
            except SocketClosed:
                return  # the next connection is opened with it

    def price(self, symbol: str) -> Decimal | None:
        """Price of the latest trade (quote); None where it is not known, or not any more."""
        told, price = self._prices.get(symbol, (float("-inf"), None))
        fresh = self._clock.monotonic() - told < PRICE_SECONDS
        return price if self.up and fresh else None

    def believe(self, symbol: str, price: Decimal) -> None:
        """Take a price from elsewhere: it holds until the stream tells another one."""
        if self.up and self.price(symbol) is None:
            self._prices[symbol] = self._clock.monotonic(), price

    def pump(self) -> None:
        """Do what can be done without waiting."""
        if self._names:
            self.link.pump()

    # What the link calls.

    def opened(self) -> None:
        """The address has said what is wanted, or it is said now."""
        self._attempts = 0
        self.link.steady()
        if self._bare:
            for name in list(self._names):
                self._subscribe(name)

    def received(self, document: dict[str, Any]) -> None:
        """A candle, or the answer to a request."""
        if "id" in document:
            self._answered(document)
            return
        data = document["data"]
        if data["e"] == "serverShutdown":
            self.link.cut("the exchange ends it (serverShutdown)")
        elif data["e"] == "kline":
            self._take_price(data["s"], data["k"]["c"])
            self._on_kline(data["s"], data["k"])
        elif data["e"] == "24hrMiniTicker":
            self._take_price(data["s"], data["c"])

    def lost(self) -> None:
        """What it said is not up to date any more."""
        self._prices.clear()
        self._asked.clear()
        self._on_lost()

    def probe(self) -> None:
        """The list of streams: what does not come any more is seen by it."""
        self._probe = self._send("LIST_SUBSCRIPTIONS", [])

    def _address(self) -> str:
        """Names all streams; but one that the exchange does not have may be refused with all.

        After a failure they are left out, and asked for one by one.
        """
        self._attempts += 1
        self._bare = self._attempts % 2 == 0
        return self.url + PATH + ("" if self._bare else "?streams=" + "/".join(self._names))

    def _take_price(self, symbol: str, text: str) -> None:
        price = Decimal(text)
        if not price > 0:
            raise ValueError(text)
        self._prices[symbol] = self._clock.monotonic(), price

    def _subscribe(self, name: str) -> None:
        self._asked[self._send("SUBSCRIBE", [name])] = name

    def _answered(self, document: dict[str, Any]) -> None:
        if document["id"] == self._probe and "result" in document:
            self._compare(document["result"])
        name = self._asked.pop(document["id"], None)
        if name is not None and "result" not in document:
            log.warning("the exchange has no stream %s", name)
            self._names.remove(name)
            symbol, _, kind = name.partition("@")
            if kind == f"kline_{PRICE_INTERVAL}":
                self._names.append(f"{symbol}@{PRICE_SUBSTITUTE}")
                self._subscribe(self._names[-1])

    def _compare(self, streams: list[str]) -> None:
        """Ask again for what the exchange does not send any more."""
        for name in sorted(set(self._names) - set(streams) - set(self._asked.values())):
            log.warning("the exchange does not send %s any more: asked for again", name)
            self._subscribe(name)

    def _send(self, method: str, names: list[str]) -> int:
        self._number += 1
        self.link.send({"method": method, "params": names, "id": self._number})
        return self._number


def read_kline(kline: dict[str, Any]) -> Candle:
    """A candle as the stream tells it."""
    first, highest, lowest, last = (to_units(kline[name])[0] for name in ("o", "h", "l", "c"))
    return Candle(int(kline["t"]), first, highest, lowest, last, float(kline["v"]))
