"""The REST API as a WSGI application.

It can be served (see `server`) or called in the same process with a clock of one's own.
"""

import json
import sys
import traceback
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

from gridbase.metrics import CONTENT_TYPE
from gridbase.metrics import PATH as METRICS_PATH

from gridexchange.counters import OTHER
from gridexchange.errors import ApiError, mandatory, unknown_error
from gridexchange.exchange import Exchange
from gridexchange.faults.plan import PLAN, REST, Fate, Faults, FaultSettings, Plan, Severed
from gridexchange.limits import Limits
from gridexchange.protocol.endpoints import KEY_PATH, Endpoints
from gridexchange.protocol.requests import Credentials, Parameters
from gridexchange.protocol.routes import Request
from gridexchange.protocol.time_unit import wants_microseconds
from gridexchange.rest.metrics import exposition
from gridexchange.streams.registry import Streams

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

LARGEST_BODY = 65_536
MOST_CONNECTIONS = 32
HEALTH_PATH = "/gridberry/health"
COUNTERS_PATH = "/gridberry/counters"
STATUS_PATH = "/sapi/v1/system/status"
BASES = ("/api/v3/", "/api/v1/")

Headers = list[tuple[str, str]]


class Api:
    """The application.

    Args:
        exchange: what it speaks for.
        credentials: the account's key and secret.
        limits: weights and order counts allowed.
        market_label: value of the header X-Gridberry-Market.
        most_connections: how many may be open on `streams`.
        faults: what goes wrong on purpose; None for nothing.

    Attributes:
        streams: the exchange's WebSocket side.
        faults: what goes wrong on purpose.
        live: tells how following another exchange goes; None where none is followed.
    """

    live: Callable[[], object] | None = None

    def __init__(
        self,
        exchange: Exchange,
        credentials: Credentials,
        limits: Limits,
        market_label: str,
        *,
        most_connections: int = MOST_CONNECTIONS,
        faults: Faults | None = None,
    ) -> None:
        self.exchange = exchange
        self._endpoints = Endpoints(exchange, credentials, limits)
        self._label = market_label
        self.faults = faults or Faults(FaultSettings(), exchange.clock)
        self.streams = Streams(self._endpoints, self.faults, most_connections)
        self._own = {
            ("GET", HEALTH_PATH): self._health,
            ("GET", STATUS_PATH): self._status,
            ("GET", COUNTERS_PATH): self._counters,
        }

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer one request.

        Raises:
            Severed: its connection is to break; only where faults are on and `environ` has no plan.
        """
        if (environ["REQUEST_METHOD"], environ["PATH_INFO"]) == ("GET", METRICS_PATH):
            return self._metrics(start_response)
        headers: Headers = []
        status, answer = self._dispatch(environ, headers)
        body = json.dumps(answer, separators=(",", ":")).encode()
        headers += [
            ("Content-Type", "application/json;charset=UTF-8"),
            ("Content-Length", str(len(body))),
            ("X-Gridberry-Market", self._label),
        ]
        start_response(f"{status.value} {status.phrase}", headers)
        return [body]

    def _dispatch(self, environ: "WSGIEnvironment", headers: Headers) -> tuple[HTTPStatus, object]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        own = self._own.get((method, path))
        if own is not None:
            return own()
        rest = path if path == KEY_PATH else ""
        name = next((path.removeprefix(base) for base in BASES if path.startswith(base)), rest)
        known = self._endpoints.knows(method, name)
        self.exchange.counters.add(REST, f"{method} {name}" if known else OTHER)
        plan = environ.get(PLAN)
        if plan is not None:
            return self._ask(method, name, environ, headers, plan)
        with self.exchange.lock:
            plan = self.faults.plan(REST, method, name)
        self._wait(plan.late_s)
        if plan.fate in (Fate.LOSE_REQUEST, Fate.HANG_BEFORE):
            raise Severed(plan)
        answer = self._ask(method, name, environ, headers, plan)
        self._wait(plan.slow_s)
        if plan.fate is not Fate.ANSWER:
            raise Severed(plan)
        return answer

    def _wait(self, seconds: float) -> None:
        if seconds:
            self.exchange.clock.sleep(seconds)

    def _ask(
        self,
        method: str,
        name: str,
        environ: "WSGIEnvironment",
        headers: Headers,
        plan: Plan,
    ) -> tuple[HTTPStatus, object]:
        request = None
        try:
            request = Request(
                method,
                name,
                Parameters.of_form(environ.get("QUERY_STRING", ""), _body(environ)),
                environ.get("REMOTE_ADDR", ""),
                environ.get("HTTP_X_MBX_APIKEY"),
                self.exchange.clock.now_ms() + plan.skew_ms,
                plan=plan,
                microseconds=wants_microseconds(environ.get("HTTP_X_MBX_TIME_UNIT")),
            )
            return HTTPStatus.OK, self._endpoints.answer(request)
        except ApiError as error:
            refusal = error
        except Exception:  # noqa: BLE001  the client gets Binance's answer, the log gets the trace
            traceback.print_exc(file=sys.stderr)
            refusal = unknown_error()
        finally:
            if request is not None:
                for usage in request.usage:
                    headers.extend(usage.headers())
        headers.extend(refusal.headers)
        return refusal.status, refusal.described()

    def _metrics(self, start_response: "StartResponse") -> Iterable[bytes]:
        """No token: it is play money, and no amount is among them."""
        healthy = self._health()[0] is HTTPStatus.OK
        body = exposition(self._counted(), healthy=healthy)
        headers = [
            ("Content-Type", f"{CONTENT_TYPE}; charset=utf-8"),
            ("Content-Length", str(len(body))),
        ]
        start_response("200 OK", headers)
        return [body]

    def _counters(self) -> tuple[HTTPStatus, object]:
        return HTTPStatus.OK, self._counted()

    def _counted(self) -> dict[str, object]:
        answer = self.exchange.counters.answer()
        answer["open_connections"] = len(self.streams.open_connections())
        answer["faults"] = dict(sorted(self.faults.struck.items()))
        return answer

    def _status(self) -> tuple[HTTPStatus, object]:
        """Binance's system status: 1 while nobody is answered."""
        if self.faults.in_maintenance():
            return HTTPStatus.OK, {"status": 1, "msg": "system_maintenance"}
        return HTTPStatus.OK, {"status": 0, "msg": "normal"}

    def _health(self) -> tuple[HTTPStatus, object]:
        reasons = []
        try:
            self.exchange.advance()
        except ApiError:
            reasons.append(self.exchange.trouble)
        else:
            if self.exchange.trouble:
                reasons.append(self.exchange.trouble)
        status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
        answer = {"ok": not reasons, "reasons": reasons, "market": self._label}
        return status, answer if self.live is None else answer | {"live": self.live()}


def _body(environ: "WSGIEnvironment") -> str:
    try:
        length = int(environ.get("CONTENT_LENGTH") or 0)
    except ValueError as error:
        raise mandatory("Content-Length") from error
    if length > LARGEST_BODY:
        raise ApiError(
            -1101,
            "Too many parameters sent for this endpoint.",
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        )
    body: bytes = environ["wsgi.input"].read(length) if length else b""
    return body.decode("utf-8", "replace")
