"""Keeps a served exchange going while nobody asks, and its clients told."""

import logging
import threading

from gridexchange.errors import ApiError
from gridexchange.rest.application import Api

LOG = logging.getLogger("gridexchange")
# Requests advance the market themselves; this is for when nobody asks, so that a backlog stays
# small and fills reach the disk soon.
IDLE_S = 2.0
# While a client listens: not more often than the first, for a fast market, nor less often than
# the second, for what is told some time after the market has moved.
CONNECTED_S = (0.05, 1.0)
FAULTY_S = 0.1  # what is late or cut by script wakes nobody


class Pump:
    """A thread that advances the market whenever somebody waits for what it brings.

    Args:
        api: the exchange.

    Attributes:
        wake: called when the market has moved by itself.
    """

    def __init__(self, api: Api) -> None:
        self._api = api
        self._stopping = False
        self._wake = threading.Event()
        self.wake = self._wake.set
        api.streams.on_connect = self.wake
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping = True
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        """Advance; tell once when the books cannot be written."""
        told = ""
        exchange = self._api.exchange
        while True:
            self._wake.wait(self._pause_s())
            self._wake.clear()
            if self._stopping:
                return
            try:
                exchange.advance()
            except ApiError:
                LOG.debug("the market stands still: %s", exchange.trouble)
            for connection in self._api.streams.open_connections():
                connection.ready()
            if exchange.trouble and not told:
                LOG.error("%s", exchange.trouble)
            elif told and not exchange.trouble:
                LOG.info("books can be written again")
            told = exchange.trouble

    def _pause_s(self) -> float:
        """How long nothing can happen that somebody waits for."""
        if not self._api.streams.open_connections():
            return IDLE_S
        shortest, longest = CONNECTED_S
        if self._api.faults.active:
            longest = FAULTY_S
        wait_ms = self._api.streams.wait_ms()
        if wait_ms is None:
            return longest
        return min(max(wait_ms / 1000, shortest), longest)
