"""One symbol: its messages and answers become rows and gaps. Pure but for where these go."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from recorder.core.book import BookBuilder
from recorder.core.numbered import GONE, PAGE, Numbered
from recorder.core.quotes import Quotes
from recorder.core.rows import NUMBER, Gap, Kind, Row, Stream
from recorder.core.steps import FinerStepError, Sizes, Steps
from recorder.recording import messages
from recorder.recording.messages import INTERVAL_MS

RESTARTED = "the recorder was not running"
SENSELESS = "a message made no sense"


class Sink(Protocol):
    """Where rows go."""

    def add(self, stream: Stream, rows: list[Row]) -> None:
        """Record rows."""

    def add_gaps(self, gaps: list[Gap]) -> None:
        """Record gaps, before any row that is added later."""

    def resize(self, stream: Stream, sizes: Sizes) -> None:
        """Go on with other steps."""


@dataclass(frozen=True)
class Request:
    """A question for the exchange.

    Attributes:
        symbol: about which symbol.
        kind: which rows are missing.
        first: number of the first one; 0 for a snapshot of the book.
        until: number of the last one; None where that is not known.
        since_ms: time of the last row that is there.
    """

    symbol: str
    kind: Kind
    first: int = 0
    until: int | None = None
    since_ms: int = 0


class SymbolRecording:
    """Records one symbol.

    Args:
        exchange: such as binance.
        symbol: the exchange's name of it.
        kinds: what is recorded.
        sizes: its steps.
        sink: where rows go.
        last: tells number and time of the last row of a stream; None and 0 at first.
        gone: why trades are missing that the exchange does not have.

    Attributes:
        handlers: what takes a message of each of the exchange's streams, with the time in ms.
        heard_ms: when the last message of each kind came; 0 before the first.
        lag_ms: how late the last message with a time was.
        senseless: messages that made no sense.
    """

    def __init__(
        self,
        exchange: str,
        symbol: str,
        kinds: Iterable[Kind],
        sizes: Sizes,
        *,
        sink: Sink,
        last: Callable[[Stream], tuple[int | None, int]],
        gone: str = GONE,
    ) -> None:
        self.symbol = symbol
        self.kinds = tuple(kinds)
        self.heard_ms = dict.fromkeys(self.kinds, 0)
        self.lag_ms = 0
        self.senseless = 0
        self._sink = sink
        self._steps = {kind: Steps(sizes) for kind in self.kinds}
        self._streams = {kind: Stream(exchange, kind, symbol) for kind in self.kinds}
        number, time_ms = last(Stream(exchange, Kind.TRADES, symbol))
        self.trades = Numbered(
            Stream(exchange, Kind.TRADES, symbol),
            lambda row: row[NUMBER[Kind.TRADES]],
            number,
            time_ms,
            gone=gone,
        )
        number, time_ms = last(Stream(exchange, Kind.CANDLES, symbol))
        self.candles = Numbered(
            Stream(exchange, Kind.CANDLES, symbol),
            lambda row: row[0] // INTERVAL_MS,
            None if number is None else number // INTERVAL_MS,
            time_ms,
            open_ended=False,
        )
        stream = Stream(exchange, Kind.QUOTES, symbol)
        self.quotes = Quotes(stream, last(stream)[1])
        self.quotes.restarted(RESTARTED)
        stream = Stream(exchange, Kind.DEPTH, symbol)
        self.book = BookBuilder(stream, last(stream)[1])
        self.book.reset(RESTARTED)
        takes = {
            Kind.TRADES: self._trade,
            Kind.QUOTES: self._quote,
            Kind.DEPTH: self._difference,
            Kind.CANDLES: self._candle,
        }
        self.handlers = {messages.STREAMS[kind]: self._handler(kind, takes[kind]) for kind in kinds}

    def _handler(self, kind: Kind, take: Callable[[Any, int], None]) -> Callable[[Any, int], None]:
        name = messages.STREAMS[kind]

        def handle(document: Any, now_ms: int) -> None:
            self.heard_ms[kind] = now_ms
            try:
                take(document, now_ms)
            except FinerStepError as error:
                self._refine(kind, error)
                handle(document, now_ms)
            except (KeyError, TypeError, ValueError, ArithmeticError):
                self.senseless += 1
                self.missed(name, SENSELESS)

        return handle

    def _trade(self, document: Any, now_ms: int) -> None:
        self.lag_ms = now_ms - messages.moment(document["E"])
        rows = self.trades.take(messages.trade(document, self._steps[Kind.TRADES]), now_ms)
        self._sink.add(self.trades.stream, rows)

    def _quote(self, document: Any, now_ms: int) -> None:
        rows, gaps = self.quotes.take(messages.quote(document, self._steps[Kind.QUOTES], now_ms))
        self._record(self.quotes.interruption.stream, rows, gaps)

    def _difference(self, document: Any, now_ms: int) -> None:
        self.lag_ms = now_ms - messages.moment(document["E"])
        rows, gaps = self.book.take(messages.difference(document, self._steps[Kind.DEPTH]), now_ms)
        self._record(self.book.interruption.stream, rows, gaps)

    def _candle(self, document: Any, now_ms: int) -> None:
        row = messages.closed_candle(document, self._steps[Kind.CANDLES])
        if row is not None:
            self._sink.add(self.candles.stream, self.candles.take(row, now_ms))

    def _record(self, stream: Stream, rows: list[Row], gaps: list[Gap]) -> None:
        if gaps:
            self._sink.add_gaps(gaps)
        self._sink.add(stream, rows)

    def _refine(self, kind: Kind, error: FinerStepError) -> None:
        """The exchange has changed its steps: what waits is of the old ones, and comes again."""
        steps = self._steps[kind] = Steps(self._steps[kind].sizes.finer(error))
        if kind == Kind.TRADES:
            self.trades.forget()
        elif kind == Kind.CANDLES:
            self.candles.forget()
        elif kind == Kind.DEPTH:
            self.book.reset("the exchange changed its steps")
        self._sink.resize(self._streams[kind], steps.sizes)

    # What is missing.

    def interrupted(self, name: str, reason: str) -> None:
        """Messages of a stream may be lost, and its numbers may begin anew."""
        if name == messages.STREAMS[Kind.QUOTES]:
            self.quotes.restarted(reason)
        elif name == messages.STREAMS[Kind.DEPTH]:
            self.book.reset(reason)
        elif name == messages.STREAMS[Kind.TRADES]:
            self.trades.suspect()

    def missed(self, name: str, reason: str) -> None:
        """Messages of a stream are lost; of quotes alone later ones do not tell."""
        if name == messages.STREAMS[Kind.QUOTES]:
            self.quotes.interruption.begin(reason)

    def requests(self, now_ms: int) -> list[Request]:
        """What to ask the exchange now, each once."""
        found = []
        if Kind.DEPTH in self.kinds and self.book.wants_snapshot(now_ms):
            found.append(Request(self.symbol, Kind.DEPTH))
        for rows in (self.trades, self.candles):
            kind = rows.stream.kind
            wanted = rows.wanted(now_ms) if kind in self.kinds else None
            if wanted is not None:
                found.append(Request(self.symbol, kind, *wanted, since_ms=rows.last_ms))
        return found

    def failed(self, request: Request) -> None:
        """A question was not answered; it is asked again."""
        if request.kind == Kind.DEPTH:
            self.book.failed()
        else:
            (self.trades if request.kind == Kind.TRADES else self.candles).failed()

    def answered(self, request: Request, answer: Any, now_ms: int) -> None:
        """Take an answer; one that makes no sense counts as none."""
        try:
            if request.kind == Kind.DEPTH:
                self._snapshot(answer, now_ms)
            else:
                self._missing(request, answer, now_ms)
        except FinerStepError as error:
            self._refine(request.kind, error)
            self.failed(request)
        except (KeyError, IndexError, TypeError, ValueError, ArithmeticError):
            self.senseless += 1
            self.failed(request)

    def _snapshot(self, answer: Any, now_ms: int) -> None:
        bids, asks = (
            messages.levels(answer[side], self._steps[Kind.DEPTH]) for side in ("bids", "asks")
        )
        rows, gaps = self.book.snapshot(messages.whole(answer["lastUpdateId"]), bids, asks, now_ms)
        self._record(self.book.interruption.stream, rows, gaps)

    def _missing(self, request: Request, answer: Any, now_ms: int) -> None:
        tracker = self.trades
        if request.kind == Kind.TRADES:
            found = [messages.trade(each, self._steps[Kind.TRADES]) for each in answer]
        else:
            tracker = self.candles
            found = [messages.candle(each, self._steps[Kind.CANDLES]) for each in answer]
            found = [row for row in found if row[0] // INTERVAL_MS <= (request.until or 0)]
        rows, gaps = tracker.answered(found, now_ms, full=len(answer) >= PAGE)
        if request.kind == Kind.CANDLES:  # files number candles by their time
            gaps = [_of_minutes(gap) for gap in gaps]
        self._record(tracker.stream, rows, gaps)

    def checkpoint(self, now_ms: int) -> None:
        """Record the book as it is: each file can be read without the one before."""
        if Kind.DEPTH in self.kinds:
            self._sink.add(self.book.interruption.stream, self.book.checkpoint(now_ms))


def _of_minutes(gap: Gap) -> Gap:
    """A gap between candles that were numbered by minute, by their times."""
    first, last = ((number or 0) * INTERVAL_MS for number in (gap.first, gap.last))
    return replace(gap, first=first, last=last)
