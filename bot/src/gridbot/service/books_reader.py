"""Reads for the page what only the books know: beside the bot, and rarely."""

import logging
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from gridbase.clock import Clock
from gridbase.errors import UserError

from gridbot.accounting.overview import overview
from gridbot.accounting.trade_history import Place, page, text_of
from gridbot.service.status import fill_document
from gridbot.store import Store

log = logging.getLogger(__name__)

# So long a reading counts, and so many times as long as it took: large books are read more rarely.
LEAST_SECONDS = 60.0
REST_FACTOR = 100

# Trades, and where the next ones begin.
Fills = tuple[list[dict[str, Any]], str | None]


class BooksReader:
    """Keeps the latest overview of the books.

    Args:
        directory: the state directory.
        symbols: unified names.
        clock: time.
    """

    def __init__(self, directory: Path, symbols: list[str], clock: Clock) -> None:
        self._directory = directory
        self._symbols = symbols
        self._clock = clock
        self._due = clock.monotonic()
        self._reading = threading.Lock()
        self._document: dict[str, Any] = {"error": "not read yet", "grids": {}}
        self._fills: tuple[object, Fills] = (None, ([], None))

    def document(self) -> dict[str, Any]:
        """What was read last; where that is old, a thread begins to read the books anew."""
        if self._clock.monotonic() >= self._due and not self._reading.locked():
            threading.Thread(target=self.read, name="books", daemon=True).start()
        return self._document

    def read(self) -> None:
        """Read the books now, unless another thread does."""
        if not self._reading.acquire(blocking=False):
            return
        try:
            begun = time.perf_counter()
            self._document = self._read()
            took = time.perf_counter() - begun
            self._due = self._clock.monotonic() + max(LEAST_SECONDS, REST_FACTOR * took)
        finally:
            self._reading.release()

    def fills(self, symbol: str, commits: int | None, count: int, after: Place | None) -> Fills:
        """A page of the trades of a symbol's latest grid, newest first.

        Args:
            symbol: unified name.
            commits: how many the bot has made, so that what was read holds; None: unknown.
            count: how many at most.
            after: where the page before ended.

        Returns:
            The trades, and where the next page begins; None where there is none.

        Raises:
            UserError: the books cannot be read.
        """
        asked = (symbol, commits, count, after)
        seen, known = self._fills
        if commits is not None and seen == asked:
            return known
        with closing(Store(self._directory, read_only=True)) as store:
            grid_run = store.grid_run(symbol)
            traded, last = ([], None) if grid_run is None else page(store, grid_run, count, after)
        rows = [fill_document(one) | {"trade_id": one.fill.trade_id} for one in traded]
        found = (rows, None if last is None else text_of(last))
        self._fills = (asked, found)
        return found

    def _read(self) -> dict[str, Any]:
        try:
            store = Store(self._directory, read_only=True)
        except UserError as error:
            return {"error": str(error), "grids": {}}
        try:
            known = set(store.symbols())
            now_ms = self._clock.now_ms()
            grids = {
                symbol: overview(store, symbol, now_ms)
                for symbol in self._symbols
                if symbol in known
            }
        except UserError as error:
            log.warning("the page cannot read the books: %s", error)
            return {"error": str(error), "grids": self._document["grids"]}
        finally:
            store.close()
        return {"error": "", "grids": grids}
