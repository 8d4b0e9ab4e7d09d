"""Serves a WSGI application and its event streams: one thread for all sockets, two for answers.

Whoever connects costs a socket and a few kilobytes, never a thread. A request that does not come
to its end in time, and an answer that is not fetched, end the connection. When all places are
taken, the connection that has waited longest without a whole request, or without fetching any of
its answer, gives its place to the new one: a crowd of idle connections locks nobody out.
"""

import contextlib
import logging
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import h11

from gridbase.http.channel import Channel, EventStream
from gridbase.http.connection import BODY_BYTES, Connection, Headers, TooLargeError

log = logging.getLogger(__name__)

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]
_READ_BYTES = 16_384
_ACCEPT_AT_ONCE = 64
_BEAT = b": still here\n\n"


@dataclass(frozen=True)
class Limits:
    """What a server bears.

    Attributes:
        connections: at a time.
        request_seconds: from the first byte of a request to its last.
        idle_seconds: without any byte of a next request.
        answer_seconds: until an answer is fetched.
        beat_seconds: between signs of life on a stream.
        unsent_bytes: of a stream; a client that is farther behind is dropped, and comes again.
        unfetched_bytes: of all answers; beyond it, who has fetched nothing for longest is dropped.
        workers: threads that make answers.
    """

    connections: int = 400
    request_seconds: float = 10.0
    idle_seconds: float = 60.0
    answer_seconds: float = 30.0
    beat_seconds: float = 15.0
    unsent_bytes: int = 262_144
    unfetched_bytes: int = 16_777_216
    workers: int = 2


class _Client(Connection):
    """A connection with its socket, and what it is doing."""

    def __init__(self, sock: socket.socket, address: str) -> None:
        super().__init__(address)
        self.sock = sock
        self.state = "reading"  # reading, working, writing, streaming, parting
        self.channel: Channel | None = None
        self.watched = 0
        self.forgotten = 0  # bytes that came though nobody wanted them


def _since(client: _Client) -> float:
    return client.since


