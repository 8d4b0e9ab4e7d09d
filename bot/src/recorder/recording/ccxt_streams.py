"""The streams of any spot exchange that ccxt.pro knows, as Binance's messages.

ccxt keeps the connections, and checks the numbers of books. Its answers are turned into the
messages that the native recording takes, so that files and gaps have one shape. What an exchange
does not number is numbered here; where rows may be missing one number is left out, which makes a
gap by time.
"""

import asyncio
import importlib
import logging
import queue
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from operator import itemgetter
from threading import Lock
from typing import Any

from gridbase.backoff import Backoff
from gridbase.clock import Clock
from gridbase.errors import ExitCode, UserError

from recorder.core.book import LOST
from recorder.core.inbox import Inbox
from recorder.core.numbered import PAGE
from recorder.core.own_numbers import OwnNumbers
from recorder.core.rows import Kind, Stream
from recorder.core.steps import Sizes
from recorder.recording.asking import FIRST_PAUSE_S, LONGEST_PAUSE_S, Answer
from recorder.recording.ccxt_client import new_client
from recorder.recording.ccxt_messages import (
    agg_trade,
    book_levels,
    candle_row,
    changed,
    closed_kline,
    sizes_of,
    ticker,
    whole_id,
)
from recorder.recording.connections import CONNECTION_LOST, Lost
from recorder.recording.messages import INTERVAL, INTERVAL_MS, STREAMS
from recorder.recording.symbol import Request

LOG = logging.getLogger("recorder")
LEVELS = 100  # of each side of a book
CANDLES_S = 20.0  # between two questions for closed candles
LEAST_PUMP_S = 0.2  # while there is no connection, there is one to be made
TRIES = 3
UNSURE = 2  # messages after a connection was made
MOST_UNNUMBERED = 20  # books without a number, one after the other
UNPROVEN = "the exchange's numbers do not tell whether trades are missing"
# What ccxt's own code makes of an answer that it does not understand, or of a closed connection.
SENSELESS_ERRORS: tuple[type[Exception], ...] = (
    LookupError,
    TypeError,
    ValueError,
    ArithmeticError,
    AttributeError,
    OSError,
    RuntimeError,
)
METHODS: dict[Kind, tuple[str, ...]] = {
    Kind.TRADES: ("watchTrades",),
    Kind.QUOTES: ("watchBidsAsks", "watchTicker"),
    Kind.DEPTH: ("watchOrderBook",),
    Kind.CANDLES: ("fetchOHLCV",),
}

Last = Callable[[Stream], tuple[int | None, int]]
Ask = Callable[[], Awaitable[Any]]


