"""The connections of one account on Binance, its circuit breaker and its clock, for all symbols.

A request goes over the account's WebSocket connection while that is up, else over REST. Reads that
got no answer are tried again, twice at most; an order or a cancellation is sent once: whoever asked
for it has to find out what became of it.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import requests
from gridbase.backoff import Backoff
from gridbase.clock import Clock
from gridbase.sockets.dialer import Dialer, DirectDialer, ThreadDialer
from gridbase.sockets.link import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS
from gridbase.sockets.socket import Connect

from gridbot.config.load import AccountConfig, ExchangeConfig
from gridbot.exchanges.access.circuit_breaker import Circuit
from gridbot.exchanges.access.request_gate import SENSELESS, RequestGate
from gridbot.exchanges.access.request_weight import RequestWeight
from gridbot.exchanges.access.server_time import ServerTime
from gridbot.exchanges.binance.account_stream import Channel
from gridbot.exchanges.binance.answers import Json, read_report
from gridbot.exchanges.binance.market_stream import PRICE_INTERVAL, MarketStream
from gridbot.exchanges.binance.rest import RECEIVE_WINDOW_MS, BinanceRest
from gridbot.exchanges.port import BrokerError, Failure, StreamEvent, StreamGap

# Where a live bot finds the streams; Binance.US has no such interface for an account.
LIVE_STREAMS = {"binance": ("wss://ws-api.binance.com:443", "wss://stream.binance.com:443")}
TEST_STREAMS = (
    "wss://ws-api.testnet.binance.vision:443",
    "wss://stream.testnet.binance.vision:443",
)
# Binance takes 100 orders in 10 seconds.
SECONDS_BETWEEN_ORDERS = 0.1
# A wait looks around this often: for a stop, and for what the other connection has brought.
SLICE_SECONDS = 1.0
DIALING_SLICE_SECONDS = 0.05
# At the start the stream is waited for, so that the first look at the account is not repeated; not
# for long, because the first order waits as well.
FIRST_STREAM_SECONDS = 0.5
MOST_EVENTS = 1000  # kept for a symbol that nobody looks after

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Operation:
    """A request that Binance knows.

    Attributes:
        name: for messages.
        rest: ccxt's method for it.
        channel: its name in the WebSocket API; None: it is asked over REST.
        signed: whether it bears key, time and signature.
        once: it changes something and is never repeated.
        urgent: it takes risk away: it does not wait where other requests are held back.
        weight: its request weight, at most.
    """

    name: str
    rest: str
    channel: str | None = None
    signed: bool = True
    once: bool = False
    urgent: bool = False
    weight: int = 1


class View(Protocol):
    """What the account's owner sees of one symbol, and what the streams tell it.

    Attributes:
        id: the symbol as the exchange spells it.
    """

    id: str

    def take_kline(self, kline: Json) -> None:
        """Take a candle that the stream tells of."""

    def spoil_candles(self) -> None:
        """The stream has been lost: candles may be missing."""


class BinanceConnection:
    """The connections of one account.

    Args:
        config: names the exchange and its addresses, and how often to ask.
        api_key: names the account.
        api_secret: signs requests.
        clock: time.
        session: HTTP session, kept alive between requests.
        connect: opens WebSocket connections, in no time; None: real ones, in the background.
        dice: spreads pauses; one with a seed makes them repeatable.

    Attributes:
        circuit: its breaker.
        time: the exchange's time.
        weight: how much the exchange is asked.
        market: prices and candles; None without streams.
        config: as above.
        key_checked: whether it is known that the key cannot withdraw.
        exchange: name of the exchange.
        poll_seconds: how often what no stream tells is asked for.
        monotonic: the clock's.
        address: where REST requests go.
    """

    def __init__(
        self,
        config: AccountConfig,
        api_key: str,
        api_secret: str,
        *,
        clock: Clock,
        session: requests.Session | None = None,
        connect: Connect | None = None,
        dice: random.Random | None = None,
    ) -> None:
        self._clock = clock
        self.config = config
        self.key_checked = False
        self.exchange = config.exchange.name
        self.poll_seconds = float(config.poll_seconds)
        self.monotonic = clock.monotonic
        self.time = ServerTime(clock)
        self.weight = RequestWeight(clock, self.time, config.exchange.request_share)
        self.rest = BinanceRest(
            config.exchange,
            api_key,
            api_secret,
            now_ms=self.time.now_ms,
            on_weight=self.weight.note,
            session=session,
        )
        self.address = self.rest.address
        self.circuit = Circuit(clock, self.address)
        self._request_gate = RequestGate(clock, self.circuit, dice)
        self._last_order = float("-inf")
        self._views: dict[str, View] = {}  # by unified name
        self._events: dict[str, list[StreamEvent]] = {}
        self._news = False
        self._channel: Channel | None = None
        self.market: MarketStream | None = None
        urls = stream_urls(config.exchange)
        if urls is not None:
            self._open_streams(urls, api_key, api_secret, connect, dice)

    def _open_streams(
        self,
        urls: tuple[str, str],
        api_key: str,
        api_secret: str,
        connect: Connect | None,
        dice: random.Random | None,
    ) -> None:
        timeout = float(self.config.exchange.timeout_seconds)
        self._channel = Channel(
            urls[0],
            api_key,
            api_secret,
            dialer=_dialer(connect),
            clock=self._clock,
            server_time=self.time,
            timeout=timeout,
            receive_window_ms=RECEIVE_WINDOW_MS,
            on_report=self._take_report,
            on_gap=self._take_gap,
            on_weight=self.weight.note,
            refuse=self.rest.refuse,
            backoff=Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, dice),
        )
        self.market = MarketStream(
            urls[1],
            dialer=_dialer(connect),
            clock=self._clock,
            timeout=timeout,
            on_kline=self._take_kline,
            on_lost=self._spoil_candles,
            backoff=Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, dice),
        )

    def show(self, symbol: str, view: View) -> None:
        """Tell a view what the streams say of its symbol, from now on.

        Args:
            symbol: unified name, such as ``BTC/USDT``.
            view: of this symbol.
        """
        self._views[symbol] = view
        self._events[view.id] = [StreamGap()] if self.streaming else []
        if self.market is not None:
            self.market.watch(view.id, PRICE_INTERVAL)

    def close(self) -> None:
        """Close all connections."""
        if self._channel is not None:
            self._channel.link.close()
        if self.market is not None:
            self.market.link.close()
        self.rest.close()

    def document(self) -> dict[str, Any]:
        """State for people: the circuit, the streams, how far the machine's clock is off (ms)."""
        return {
            "circuit": self.circuit.document(),
            "circuit_changes": dict(self.circuit.changes),
            "requests": dict(self._request_gate.outcomes),
            "account_stream": self.streaming,
            "market_stream": self.market is not None and self.market.up,
            "reconnects": 0 if self._channel is None else self._channel.link.losses,
            "market_reconnects": 0 if self.market is None else self.market.link.losses,
            "clock_ahead_ms": self.time.ahead_ms,
            **self.weight.document(),
        }

    # The streams.

    @property
    def streaming(self) -> bool:
        """Whether the exchange tells of orders by itself now."""
        return self._channel is not None and self._channel.up

    def pump(self) -> None:
        """Take what has come, and reconnect what is lost. Waits for nothing."""
        if self._channel is not None:
            self._channel.pump()
        if self.market is not None:
            self.market.pump()

    def wait(self, seconds: float) -> None:
        """Wait that long, until an event arrives, or until stopped."""
        deadline = self._clock.monotonic() + seconds
        while True:
            self.pump()
            remaining = deadline - self._clock.monotonic()
            if self._news or self._clock.stopping or remaining <= 0:
                break
            self._idle(remaining)
        self._news = False

    def wait_for_stream(self) -> None:
        """Give a connection that is being opened a moment to come up."""
        if self._channel is None:
            return
        deadline = self._clock.monotonic() + FIRST_STREAM_SECONDS
        self.pump()
        while self._channel.coming_up and not self._clock.stopping:
            remaining = deadline - self._clock.monotonic()
            if remaining <= 0:
                break
            self._idle(remaining)
            self.pump()

    def _idle(self, remaining: float) -> None:
        """Wait for a message or a while, whichever is shorter."""
        channel = self._channel
        if channel is not None and channel.link.open:
            channel.link.receive(min(remaining, SLICE_SECONDS))
        elif channel is not None and channel.link.dialing:
            channel.link.dial(min(remaining, DIALING_SLICE_SECONDS))
        else:
            self._clock.sleep(min(remaining, SLICE_SECONDS))

    def has_events(self, symbol_id: str) -> bool:
        """Whether the stream has said something about a symbol since the last call of `events`."""
        return bool(self._events[symbol_id])

    def events(self, symbol_id: str) -> list[StreamEvent]:
        """What the stream has said about a symbol since the last call."""
        self.pump()
        events, self._events[symbol_id] = self._events[symbol_id], []
        self._news = self._news and any(self._events.values())
        return events

    def _take_report(self, report: Json) -> None:
        self._queue(str(report["s"]), read_report(report))

    def _take_gap(self) -> None:
        for symbol_id in self._events:
            self._queue(symbol_id, StreamGap())

    def _queue(self, symbol_id: str, event: StreamEvent) -> None:
        events = self._events.get(symbol_id)
        if events is None:
            return  # a symbol that nobody here trades
        if len(events) >= MOST_EVENTS:
            events[:] = [StreamGap()]
        events.append(event)
        self._news = True

    def _take_kline(self, symbol_id: str, kline: Json) -> None:
        for view in self._views.values():
            if view.id == symbol_id:
                view.take_kline(kline)

    def _spoil_candles(self) -> None:
        for view in self._views.values():
            view.spoil_candles()

    # Requests.

    def ask(
        self, operation: Operation, parameters: Json, read: Callable[[Any], _Result]
    ) -> _Result:
        """Make a request and read its answer.

        When the clock was off, the exchange has refused it for certain: the time is set, and it is
        sent once more; an order is not, for that takes a look at the price of now.

        Args:
            operation: what to ask.
            parameters: of the endpoint.
            read: makes the result from the answer; raises what a wrong answer makes it raise.

        Raises:
            BrokerError: see `Failure`.
        """
        self.pump()
        try:
            return self._ask_once(operation, parameters, read)
        except BrokerError as error:
            if error.failure is not Failure.CLOCK or not operation.signed:
                raise
            self.synchronise()
            if operation.once and not operation.urgent:
                raise
        return self._ask_once(operation, parameters, read)

    def synchronise(self) -> None:
        """Set the exchange's time anew."""
        self.time.forget()
        before = self._clock.monotonic()
        server_ms = self._ask_once(TIME, {}, lambda document: int(document["serverTime"]))
        self.time.sample(before, server_ms)

    def pace_order(self) -> None:
        """Wait until the exchange takes another order."""
        wait = self._last_order + SECONDS_BETWEEN_ORDERS - self._clock.monotonic()
        if wait > 0:
            self._clock.sleep(wait)
        self._last_order = self._clock.monotonic()

    def _ask_once(
        self, operation: Operation, parameters: Json, read: Callable[[Any], _Result]
    ) -> _Result:
        """Make a request; a read that gets no answer is made again."""

        def request() -> _Result:
            if not operation.once and not operation.urgent:
                self.weight.slow_down()
            self.weight.spend(operation.weight)
            return self._read(operation, self._send(operation, parameters), read)

        if not operation.once and not operation.urgent:
            self.weight.check_share(operation.weight)

        return self._request_gate.ask(request, once=operation.once, urgent=operation.urgent)

    def _send(self, operation: Operation, parameters: Json) -> Any:
        if operation.channel is not None and self._channel is not None and self._channel.up:
            return self._channel.ask(operation.channel, parameters, signed=operation.signed)
        return self.rest.ask(operation.rest, parameters)

    def _read(self, operation: Operation, document: Any, read: Callable[[Any], _Result]) -> _Result:
        """An answer that is not what was asked for is no answer."""
        try:
            return read(document)
        except SENSELESS as error:
            raise BrokerError(
                Failure.AMBIGUOUS,
                f"exchange {self.address}: its answer to {operation.name} makes no sense",
            ) from error


TIME = Operation("time", "publicGetTime", "time", signed=False)


def stream_urls(config: ExchangeConfig) -> tuple[str, str] | None:
    """Addresses of an exchange's account and market streams; None: it is polled over REST."""
    if config.name not in LIVE_STREAMS:
        return None
    if config.stream_url is not None:
        return config.stream_url, config.stream_url
    if config.testnet:
        return TEST_STREAMS
    # A paper bot knows no address but those in its configuration.
    return None if config.url is not None else LIVE_STREAMS[config.name]


def _dialer(connect: Connect | None) -> Dialer:
    if connect is not None:
        return DirectDialer(connect)
    from gridbase.sockets.websocket import connect as real

    return ThreadDialer(real)
