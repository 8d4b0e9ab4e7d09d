"""Opening a connection, without making the trading loop wait for it."""

import threading
from typing import Protocol

from gridbase.sockets.socket import Connect, Socket, SocketClosed


class Dialer(Protocol):
    """Opens one connection at a time."""

    def begin(self, url: str, timeout: float) -> None:
        """Start to connect."""

    def result(self, wait: float) -> Socket | None:
        """The connection; None while it is not there after `wait` seconds.

        Raises:
            SocketClosed, OSError: it cannot be had.
        """

    def abandon(self) -> None:
        """Forget about it."""


class DirectDialer:
    """Connects while the caller waits: for simulations, where that takes no time."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._wanted: tuple[str, float] | None = None

    def begin(self, url: str, timeout: float) -> None:
        """Remember what to connect to."""
        self._wanted = url, timeout

    def result(self, wait: float) -> Socket | None:  # noqa: ARG002 - it is there at once
        """Connect."""
        if self._wanted is None:
            return None
        (url, timeout), self._wanted = self._wanted, None
        return self._connect(url, timeout)

    def abandon(self) -> None:
        """Forget about it."""
        self._wanted = None


class _Attempt:
    """One try to connect, in a thread of its own."""

    def __init__(self, connect: Connect, url: str, timeout: float) -> None:
        self.socket: Socket | None = None
        self.error: Exception | None = None
        self.done = threading.Event()
        self._lock = threading.Lock()
        self._abandoned = False
        arguments = (connect, url, timeout)
        # A daemon: a host that does not answer must not keep the process from ending.
        threading.Thread(target=self._run, args=arguments, name="dial", daemon=True).start()

    def _run(self, connect: Connect, url: str, timeout: float) -> None:
        try:
            socket = connect(url, timeout)
        except Exception as error:  # noqa: BLE001 - raised again where the result is asked for
            self.error = error
        else:
            with self._lock:
                abandoned, self.socket = self._abandoned, socket
            if abandoned:
                socket.close()
        self.done.set()

    def abandon(self) -> None:
        """Close the connection, now or once it is there."""
        with self._lock:
            self._abandoned, socket = True, self.socket
        if socket is not None:
            socket.close()


class ThreadDialer:
    """Connects in the background: a host that does not answer keeps nobody waiting."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._attempt: _Attempt | None = None

    def begin(self, url: str, timeout: float) -> None:
        """Start to connect."""
        self._attempt = _Attempt(self._connect, url, timeout)

    def result(self, wait: float) -> Socket | None:
        """The connection; None while it is not there after `wait` seconds."""
        attempt = self._attempt
        if attempt is None or not attempt.done.wait(wait):
            return None
        self._attempt = None
        if attempt.error is not None:
            if isinstance(attempt.error, (SocketClosed, OSError)):
                raise attempt.error
            raise RuntimeError("opening a connection failed") from attempt.error
        return attempt.socket

    def abandon(self) -> None:
        """Forget about it: whatever comes of it is closed."""
        if self._attempt is not None:
            self._attempt.abandon()
            self._attempt = None
