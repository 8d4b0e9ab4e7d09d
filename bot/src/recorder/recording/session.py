"""Records the symbols of one exchange: takes messages, asks for what is missing, writes."""

from collections.abc import Callable, Sequence
from typing import Any

from gridbase.clock import Clock

from recorder.core.inbox import Inbox, Key
from recorder.core.numbered import GONE
from recorder.core.rows import Kind, Stream
from recorder.core.steps import Sizes
from recorder.files.store import Store
from recorder.recording.asking import Asker
from recorder.recording.connections import Connections, Lost
from recorder.recording.messages import STREAMS
from recorder.recording.symbol import SymbolRecording

FULL = "the queue was full"


class Session:
    """One exchange's symbols.

    Args:
        exchange: such as binance.
        symbols: with their steps.
        kinds: what is recorded of each.
        store: where rows go.
        asker: asks the exchange.
        inbox: where messages come from.
        clock: the time.
        gone: why trades are missing that the exchange does not have.

    Attributes:
        symbols: by name.
        messages: how many were taken.
        unproven: whether the numbers of trades do not tell whether some are missing.
    """

    def __init__(
        self,
        exchange: str,
        symbols: dict[str, Sizes],
        kinds: tuple[Kind, ...],
        *,
        store: Store,
        asker: Asker,
        inbox: Inbox,
        clock: Clock,
        gone: str = GONE,
    ) -> None:
        self.exchange = exchange
        self.inbox = inbox
        self.asker = asker
        self.messages = 0
        self.unproven = gone != GONE
        self.groups: Sequence[Connections] = []
        self._clock = clock
        self._began_ms = clock.now_ms()
        self.symbols = {
            symbol: SymbolRecording(
                exchange, symbol, kinds, sizes, sink=store, last=store.catalog.last, gone=gone
            )
            for symbol, sizes in symbols.items()
        }
        self._handlers: dict[str, Callable[[Any, int], None]] = {
            f"{symbol.lower()}@{name}": handler
            for symbol, recording in self.symbols.items()
            for name, handler in recording.handlers.items()
        }

    @property
    def streams(self) -> list[str]:
        """What the exchange calls the streams."""
        return list(self._handlers)

    def step(self, wait: float) -> None:
        """Take what has come, waiting for it at most so long (s), and ask for what is missing."""
        messages, drops = self.inbox.take(wait)
        handlers = self._handlers
        for (name, data), came_ms in messages:
            handler = handlers.get(name)
            if handler is not None:
                handler(data, came_ms)
            elif isinstance(data, Lost):
                self._lost(data)
        self.messages += len(messages)
        for key in drops:
            self._dropped(key)
        now_ms = self._clock.now_ms()
        for request, answer in self.asker.answers():
            symbol = self.symbols[request.symbol]
            if answer is None:
                symbol.failed(request)
            else:
                symbol.answered(request, answer, now_ms)
        for symbol in self.symbols.values():
            for request in symbol.requests(now_ms):
                self.asker.ask(request)

    def silent(self, limit_s: float) -> list[str]:
        """Streams of which nothing has come for so long.

        Trades are not among them: where they are missing, the exchange itself tells.
        """
        before_ms = self._clock.now_ms() - limit_s * 1000
        return [
            f"{symbol.lower()}@{STREAMS[kind]}"
            for symbol, recording in self.symbols.items()
            for kind, heard_ms in recording.heard_ms.items()
            if kind != Kind.TRADES and max(heard_ms, self._began_ms) < before_ms
        ]

    def checkpoint(self) -> None:
        """Record all books as they are."""
        for symbol in self.symbols.values():
            symbol.checkpoint(self._clock.now_ms())

    def _lost(self, lost: Lost) -> None:
        for name in lost.streams:
            symbol, _, kind = name.partition("@")
            recording = self.symbols[symbol.upper()]
            (recording.interrupted if lost.connection else recording.missed)(kind, lost.reason)

    def _dropped(self, key: Key) -> None:
        symbol, kind = key
        self.symbols[symbol].missed(kind, FULL)


def streams_of(
    exchange: str, symbols: dict[str, Sizes], kinds: tuple[Kind, ...]
) -> dict[Stream, Sizes]:
    """What rows will come of, with their steps."""
    return {
        Stream(exchange, kind, symbol): sizes for symbol, sizes in symbols.items() for kind in kinds
    }
