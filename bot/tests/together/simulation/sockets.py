"""Carries the bot's WebSocket messages to the practice exchange and back, in one process.

Messages may be lost, doubled, swapped or late; connections break before or after a message has
arrived, or say nothing any more.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from gridbase.sockets.socket import SocketClosed
from gridexchange.errors import ApiError
from gridexchange.faults.plan import Severed
from gridexchange.rest.application import Api

from .boundaries import Boundaries
from .clocks import BotClock
from .faults import Faults
from .kill_switch import price_in_answer, price_in_message

STREAM_ADDRESS = "ws://exchange.test"
TRADING_PATH = "/ws-api/v3"
LATENCY_SECONDS = 0.005
CONNECT_TIMEOUT_SECONDS = 10.0
LONGEST_LOOK_SECONDS = 5.0  # somebody looks again after this, though the market stands still
PLACE = "order.place"
CHANGING = {PLACE, "order.cancel"}


@dataclass
class Network:
    """All connections of one world.

    Attributes:
        api: the exchange.
        boundaries: told before and after each message.
        faults: what goes wrong.
        note: told of every message, for a trace.
        leaving: told the client order ID and the side of every order that is about to leave.
        heard: told of every price that a message brings.
        accepted: called after each message that may have changed the exchange.
        clock: tells the clock of the bot that lives now.
        down: why no connection can be opened and no message arrives; None while all is well.
        under_way: what delivers the message that has left last.
        latency: seconds that each way takes.
        messages: how many went each way, by path.
    """

    api: Api
    boundaries: Boundaries
    faults: Faults
    note: Callable[[str], None]
    leaving: Callable[[str, str], None]
    heard: Callable[[str], None]
    accepted: Callable[[], None]
    clock: Callable[[], BotClock]
    down: str | None = None
    under_way: Callable[[], None] = lambda: None
    latency: float = LATENCY_SECONDS
    sockets: list["SimulatedSocket"] = field(default_factory=list)
    messages: dict[str, int] = field(default_factory=dict)

    def connect(self, url: str, _timeout: float) -> "SimulatedSocket":
        """Open a connection, as `gridbase.sockets.socket.Connect`."""
        self.boundaries.cross("before connect")
        self.clock().time.sleep(self.latency)
        if self.down is not None:
            raise ConnectionRefusedError(111, "Connection refused")
        socket = SimulatedSocket(self, url)
        self.sockets = [item for item in self.sockets if not item.gone] + [socket]
        self.boundaries.cross("after connect")
        return socket

    def drop_all(self) -> None:
        """Every connection breaks; what was on its way is lost."""
        for socket in self.sockets:
            socket.break_()

    def arrive_late(self, text: str, method: str) -> None:
        """The exchange takes a message though its connection is gone by now."""
        try:
            connection = self.api.streams.connect(TRADING_PATH, "", "127.0.0.1")
        except (ApiError, Severed):
            return
        self.note(f"a late {method} arrives")
        connection.receive(text)
        connection.close()
        if method in CHANGING:
            self.accepted()

    def hang_all(self, seconds: float) -> None:
        """Every connection says nothing for a while, and then all at once."""
        until = self.clock().time.seconds + seconds
        for socket in self.sockets:
            socket.silent_until = until


class SimulatedSocket:
    """One connection of the bot to the exchange in this process."""

    def __init__(self, network: Network, url: str) -> None:
        parts = urlsplit(url)
        self.path = parts.path
        self.silent_until = 0.0
        self.gone = False
        self._network = network
        self._arrived: list[str] = []
        self._asked: dict[object, tuple[str, object]] = {}
        try:
            self._connection = network.api.streams.connect(parts.path, parts.query, "127.0.0.1")
        except ApiError as error:
            raise SocketClosed(error.message) from error
        except Severed as error:
            network.clock().time.sleep(min(error.hang_s, CONNECT_TIMEOUT_SECONDS))
            raise SocketClosed("connection reset") from error

    def send(self, text: str) -> None:
        network = self._network
        self._check()
        message = json.loads(text)
        method = str(message.get("method"))
        trading = self.path == TRADING_PATH
        if method == PLACE:
            network.leaving(message["params"]["newClientOrderId"], message["params"]["side"])
        network.boundaries.cross("before send")
        network.under_way = lambda: network.arrive_late(text, method)
        if method in CHANGING:
            network.boundaries.cross("message under way")
        fault = network.faults.of_message(method) if trading else None
        network.note(f"sends {method} {message.get('id')}{f': {fault}' if fault else ''}")
        if trading:  # of the other stream nobody asks what was answered
            self._asked[message.get("id")] = method, message.get("params")
        self._count("sent")
        network.clock().time.sleep(network.latency)
        self._carry(text, method, fault)
        network.boundaries.cross("after send")

    def _carry(self, text: str, method: str, fault: str | None) -> None:
        network = self._network
        if fault == "message lost":
            return
        if fault == "cut before":
            self.break_()
            raise SocketClosed("connection reset")
        if fault == "message late":
            network.clock().time.after(network.faults.dice.uniform(0.1, 5.5), network.under_way)
            self.break_()
            raise SocketClosed("connection reset")
        self._arrive(text, method)
        if fault == "cut after":
            self.break_()
            raise SocketClosed("connection reset")
        if fault == "answer lost":
            self._fetch()
            self._arrived.clear()
        if fault == "hung":
            self.silent_until = float("inf")

    def _arrive(self, text: str, method: str) -> None:
        """The exchange takes a message, whatever has become of its sender."""
        if self._network.down is not None:
            return
        self._network.api.exchange.advance()
        self._connection.receive(text)
        if method in CHANGING:
            self._network.accepted()

    def receive(self, timeout: float) -> str | None:
        network, clock = self._network, self._network.clock()
        deadline = clock.monotonic() + timeout
        while True:
            self._fetch()
            if self._arrived:
                text = self._arrived.pop(0)
                self._count("received")
                self._hear(text)
                network.boundaries.cross("after receive")
                return text
            self._check()
            remaining = deadline - clock.monotonic()
            if remaining <= 0:
                return None
            # A connection knows nothing of a stop: it waits on, as a real one does.
            clock.time.sleep(min(remaining, self._next_look()))
            clock.look()

    def _hear(self, text: str) -> None:
        """Tell of a price that a message brings."""
        if self.path != TRADING_PATH:
            price = price_in_message(text)
        else:
            answer = json.loads(text)
            method, query = self._asked.pop(answer.get("id"), ("", None))
            query = query if isinstance(query, dict) else {}
            price = price_in_answer(method, query, answer.get("result"))
        if price is not None:
            self._network.heard(price)

    def _next_look(self) -> float:
        """Seconds until the exchange may have something to say."""
        waits = (self._network.api.exchange.wait_ms(), self._connection.wait_ms())
        wait = min((wait for wait in waits if wait is not None), default=None)
        longest = LONGEST_LOOK_SECONDS
        return longest if wait is None else min(longest, max(wait / 1000, 0.001))

    def _fetch(self) -> None:
        network = self._network
        now = network.clock().monotonic()
        if self.gone or network.down is not None or now < self.silent_until:
            return
        network.api.exchange.advance()
        texts = self._connection.outgoing()
        if texts and self.path == TRADING_PATH:
            texts = self._disturbed(texts)
        self._arrived += texts

    def _disturbed(self, texts: list[str]) -> list[str]:
        """Events may be lost, doubled and swapped; answers to requests are not."""
        result: list[str] = []
        for text in texts:
            fault = None
            if '"executionReport"' in text:
                fault = self._network.faults.of_event()
                self._network.note(f"event{f': {fault}' if fault else ''} {_shown(text)}")
            if fault == "event lost":
                continue
            result.append(text)
            if fault == "event doubled":
                result.append(text)
            elif fault == "events swapped" and len(result) > 1:
                result[-2:] = result[:-3:-1]
        return result

    def _check(self) -> None:
        if self.gone or (self._connection.closed and not self._arrived):
            raise SocketClosed("connection reset")

    def _count(self, way: str) -> None:
        key = f"{way} {self.path}"
        self._network.messages[key] = self._network.messages.get(key, 0) + 1

    def break_(self) -> None:
        """The connection is gone; so is what was on its way to the bot."""
        self.gone = True
        self._arrived.clear()
        self._connection.close()

    def close(self) -> None:
        self.break_()


def _shown(text: str) -> str:
    event = json.loads(text).get("event", {})
    return " ".join(str(event.get(key)) for key in ("c", "x", "X", "z"))
