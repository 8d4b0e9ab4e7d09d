"""Reads for the page what only the books know: beside the bot, and rarely."""

import logging
import threading
import time
from pathlib import Path
from typing import Any

from gridbase.clock import Clock
from gridbase.errors import UserError

from gridbot.accounting.overview import overview
from gridbot.accounting.trade_history import latest
from gridbot.service.status import fill_document
from gridbot.store import Store

log = logging.getLogger(__name__)

# Of a grid, at most so many trades at a time.
FILLS = 500
# So long a reading counts, and so many times as long as it took: large books are read more rarely.
LEAST_SECONDS = 60.0
REST_FACTOR = 100


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
        self._fills: tuple[object, list[dict[str, Any]]] = (None, [])

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

    def fills(self, symbol: str, commits: int | None) -> list[dict[str, Any]]:
        """Latest trades of a symbol's latest grid, newest first: those that are not settled yet.

        Args:
            symbol: unified name.
            commits: how many the bot has made, so that what was read holds; None: unknown.

        Raises:
            UserError: the books cannot be read.
        """
        seen, known = self._fills
        if commits is not None and seen == (symbol, commits):
            return known
        store = Store(self._directory, read_only=True)
        try:
            grid_run = store.grid_run(symbol)
            traded = [] if grid_run is None else latest(store, grid_run, FILLS)
        finally:
            store.close()
        found = list(map(fill_document, traded))
        self._fills = ((symbol, commits), found)
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