class WebServer:
    """A server that listens.

    Args:
        application: WSGI; it is called from `limits.workers` threads.
        host: address or name to listen on.
        port: 0 for any free one.
        limits: what it bears.

    Raises:
        OSError: it cannot listen there.

    Attributes:
        port: that it listens on.
    """

    def __init__(
        self, application: Application, host: str, port: int, limits: Limits | None = None
    ) -> None:
        self._application = application
        self._limits = limits or Limits()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=256)
        self._listener.settimeout(0)
        self.port: int = self._listener.getsockname()[1]
        self._woken, self._waker = socket.socketpair()
        self._woken.settimeout(0)
        self._waker.settimeout(0)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._clients: set[_Client] = set()
        self._calls: deque[Callable[[], None]] = deque()  # from other threads, for the loop
        self._pool = ThreadPoolExecutor(self._limits.workers, thread_name_prefix="page")
        self._stopping = threading.Event()
        self._swept = time.monotonic()

    def run(self) -> None:
        """Serve until `close`."""
        try:
            while not self._stopping.is_set():
                for key, events in self._selector.select(1.0):
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.fileobj is self._woken:
                        self._hear()
                    else:
                        self._act(key.data, events)
                self._sweep()
        finally:
            for client in list(self._clients):
                self._drop(client)
            self._pool.shutdown(wait=False)
            for one in (self._listener, self._woken, self._waker):
                one.close()
            self._selector.close()

    def close(self) -> None:
        """Have `run` end; called from any thread."""
        self._stopping.set()
        self._wake()

    # From other threads.

    def _call(self, what: Callable[[], None]) -> None:
        self._calls.append(what)
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it is awake anyway
            self._waker.send(b"\0")

    def _deliver(self, channel: Channel, event: bytes) -> None:
        self._call(lambda: self._send_event(channel, event))

    def _work(self, client: _Client, environ: dict[str, Any]) -> None:
        """Ask the application, in a thread of the pool."""
        told: list[Any] = ["500 Internal Server Error", []]

        def start_response(status: str, headers: Headers) -> None:
            told[:] = [status, headers]

        body: bytes | EventStream
        try:
            answer = self._application(environ, start_response)
            body = answer if isinstance(answer, EventStream) else b"".join(answer)
        except Exception:
            log.exception("the page cannot answer %s", environ["PATH_INFO"])
            told[:], body = ["500 Internal Server Error", [("Content-Length", "0")]], b""
        self._call(lambda: self._begin_answer(client, told[0], told[1], body))

    # The loop's thread.

    def _hear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(4096)
        for _ in range(len(self._calls)):
            self._calls.popleft()()

    def _accept(self) -> None:
        for _ in range(_ACCEPT_AT_ONCE):
            try:
                sock, address = self._listener.accept()
            except OSError:  # none waits, or no file is left for it
                return
            if len(self._clients) >= self._limits.connections and not self._make_place():
                sock.close()
                continue
            sock.settimeout(0)
            client = _Client(sock, address[0])
            self._clients.add(client)
            self._watch(client, selectors.EVENT_READ)

    def _make_place(self) -> bool:
        """Drop who has waited longest for the other side; False: nobody has."""
        idle = {"reading", "writing", "parting"}
        waiting = [one for one in self._clients if one.state in idle]
        if waiting:
            self._drop(min(waiting, key=_since))
        return bool(waiting)

    def _watch(self, client: _Client, events: int) -> None:
        if events == client.watched:
            return
        if not events:
            self._selector.unregister(client.sock)
        elif client.watched:
            self._selector.modify(client.sock, events, client)
        else:
            self._selector.register(client.sock, events, client)
        client.watched = events

    def _act(self, client: _Client, events: int) -> None:
        if client not in self._clients:
            return
        try:
            if events & selectors.EVENT_READ:
                self._read(client)
            if events & selectors.EVENT_WRITE and client in self._clients:
                self._write(client)
        except (OSError, h11.LocalProtocolError):
            self._drop(client)

    def _read(self, client: _Client) -> None:
        data = client.sock.recv(_READ_BYTES)
        if client.state != "reading":  # nothing is kept of it, and there is little patience
            client.forgotten += len(data)
            if not data or client.forgotten > BODY_BYTES:
                self._drop(client)
            return
        if client.between_requests:
            client.since = time.monotonic()
        try:
            client.receive(data)
            self._next_request(client)
        except h11.RemoteProtocolError as error:
            self._refuse(client, f"{error.error_status_hint} Bad Request")
        except TooLargeError:
            self._refuse(client, "413 Content Too Large")
        if not data and client.state == "reading":
            self._drop(client)

    def _next_request(self, client: _Client) -> None:
        environ = client.request()
        if environ is not None:
            client.state = "working"
            self._watch(client, 0)
            self._pool.submit(self._work, client, environ)
        elif client.out:
            self._write(client)

    def _refuse(self, client: _Client, status: str) -> None:
        client.refuse(status)
        client.state = "writing"
        self._write(client)

    def _begin_answer(
        self, client: _Client, status: str, headers: Headers, body: bytes | EventStream
    ) -> None:
        if client not in self._clients:
            return
        client.since = time.monotonic()
        try:
            if isinstance(body, EventStream):
                self._begin_stream(client, status, headers, body)
            else:
                client.answer(status, headers, body)
                client.state = "writing"
            self._write(client)
            self._bound_memory()
        except (OSError, h11.LocalProtocolError):
            self._drop(client)

    def _bound_memory(self) -> None:
        """Drop who has fetched nothing for longest, while what waits to be fetched is too much."""
        slow = sorted((one for one in self._clients if one.state == "writing"), key=_since)
        unfetched = sum(len(one.out) for one in slow)
        for client in slow[:-1]:
            if unfetched <= self._limits.unfetched_bytes:
                return
            unfetched -= len(client.out)
            self._drop(client)

    def _begin_stream(
        self, client: _Client, status: str, headers: Headers, stream: EventStream
    ) -> None:
        channel = stream.channel
        if channel.clients >= channel.most:
            client.answer("503 Service Unavailable", [("Content-Length", "0")], b"")
            client.state = "writing"
            return
        channel.connect(self._deliver)
        channel.clients += 1
        client.channel, client.state = channel, "streaming"
        client.answer(status, headers, None)
        if stream.first:
            client.more(stream.first)

    def _write(self, client: _Client) -> None:
        if client.out:
            try:
                sent = client.sock.send(client.out)
            except BlockingIOError:
                sent = 0
            if sent:
                del client.out[:sent]
                if client.state != "reading":  # who trickles a request wins no time by it
                    client.since = time.monotonic()
        if client.out:
            self._watch(client, selectors.EVENT_READ | selectors.EVENT_WRITE)
            return
        if client.state == "writing":
            self._end_answer(client)
        else:
            self._watch(client, selectors.EVENT_READ)

    def _end_answer(self, client: _Client) -> None:
        if client.next_cycle():
            client.state, client.since = "reading", time.monotonic()
            self._watch(client, selectors.EVENT_READ)
            try:
                self._next_request(client)  # it may have come already
            except (h11.RemoteProtocolError, TooLargeError):
                self._drop(client)
            return
        # What still comes is read and forgotten: else the answer could be lost on its way.
        client.state = "parting"
        client.sock.shutdown(socket.SHUT_WR)
        self._watch(client, selectors.EVENT_READ)

    def _send_event(self, channel: Channel, event: bytes) -> None:
        for client in [one for one in self._clients if one.channel is channel]:
            self._send(client, event)

    def _send(self, client: _Client, event: bytes) -> None:
        if len(client.out) > self._limits.unsent_bytes:
            self._drop(client)
            return
        try:
            client.more(event)
            self._write(client)
        except (OSError, h11.LocalProtocolError):
            self._drop(client)

    def _sweep(self) -> None:
        """Once a second: drop who is too slow, and give streams a sign of life."""
        now = time.monotonic()
        if now - self._swept < 1.0:
            return
        self._swept = now
        for client in list(self._clients):
            waited = now - client.since
            if client.state == "streaming" and not client.out:
                if waited > self._limits.beat_seconds:
                    self._send(client, _BEAT)
            elif client.state != "working" and waited > self._patience(client):
                self._drop(client)

    def _patience(self, client: _Client) -> float:
        if client.state in {"writing", "streaming"}:
            return self._limits.answer_seconds
        idle = client.state == "reading" and client.between_requests
        return self._limits.idle_seconds if idle else self._limits.request_seconds

    def _drop(self, client: _Client) -> None:
        if client not in self._clients:
            return
        self._clients.discard(client)
        if client.channel is not None:
            client.channel.clients -= 1
        self._watch(client, 0)
        client.sock.close()
