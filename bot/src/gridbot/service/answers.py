"""Answers of the page and the API: a status, a body, headers that let a browser do little."""

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from gridbot.service.documents import to_json

StartResponse = Callable[[str, list[tuple[str, str]]], object]
Headers = list[tuple[str, str]]

PLAIN_HEADERS = [("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")]
_PLAIN_POLICY = "default-src 'none'; frame-ancestors 'none'"
_LEAST_GZIP = 200  # bytes; below it, gzip's own are more than it saves
_PHRASES = {
    200: "OK",
    201: "Created",
    204: "No Content",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    415: "Unsupported Media Type",
    429: "Too Many Requests",
    503: "Service Unavailable",
}


@dataclass
class Answer:
    """An answer.

    Attributes:
        status: code and phrase.
        kind: of the body; empty for none.
        body: all of it.
        headers: beside those of every answer.
        policy: the content policy; empty: nothing is allowed.
    """

    status: str
    kind: str
    body: bytes
    headers: Headers = field(default_factory=list)
    policy: str = ""


def status_of(code: int) -> str:
    """Code and phrase."""
    return f"{code} {_PHRASES[code]}"


def document(content: Any, code: int = 200, headers: Headers | None = None) -> Answer:
    """A JSON document as an answer."""
    return Answer(status_of(code), "application/json", to_json(content), headers or [])


def problem(code: int, detail: str, headers: Headers | None = None) -> Answer:
    """Why there is nothing else to answer, as RFC 9457 has it."""
    content = {"type": "about:blank", "title": _PHRASES[code], "status": code, "detail": detail}
    return Answer(status_of(code), "application/problem+json", to_json(content), headers or [])


def send(answer: Answer, environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
    """Give an answer to WSGI."""
    headers = [*PLAIN_HEADERS, *answer.headers]
    headers.append(("Content-Security-Policy", answer.policy or _PLAIN_POLICY))
    body = answer.body
    if answer.kind:
        headers += [("Content-Type", f"{answer.kind}; charset=utf-8")]
        if "gzip" in environ.get("HTTP_ACCEPT_ENCODING", "") and len(body) > _LEAST_GZIP:
            body = _gzip(body)
            headers.append(("Content-Encoding", "gzip"))
        headers.append(("Content-Length", str(len(body))))
    start(answer.status, headers)
    return [b""] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def _gzip(body: bytes) -> bytes:
    squeeze = zlib.compressobj(6, wbits=31)  # 31: gzip's own head and tail
    return squeeze.compress(body) + squeeze.flush()
