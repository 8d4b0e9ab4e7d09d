"""Carries the bot's requests to the practice exchange, in one process, and loses them on the way.

Bot, ccxt and requests are real on one side and the exchange's WSGI application on the other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, parse_qsl, urlsplit

import requests
from gridexchange.faults.plan import NO_FAULT, PLAN, REST, Fate, Plan
from gridexchange.rest.application import Api

from bot.tests.together.in_process import answer_of, deliver, refusal, unreachable_error

from .boundaries import Boundaries
from .clocks import WorldTime
from .faults import Faults
from .kill_switch import price_in_answer

REQUEST_TIMEOUT_SECONDS = 10.0
LATENCY_SECONDS = 0.01
ADDRESS = "http://exchange.test"
_TELL_PRICES = {"ticker/price", "klines"}


@dataclass
class Wire(requests.adapters.BaseAdapter):
    """The network of one world.

    Attributes:
        application: the exchange.
        time: passes while a request is on its way.
        boundaries: told before a request leaves, once the exchange has acted, and after the answer.
        faults: what goes wrong.
        note: told of every request, for a trace.
        leaving: told the client order ID and the side of every order that is about to leave.
        heard: told of every price that an answer brings.
        accepted: called after each request that may have changed the exchange.
        latency: seconds that each way takes.
    """

    application: Api
    time: WorldTime
    boundaries: Boundaries
    faults: Faults
    note: Callable[[str], None]
    leaving: Callable[[str, str], None]
    heard: Callable[[str], None]
    accepted: Callable[[], None]
    latency: float = LATENCY_SECONDS
    down: str | None = None
    under_way: Callable[[], object] = lambda: None

    def send(self, request, **_options):
        path = urlsplit(request.url).path.removeprefix("/api/v3/")
        changing = request.method != "GET"
        self.under_way = lambda: self.deliver(request)
        if (request.method, path) == ("POST", "order"):
            order = {name.decode(): values[0].decode() for name, values in _body(request).items()}
            self.leaving(order["newClientOrderId"], order["side"])
        self.boundaries.cross("before request")
        if changing:
            # From here on it may arrive though the bot is dead.
            self.boundaries.cross("request under way")
        fault = self.down or self.faults.of_request(request.method, path)
        self.note(f"{request.method} {path}{f': {fault}' if fault else ''}")
        self.time.sleep(self.latency)
        answer = self._fail_before(fault) or self._carry_out(request, path, fault)
        self.time.sleep(self.latency)
        answer = self._fail_after(fault, answer)
        self._hear(path, request, answer)
        self.boundaries.cross("after answer")
        answer.request, answer.url = request, request.url
        return answer

    def _hear(self, path, request, answer):
        if answer.status_code == 200 and path in _TELL_PRICES:
            query = dict(parse_qsl(urlsplit(request.url).query))
            price = price_in_answer(path, query, answer.json())
            if price is not None:
                self.heard(price)

    def _carry_out(self, request, path, fault):
        if fault == "delay":
            self.time.sleep(self.faults.dice.uniform(0.5, 7.0))
        plan = self.application.faults.plan(REST, request.method, path)
        self._suffer_before(plan)
        answer = self.deliver(request, plan)
        self.boundaries.cross("exchange has acted")
        self._suffer_after(plan)
        return answer

    def _suffer_before(self, plan: Plan) -> None:
        """What the exchange wants to befall a request on its way."""
        self._wait(plan.late_s)
        if plan.fate is Fate.LOSE_REQUEST:
            raise requests.exceptions.ConnectionError("Connection aborted.")
        if plan.fate is Fate.HANG_BEFORE:
            self._wait(plan.hang_s)
            raise requests.exceptions.ConnectionError("Connection aborted.")

    def _suffer_after(self, plan: Plan) -> None:
        self._wait(plan.slow_s)
        if plan.fate is Fate.LOSE_ANSWER:
            raise requests.exceptions.ConnectionError("Connection aborted.")
        if plan.fate is Fate.HANG:
            self._wait(plan.hang_s)
            raise requests.exceptions.ConnectionError("Connection aborted.")

    def _wait(self, seconds: float) -> None:
        """Wait for the exchange; no longer than the bot has patience."""
        self.time.sleep(min(seconds, REQUEST_TIMEOUT_SECONDS))
        if seconds > REQUEST_TIMEOUT_SECONDS:
            raise requests.exceptions.ReadTimeout("Read timed out.")

    def deliver(self, request, plan: Plan = NO_FAULT):
        """Hand a request to the exchange."""
        answer = deliver(self.application, request, **{PLAN: plan})
        if request.method != "GET":
            self.accepted()
        return answer

    def _fail_before(self, fault):
        if fault == "unreachable":
            raise unreachable_error()
        if fault == "lost before":
            self.time.sleep(REQUEST_TIMEOUT_SECONDS)
            raise requests.exceptions.ReadTimeout("Read timed out.")
        if fault == "broken before":
            raise requests.exceptions.ConnectionError("Connection aborted.")
        if fault == "late arrival":
            self.time.after(self.faults.dice.uniform(0.1, 5.5), self.under_way)
            raise requests.exceptions.ConnectionError("Connection aborted.")
        return _REFUSALS[fault]() if fault in _REFUSALS else None

    def _fail_after(self, fault, answer):
        if fault == "lost after":
            self.time.sleep(REQUEST_TIMEOUT_SECONDS)
            raise requests.exceptions.ReadTimeout("Read timed out.")
        if fault == "broken after":
            raise requests.exceptions.ConnectionError("Connection aborted.")
        if fault == "page after":
            return _page()
        if fault == "-1007 after":
            return refusal(504, -1007, "Timeout waiting for response from backend server.")
        if fault == "half an answer":
            return answer_of("200 OK", b'{"orderId": 1}')
        return answer

    def close(self) -> None:
        pass


def _body(request):
    return parse_qs(request.body)


def _page():
    return answer_of("502 Bad Gateway", b"<html>bad gateway</html>", {"Content-Type": "text/html"})


_REFUSALS = {
    "5xx before": lambda: refusal(503, -1000, "An unknown error occurred."),
    "page before": _page,
    "maintenance": lambda: answer_of(
        "503 Service Unavailable", b"maintenance", {"Content-Type": "text/plain"}
    ),
    "429": lambda: refusal(429, -1003, "Too much request weight used.", **{"Retry-After": "5"}),
    "418": lambda: refusal(418, -1003, "Banned.", **{"Retry-After": "20"}),
    "-1021": lambda: refusal(
        400, -1021, "Timestamp for this request is outside of the recvWindow."
    ),
    "-1013": lambda: refusal(400, -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
    "-2011": lambda: refusal(400, -2011, "This action is disabled on this account."),
    "-2010": lambda: refusal(400, -2010, "Account has insufficient balance for requested action."),
}
