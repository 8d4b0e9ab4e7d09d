"""Binance's WebSocket API: requests and, on the same connection, what happens on the account.

See https://developers.binance.com/docs/binance-spot-api-docs/web-socket-api. A new connection
first asks for the exchange's time, then subscribes to the account's events; it is used from then
on.

A request is sent at most once. When its answer does not come, by whatever cause, nobody knows
whether it took effect: the connection is given up, and whoever asked is told so.
"""

import hashlib
import hmac
from collections.abc import Callable
from typing import Any

from gridbase.backoff import Backoff
from gridbase.clock import Clock
from gridbase.sockets.dialer import Dialer
from gridbase.sockets.link import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    Link,
)
from gridbase.sockets.socket import SocketClosed

from gridbot.exchanges.access.server_time import ServerTime
from gridbot.exchanges.port import BrokerError, Failure

PATH = "/ws-api/v3"
SUBSCRIBE = "userDataStream.subscribe.signature"
# An account on which nothing happens says nothing.
QUIET_SECONDS = 60.0
_ENDINGS = {"serverShutdown", "eventStreamTerminated"}

Json = dict[str, Any]


class Channel:
    """One account's connection.

    Args:
        url: of the exchange's WebSocket server, without a path.
        api_key: names the account.
        api_secret: signs requests.
        dialer: opens the connection.
        clock: time.
        server_time: the exchange's; kept right by this connection.
        timeout: longest wait for an answer (seconds).
        receive_window_ms: a request that arrives later is to be refused.
        on_report: gets each ``executionReport``; may raise as `Owner.received` does.
        on_gap: called when events may be missing.
        on_weight: gets the weight used in this minute, and its limit.
        refuse: makes the error of a refused request: status, code, text, seconds to wait.
        backoff: pauses between attempts to connect.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        api_secret: str,
        *,
        dialer: Dialer,
        clock: Clock,
        server_time: ServerTime,
        timeout: float,
        receive_window_ms: int,
        on_report: Callable[[Json], None],
        on_gap: Callable[[], None],
        on_weight: Callable[[int, int], None],
        refuse: Callable[[int, int | None, str, float | None], BrokerError],
        backoff: Backoff | None = None,
    ) -> None:
        self.url = url + PATH
        self._key = api_key
        self._secret = api_secret.encode()
        self._clock = clock
        self._time = server_time
        self._timeout = timeout
        self._window = receive_window_ms
        self._on_report = on_report
        self._on_gap = on_gap
        self._on_weight = on_weight
        self._refuse = refuse
        self.link = Link(
            "account stream",
            lambda: self.url,
            dialer,
            clock,
            self,
            timeout=timeout,
            quiet=QUIET_SECONDS,
            backoff=backoff or Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS),
        )
        self._number = 0
        self._handlers: dict[int, Callable[[Json], None]] = {}
        self._subscribed = False
        self._ready_by = float("inf")

    @property
    def up(self) -> bool:
        """Whether requests can be sent and events arrive."""
        return self._subscribed

    @property
    def coming_up(self) -> bool:
        """Whether it may be up in a moment."""
        return not self.up and (self.link.open or self.link.dialing)

    def pump(self) -> None:
        """Do what can be done without waiting."""
        self.link.pump()
        if self.link.open and not self.up and self._clock.monotonic() >= self._ready_by:
            self.link.cut("the exchange does not answer the subscription")
        if self.up and self._time.due:
            self.link.tell(self.ask_time)

    def ask(self, method: str, parameters: Json, *, signed: bool = True) -> Any:
        """Send a request and wait for its answer.

        Args:
            method: its name in the WebSocket API.
            parameters: of the method.
            signed: whether it bears key, time and signature.

        Raises:
            BrokerError: see `Failure`; AMBIGUOUS where no answer came.
        """
        answers: list[Json] = []
        try:
            document = self._signed(parameters) if signed else parameters
            number = self._send(method, document, answers.append)
        except SocketClosed as error:
            raise self._no_answer(f"the connection broke ({error})") from error
        deadline = self._clock.monotonic() + self._timeout
        while not answers:
            remaining = deadline - self._clock.monotonic()
            if remaining <= 0:
                self.link.cut(f"no answer to {method} within {self._timeout:g} s")
                raise self._no_answer(f"no answer within {self._timeout:g} s")
            self.link.receive(remaining)
            if not answers and number not in self._handlers:
                raise self._no_answer("the connection broke before the answer came")
        return self._result(answers[0])

    def ask_time(self) -> None:
        """Ask for the exchange's time; the answer sets it whenever it comes."""
        before = self._clock.monotonic()

        def take(answer: Json) -> None:
            self._time.sample(before, int(answer["result"]["serverTime"]))
            if not self.up:
                self._subscribe()

        self._time.asked()
        self._send("time", {}, take)

    # What the link calls.

    def opened(self) -> None:
        """Begin with the time: a subscription bears it."""
        self._ready_by = self._clock.monotonic() + self._timeout
        self.ask_time()

    def received(self, document: Json) -> None:
        """An answer goes to who asked, an event to the account."""
        if "id" in document:
            self._note_weight(document)
            # One without the number of a request is about a message that was not understood.
            self._handlers.pop(document["id"])(document)
            return
        event = document["event"]
        if event["e"] == "executionReport":
            self._on_report(event)
        elif event["e"] in _ENDINGS:
            self.link.cut(f"the exchange ends it ({event['e']})")

    def lost(self) -> None:
        """Answers and events that were under way are gone."""
        subscribed, self._subscribed = self._subscribed, False
        self._handlers.clear()
        if subscribed:
            self._on_gap()

    def probe(self) -> None:
        """The time is asked for: its answer is of use."""
        self.ask_time()

    # Requests.

    def _subscribe(self) -> None:
        def take(answer: Json) -> None:
            try:
                self._result(answer)
            except BrokerError as error:
                if error.failure is Failure.CLOCK:
                    self._time.forget()
                self.link.cut(f"the subscription is refused: {error}")
                return
            self._subscribed = True
            self.link.steady()
            self._on_gap()

        self._send(SUBSCRIBE, self._signed({}), take)

    def _send(self, method: str, parameters: Json, handler: Callable[[Json], None]) -> int:
        self._number += 1
        self._handlers[self._number] = handler
        self.link.send({"id": self._number, "method": method, "params": parameters})
        return self._number

    def _signed(self, parameters: Json) -> Json:
        """Parameters with key, time and signature."""
        signed = parameters | {
            "apiKey": self._key,
            "recvWindow": self._window,
            "timestamp": self._time.now_ms(),
        }
        return signed | {"signature": signature(signed, self._secret)}

    def _result(self, answer: Json) -> Any:
        status = answer.get("status")
        if status == 200 and "result" in answer:
            return answer["result"]
        error = answer.get("error")
        error = error if isinstance(error, dict) else {}
        code, said = error.get("code"), error.get("msg")
        raise self._refuse(
            status if isinstance(status, int) else 0,
            code if isinstance(code, int) else None,
            str(said or f"status {status}"),
            self._retry_after(error.get("data")),
        )

    def _retry_after(self, data: object) -> float | None:
        if not isinstance(data, dict):
            return None
        # The exchange's own time, where it says so: the clock of a Pi may have jumped.
        moment, now_ms = data.get("retryAfter"), data.get("serverTime", self._time.now_ms())
        if not isinstance(moment, int) or not isinstance(now_ms, int):
            return None
        return max(0.0, (moment - now_ms) / 1000)

    def _note_weight(self, document: Json) -> None:
        for row in document.get("rateLimits", ()):
            if (row["rateLimitType"], row["interval"]) == ("REQUEST_WEIGHT", "MINUTE"):
                self._on_weight(int(row["count"]), int(row["limit"]))

    def _no_answer(self, reason: str) -> BrokerError:
        return BrokerError(Failure.AMBIGUOUS, f"exchange {self.url}: {reason}")


def signature(parameters: Json, secret: bytes) -> str:
    """Signature of a request: HMAC-SHA-256 of its parameters, sorted by name, in hexadecimal."""
    payload = "&".join(f"{name}={parameters[name]}" for name in sorted(parameters))
    return hmac.new(secret, payload.encode(), hashlib.sha256).hexdigest()
