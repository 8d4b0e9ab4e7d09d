"""HTTP without a network: requests of a session are handed to a WSGI application."""

import io
import json
from collections.abc import Callable
from urllib.parse import urlsplit

import requests
import urllib3


def deliver(application: Callable, request, **more) -> requests.Response:
    """What a WSGI application answers to a prepared request.

    Args:
        application: gets it.
        request: as an adapter of requests gets it.
        more: further keys of the WSGI environment.
    """
    parts = urlsplit(request.url)
    body = request.body or b""
    body = body.encode() if isinstance(body, str) else body
    environ = {
        "REQUEST_METHOD": request.method,
        "PATH_INFO": parts.path,
        "QUERY_STRING": parts.query,
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "CONTENT_LENGTH": str(len(body)),
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_X_MBX_APIKEY": request.headers.get("X-MBX-APIKEY", ""),
        "wsgi.input": io.BytesIO(body),
        **more,
    }
    sent = {}

    def start_response(status, headers):
        sent["status"], sent["headers"] = status, headers

    content = b"".join(application(environ, start_response))
    return answer_of(sent["status"], content, dict(sent["headers"]))


def answer_of(status: str, content: bytes, headers: dict[str, str] | None = None):
    """An answer with a status line such as `200 OK`."""
    answer = requests.Response()
    answer.status_code, answer.reason = int(status.split(maxsplit=1)[0]), status.partition(" ")[2]
    answer.headers.update({"Content-Type": "application/json"} | (headers or {}))
    answer.raw = io.BytesIO(content)
    answer._content = content
    return answer


def refusal(status: int, code: int, message: str, **headers: str):
    """An error in the exchange's form."""
    content = json.dumps({"code": code, "msg": message}).encode()
    return answer_of(f"{status} Refused", content, headers)


def unreachable_error() -> requests.exceptions.ConnectionError:
    """What requests raises where nobody listens."""
    reason = urllib3.exceptions.NewConnectionError(None, "refused")
    reason.__cause__ = ConnectionRefusedError(111, "Connection refused")
    error = requests.exceptions.ConnectionError(urllib3.exceptions.MaxRetryError(None, "/", reason))
    error.__cause__ = reason
    return error