class CcxtStreams:
    """One exchange, by ccxt.pro: its streams, and answers for what is missing.

    It is what `connections.Group` is for Binance's streams, and `asking.Asker` for its questions.
    Everything of asyncio runs in the thread that calls `pump`.

    Args:
        exchange: its name in ccxt, such as kraken.
        symbols: such as BTC-USD.
        kinds: what is recorded of each.
        clock: the time.
        contiguous: whether the IDs of trades are whole numbers without holes.
        rest: another address for requests; empty for the exchange's own.
        streams: the same for its streams.
        candles_s: pause between two questions for candles (seconds).

    Attributes:
        name: for messages.
        streams: the names of the streams, as Binance would have them.
        losses: how often a connection was made anew.
        trouble: why the last question was not answered; empty where it was.

    Raises:
        UserError: ccxt cannot do what is asked of this exchange.
    """

    def __init__(
        self,
        exchange: str,
        symbols: Iterable[str],
        kinds: tuple[Kind, ...],
        *,
        clock: Clock,
        contiguous: bool,
        rest: str = "",
        streams: str = "",
        candles_s: float = CANDLES_S,
    ) -> None:
        self.name = f"streams of {exchange}"
        self.losses = 0
        self.trouble = ""
        self._exchange = exchange
        self._unified = {name: name.replace("-", "/") for name in symbols}
        self._kinds = kinds
        self._clock = clock
        self._contiguous = contiguous
        self._candles_s = candles_s
        self.streams = [_stream(name, kind) for name in self._unified for kind in kinds]
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(self._failed)
        self._client = new_client(exchange, self._loop, rest, streams, self._connected)
        errors = importlib.import_module("ccxt.base.errors")
        self._network_error, self._nonce_error = errors.NetworkError, errors.InvalidNonce
        self._errors = (errors.BaseError, *SENSELESS_ERRORS)
        self._calls = {kind: self._call(kind) for kind in kinds}
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = Lock()  # the loop runs in one thread at a time
        self._closing = self._due = False
        self._urls: set[str] = set()
        self._unsure: dict[str, int] = {}
        self._reasons: dict[str, str] = {}
        self._numbers: dict[str, OwnNumbers] = {}
        self._given: dict[str, deque[dict[str, Any]]] = {}
        self._books: dict[str, tuple[int, list[dict[float, float]]]] = {}
        self._unnumbered: dict[str, int] = {}
        self._quote = 0
        self._inbox: Inbox

    def _call(self, kind: Kind) -> Callable[[str], Awaitable[Any]]:
        """What brings the rows of a kind, of a symbol by its unified name."""
        method = next((name for name in METHODS[kind] if self._client.has.get(name)), None)
        if method is None or (kind == Kind.TRADES and not self._client.has.get("fetchTrades")):
            raise UserError(f"kinds: ccxt has no {kind} of {self._exchange}", ExitCode.USAGE)
        if method == "watchBidsAsks":
            return lambda symbol: self._client.watch_bids_asks([symbol])
        names = {"watchTrades": "watch_trades", "watchTicker": "watch_ticker"}
        names |= {"watchOrderBook": "watch_order_book", "fetchOHLCV": "fetch_ohlcv"}
        call: Callable[[str], Awaitable[Any]] = getattr(self._client, names[method])
        return call

    # Its rules.

    def learn(self) -> dict[str, Sizes]:
        """The steps of the symbols; waits until the exchange answers.

        Raises:
            UserError: it does not know a symbol.
        """
        backoff, failures = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S), 0
        while not self._clock.stopping:
            try:
                self._loop.run_until_complete(self._client.load_markets())
                break
            except self._network_error as error:
                failures += 1
                pause = backoff.pause(failures)
                LOG.warning("%s: %s; next try in %.0f s", self._exchange, _line(error), pause)
                self._clock.sleep(pause)
            except self._errors as error:
                raise UserError(
                    f"{self._exchange}: its rules make no sense: {_line(error)}", ExitCode.EXCHANGE
                ) from error
        markets = self._client.markets or {}
        for name, unified in self._unified.items():
            if not self._clock.stopping and not markets.get(unified, {}).get("spot"):
                raise UserError(
                    f"symbols: {self._exchange} does not know {name}", ExitCode.EXCHANGE
                )
        return {
            name: sizes_of(markets[unified], self._client.precisionMode)
            for name, unified in self._unified.items()
            if unified in markets
        }

    def begin(self, inbox: Inbox, last: Last) -> None:
        """Begin to watch.

        Args:
            inbox: where messages go.
            last: number and time of the last row of a stream.
        """
        self._inbox = inbox
        for name in self._unified:
            self._given[name] = deque(maxlen=PAGE)
            if not self._contiguous:
                self._numbers[name] = OwnNumbers(last(Stream(self._exchange, Kind.TRADES, name))[0])
            _, candle_ms = last(Stream(self._exchange, Kind.CANDLES, name))
            for kind in self._kinds:
                if kind == Kind.CANDLES:
                    self._start(self._follow_candles(name, candle_ms))
                else:
                    self._start(self._watch(name, kind))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)

    # What `connections.Group` has.

    @property
    def open(self) -> bool:
        """Whether all its connections are there."""
        clients = list((self._client.clients or {}).values())
        return bool(clients) and all(each.isConnected for each in clients)

    def pump(self, wait: float) -> None:
        """Take what comes within so long (seconds)."""
        with self._turn:
            if not self._closing:
                self._loop.run_until_complete(self._for(max(wait, LEAST_PUMP_S)))

    async def _for(self, seconds: float) -> None:
        if self._due:
            self._due = False
            await self._client.close_ws_clients()
        await asyncio.sleep(seconds)
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.discard(task)
            task.result()  # what fails here ends the recorder

    def replace(self) -> None:
        """Close the connections: ccxt opens others. Any thread may call it."""
        self._due = True

    def close(self) -> None:
        """Close everything."""
        with self._turn:
            if not self._closing:
                self._closing = True
                self._loop.run_until_complete(self._close())
                self._loop.close()

    async def _close(self) -> None:
        await self._client.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}  # ccxt's own are among them
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _failed(self, _: Any, context: dict[str, Any]) -> None:
        """Ccxt could not take a message: its loop ends there, so that it connects anew."""
        error = context.get("exception")
        LOG.warning("%s: %s", self.name, context["message"] if error is None else _line(error))
        self._due = self._due or "handle" in context

    # Streams.

    async def _watch(self, name: str, kind: Kind) -> None:
        """Take what a stream brings, for as long as the recorder runs."""
        takes: dict[Kind, Callable[[str, Any], Awaitable[None]]]
        takes = {Kind.TRADES: self._trades, Kind.QUOTES: self._quotes, Kind.DEPTH: self._book}
        take = takes[kind]
        call, failures, stream = self._calls[kind], 0, _stream(name, kind)
        backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        while True:
            try:
                found = await call(self._unified[name])
                if self._unsure.get(stream):
                    self._unsure[stream] -= 1
                    self._tell(name, kind, self._reasons.pop(stream, CONNECTION_LOST))
                    if kind == Kind.TRADES:
                        found = await self._with_missed(name, found)
                await take(name, found)
                failures = 0
            # ccxt cancels what waits for a connection that it closes.
            except (*self._errors, asyncio.CancelledError) as error:
                if self._closing:
                    raise
                failures += 1
                LOG.info("%s: %s", stream, _line(error))
                self._reasons[stream] = self._reason(error)
                self._unsure[stream] = UNSURE
                await asyncio.sleep(backoff.pause(failures))

    def _connected(self, url: str) -> None:
        """Ccxt has connected: it tells of a lost connection only who waits just then.

        Which streams it is for nobody tells. What comes next can be of the connection before, so
        that what comes after it is not certain either.
        """
        self.losses += url in self._urls
        self._urls.add(url)
        self._unsure = dict.fromkeys(self.streams, UNSURE)

    def _reason(self, error: BaseException) -> str:
        if isinstance(error, self._nonce_error):
            return LOST
        if isinstance(error, (self._network_error, asyncio.CancelledError)):
            return CONNECTION_LOST
        return f"ccxt: {type(error).__name__}"

    def _tell(self, name: str, kind: Kind, reason: str) -> None:
        lost = Lost([_stream(name, kind)], reason, connection=True)
        self._inbox.tell(("", lost), self._clock.now_ms())

    def _put(self, name: str, kind: Kind, document: dict[str, Any]) -> None:
        key, message = (name, STREAMS[kind]), (_stream(name, kind), document)
        self._inbox.put(key, message, self._clock.now_ms())

    async def _trades(self, name: str, trades: list[dict[str, Any]]) -> None:
        for trade in trades:
            document = self._numbered(name, trade)
            if document is not None:
                self._put(name, Kind.TRADES, document)

    async def _with_missed(self, name: str, trades: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Trades, and before them those since the last one that is known."""
        numbers = self._numbers.get(name)
        if numbers is None or not numbers.begun:
            return trades  # their numbers tell what is missing, or there was none before
        for _ in range(TRIES):
            try:
                page = await self._client.fetch_trades(self._unified[name], None, PAGE)
            except self._errors as error:
                LOG.info("%s: trades that were missed: %s", self.name, _line(error))
                await asyncio.sleep(FIRST_PAUSE_S)
                continue
            missed = numbers.missed(page)
            if missed is None:
                break
            return missed + trades
        numbers.skip()
        return trades

    def _numbered(self, name: str, trade: dict[str, Any]) -> dict[str, Any] | None:
        """A trade as a message; None where it was there already."""
        numbers = self._numbers.get(name)
        if numbers is None:
            return agg_trade(trade, whole_id(trade["id"]))
        number = numbers.number(trade)
        if number is None:
            return None
        document = agg_trade(trade, number)
        self._given[name].append(document)
        return document

    async def _quotes(self, name: str, found: dict[str, Any]) -> None:
        one = found if "bid" in found else found[self._unified[name]]
        self._quote = max(self._quote + 1, time.time_ns() // 1000)
        document = ticker(one, self._quote)
        if document is not None:
            self._put(name, Kind.QUOTES, document)

    async def _book(self, name: str, book: Any) -> None:
        number = book["nonce"]
        if number is None:
            self._unnumbered[name] = self._unnumbered.get(name, 0) + 1
            if self._unnumbered[name] > MOST_UNNUMBERED:
                raise UserError(
                    f"kinds: ccxt keeps no sequence numbers of {self._exchange}'s books, so that"
                    " nobody could tell what is missing; leave depth out",
                    ExitCode.EXCHANGE,
                )
            return
        self._unnumbered[name] = 0
        now_ms = book["timestamp"] or self._clock.now_ms()
        sides = [book_levels(book[side], LEVELS) for side in ("bids", "asks")]
        before, self._books[name] = self._books.get(name), (number, sides)
        if before is not None and number > before[0]:
            bids, asks = (changed(*pair) for pair in zip(before[1], sides, strict=True))
            document = {"E": now_ms, "U": before[0] + 1, "u": number, "b": bids, "a": asks}
        elif before is not None and sides == before[1]:
            return
        else:
            if before is not None:
                self._tell(name, Kind.DEPTH, "the exchange's book began anew")
            document = {"E": now_ms, "U": number, "u": number, "b": [], "a": []}
        self._put(name, Kind.DEPTH, document)

    async def _follow_candles(self, name: str, last_ms: int) -> None:
        """Ask for closed candles: a stream does not say which ones are closed."""
        next_ms = last_ms + INTERVAL_MS if last_ms else None
        while True:
            try:
                rows = await self._closed_candles(name, next_ms)
                for row in rows:
                    self._put(name, Kind.CANDLES, closed_kline(row))
                    next_ms = row[0] + INTERVAL_MS
            except self._errors as error:
                self.trouble = _line(error)
            await asyncio.sleep(self._candles_s)

    async def _closed_candles(self, name: str, since_ms: int | None) -> list[list[Any]]:
        # The newest one is still open.
        rows: list[list[Any]] = await self._client.fetch_ohlcv(
            self._unified[name], INTERVAL, since_ms, None if since_ms else 2
        )
        return rows[:-1]

    # What `asking.Asker` has.

    def ask(self, request: Request) -> None:
        """Ask; the answer comes later."""
        self._loop.call_soon_threadsafe(lambda: self._start(self._answer(request)))

    def answers(self) -> list[Answer]:
        """What has been answered since the last call; None for a question that failed."""
        found = []
        while not self._answers.empty():
            found.append(self._answers.get_nowait())
        return found

    async def _answer(self, request: Request) -> None:
        answer = None
        try:
            answer = await self._found(request)
            self.trouble = ""
        except self._errors as error:
            self.trouble = _line(error)
            await asyncio.sleep(FIRST_PAUSE_S)
        self._answers.put((request, answer))

    async def _found(self, request: Request) -> Any:
        name = request.symbol
        if request.kind == Kind.DEPTH:
            if name not in self._books:
                return None
            number, (bids, asks) = self._books[name]
            return {"lastUpdateId": number, "bids": changed({}, bids), "asks": changed({}, asks)}
        if request.kind == Kind.CANDLES:
            rows = await self._closed_candles(name, request.first * INTERVAL_MS)
            return [candle_row(row) for row in rows]
        if not self._contiguous:
            return [each for each in self._given[name] if each["a"] >= request.first]
        trades = await self._client.fetch_trades(self._unified[name], request.since_ms, PAGE)
        found = [agg_trade(trade, whole_id(trade["id"])) for trade in trades]
        # Of one millisecond ccxt sorts IDs as text: 10 is before 9.
        return sorted((each for each in found if each["a"] >= request.first), key=itemgetter("a"))


def _stream(name: str, kind: Kind) -> str:
    return f"{name.lower()}@{STREAMS[kind]}"


def _line(error: BaseException) -> str:
    """What an error says, in a line."""
    return f"{type(error).__name__} {error}".replace("\n", " ").strip()[:200]
