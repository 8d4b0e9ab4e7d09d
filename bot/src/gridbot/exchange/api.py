"""The REST API as a WSGI application.

It can be served (see `server`) or called in the same process with a clock of one's own.
"""

import json
import sys
import traceback
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

from gridbot.exchange.endpoints import Endpoints, Request
from gridbot.exchange.errors import ApiError, mandatory, unknown_error
from gridbot.exchange.limits import Limits
from gridbot.exchange.requests import Credentials, Parameters
from gridbot.exchange.service import Exchange
from gridbot.exchange.stream_api import Streams

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

LARGEST_BODY = 65_536
MOST_CONNECTIONS = 32
HEALTH_PATH = "/gridberry/health"
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

    Attributes:
        streams: the exchange's WebSocket side.
    """

    def __init__(
        self,
        exchange: Exchange,
        credentials: Credentials,
        limits: Limits,
        market_label: str,
        *,
        most_connections: int = MOST_CONNECTIONS,
    ) -> None:
        self.exchange = exchange
        self._endpoints = Endpoints(exchange, credentials, limits)
        self._label = market_label
        self.streams = Streams(self._endpoints, most_connections)

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer one request."""
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
        if path == HEALTH_PATH and method == "GET":
            return self._health()
        return self._ask(method, path, environ, headers)

    def _ask(
        self, method: str, path: str, environ: "WSGIEnvironment", headers: Headers
    ) -> tuple[HTTPStatus, object]:
        name = next((path.removeprefix(base) for base in BASES if path.startswith(base)), "")
        request = None
        try:
            request = Request(
                method,
                name,
                Parameters.of_form(environ.get("QUERY_STRING", ""), _body(environ)),
                environ.get("REMOTE_ADDR", ""),
                environ.get("HTTP_X_MBX_APIKEY"),
                self.exchange.clock.now_ms(),
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
        return refusal.status, {"code": refusal.code, "msg": refusal.message}

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
        return status, {"ok": not reasons, "reasons": reasons, "market": self._label}


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
