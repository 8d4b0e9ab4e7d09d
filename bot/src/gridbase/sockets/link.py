"""A connection that is opened again whenever it is lost. Nothing in it waits unless told to.

Reconnecting backs off, from one second to a minute. A connection that says nothing for a while is
asked something; when no answer comes either, it is cut: it may be dead and nobody has said so.
"""

import json
import logging
from collections.abc import Callable
from typing import Any, Protocol

from gridbase.backoff import Backoff
from gridbase.clock import Clock
from gridbase.sockets.dialer import Dialer
from gridbase.sockets.socket import Socket, SocketClosed

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
# A connection that lasted this long was a good one: the next one is tried after the first pause.
STEADY_SECONDS = 60.0
# Messages taken at a time; more than that wait for the next time.
MOST_AT_ONCE = 10_000


class Owner(Protocol):
    """Who knows what the messages mean."""

    def opened(self) -> None:
        """The connection is there. May send."""

    def received(self, document: dict[str, Any]) -> None:
        """A message. A KeyError, TypeError, ValueError or ArithmeticError: it makes no sense."""

    def lost(self) -> None:
        """The connection is gone."""

    def probe(self) -> None:
        """Send something that has to be answered."""


class Link:
    """One connection.

    Args:
        name: what it is, for messages.
        url: tells the address; asked at every attempt.
        dialer: opens it.
        clock: time.
        owner: gets what comes.
        timeout: longest wait for a connection, and for the answer to a probe (seconds).
        quiet: without a message for this long, it is probed (seconds).
        backoff: pauses between attempts.
        senseless: told of a message that makes no sense, instead of giving the connection up.
        steady_seconds: after so long a connection was a good one, and pauses begin anew.
    """

    def __init__(
        self,
        name: str,
        url: Callable[[], str],
        dialer: Dialer,
        clock: Clock,
        owner: Owner,
        *,
        timeout: float,
        quiet: float,
        backoff: Backoff,
        senseless: Callable[[str], None] | None = None,
        steady_seconds: float = STEADY_SECONDS,
    ) -> None:
        self._senseless = senseless
        self._steady_seconds = steady_seconds
        self.name = name
        self._url = url
        self._dialer = dialer
        self._clock = clock
        self._owner = owner
        self._timeout = timeout
        self._quiet = quiet
        self._backoff = backoff
        self._socket: Socket | None = None
        self._dialing = False
        self._closed = False
        self._failures = 0
        self._retry_at = float("-inf")
        self._opened_at = self._heard_at = float("-inf")
        self._probed_at: float | None = None
        self._reason = ""
        self.losses = 0  # connections that were lost

    @property
    def open(self) -> bool:
        """Whether there is a connection."""
        return self._socket is not None

    @property
    def dialing(self) -> bool:
        """Whether one is being opened."""
        return self._dialing

    def pump(self) -> None:
        """Connect, take what has come, and look whether the other end is still there."""
        self.dial(0.0)
        for _ in range(MOST_AT_ONCE):
            if not self.receive(0.0):
                break
        self._check_silence()

    def dial(self, wait: float) -> None:
        """Connect if there is no connection and it is time to; wait for it at most so long."""
        if self._closed or self.open:
            return
        if not self._dialing:
            if self._clock.monotonic() < self._retry_at:
                return
            self._dialing = True
            self._dialer.begin(self._url(), self._timeout)
        try:
            socket = self._dialer.result(wait)
        except (SocketClosed, OSError) as error:
            self._dialing = False
            self._failed(getattr(error, "strerror", None) or str(error) or type(error).__name__)
            return
        if socket is not None:
            self._dialing = False
            self._socket = socket
            self._opened_at = self._heard_at = self._clock.monotonic()
            self._probed_at = None
            self.tell(self._owner.opened)

    def receive(self, timeout: float) -> bool:
        """Take one message, waiting for it at most `timeout` seconds; whether one came."""
        if self._socket is None:
            return False
        try:
            text = self._socket.receive(timeout)
        except SocketClosed as error:
            self.cut(str(error) or "closed")
            return False
        if text is None:
            return False
        self._heard_at = self._clock.monotonic()
        self._probed_at = None
        try:
            self._owner.received(_read_object(text))
        except SocketClosed:
            log.debug("%s: lost while sending", self.name)  # `send` has done what there is to do
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            if self._senseless is not None:
                self._senseless(text)
                return True
            self.cut(f"a message makes no sense ({error!r}): {text[:120]}")
        return True

    def send(self, document: dict[str, Any]) -> None:
        """Send one message.

        Raises:
            SocketClosed: there is no connection, or it broke: the message may have arrived.
        """
        if self._socket is None:
            raise SocketClosed("not connected")
        try:
            self._socket.send(json.dumps(document, separators=(",", ":")))
        except SocketClosed as error:
            self.cut(str(error) or "closed")
            raise

    def tell(self, owner: Callable[[], None]) -> None:
        """Let the owner send; `send` has done what there is to do where that fails."""
        try:
            owner()
        except SocketClosed:
            log.debug("%s: lost while sending", self.name)

    def cut(self, reason: str) -> None:
        """Give the connection up; another one is opened after a pause."""
        socket, self._socket = self._socket, None
        if socket is None:
            return
        socket.close()
        self.losses += 1
        if self._clock.monotonic() - self._opened_at >= self._steady_seconds:
            self._failures = 0
        self._failed(reason)
        self._owner.lost()

    def steady(self) -> None:
        """Say that the connection does what it is there for."""
        if self._reason:
            log.info("%s: connected again", self.name)
        self._reason = ""

    def close(self) -> None:
        """Close for good."""
        self._closed = True
        self._dialer.abandon()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _failed(self, reason: str) -> None:
        self._failures += 1
        pause = self._backoff.pause(self._failures)
        self._retry_at = self._clock.monotonic() + pause
        level = logging.WARNING if reason != self._reason else logging.DEBUG
        log.log(level, "%s: %s; next try in %.0f s", self.name, reason, pause)
        self._reason = reason

    def _check_silence(self) -> None:
        if self._socket is None:
            return
        now = self._clock.monotonic()
        if self._probed_at is not None:
            if now - self._probed_at >= self._timeout:
                self.cut(f"silent for {now - self._heard_at:.0f} s")
        elif now - self._heard_at >= self._quiet:
            self._probed_at = now
            self.tell(self._owner.probe)


def _read_object(text: str) -> dict[str, Any]:
    document = json.loads(text)
    if not isinstance(document, dict):
        raise TypeError("it is no object")
    return document
