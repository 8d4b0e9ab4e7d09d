"""The page, its JSON documents and `/health`: a small read-only WSGI application."""

import base64
import hashlib
import json
import re
import threading
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Protocol

from gridbase.metrics import PATH as METRICS_PATH
from gridbase.metrics import MetricsPage

from gridbot.service.deltas import changes
from gridbot.service.view import view

StartResponse = Callable[[str, list[tuple[str, str]]], object]
Headers = list[tuple[str, str]]

# States of a document from which a page that has seen one may be told the changes alone.
VERSIONS = 8
# Passes with every second: alone, it is nothing new.
_PASSING = ("uptime_seconds",)
_DOCUMENTS = ("/api/page", "/api/status", "/api/history", "/api/books")
_PLAIN_POLICY = "default-src 'none'; frame-ancestors 'none'"
_LEAST_GZIP = 200  # bytes; below it, gzip's own are more than it saves


class Reporter(Protocol):
    """What the page shows."""

    def status(self) -> dict[str, Any]:
        """Everything about the bot."""

    def health(self) -> dict[str, Any]:
        """Whether it is well, and if not, why."""

    def history(self) -> dict[str, Any]:
        """Latest prices, for a page that has just been opened."""

    def books(self) -> dict[str, Any]:
        """Days and ended grids."""


@dataclass
class _Answer:
    status: str
    kind: str
    body: bytes
    headers: Headers = field(default_factory=list)


class _Versions:
    """The latest states of one document, compressed, by their tags."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}
        self._lock = threading.Lock()  # the page has several threads

    def answer(self, document: dict[str, Any], seen: str, *, deltas: bool) -> _Answer:
        """All of a document, what is new in it, or that nothing is.

        Args:
            document: as of now.
            seen: tag of the state that the other side has; empty for none.
            deltas: whether it understands changes alone.
        """
        body = _json(document)
        lasting = {key: part for key, part in document.items() if key not in _PASSING}
        tag = f'W/"{hashlib.sha256(_json(lasting)).hexdigest()[:16]}"'
        headers = [("ETag", tag), ("Vary", "Accept-Encoding, A-IM")]
        with self._lock:
            before = self._kept.get(seen)
            if tag not in self._kept:
                self._kept[tag] = zlib.compress(body)
                for old in list(self._kept)[:-VERSIONS]:
                    del self._kept[old]
        if seen == tag:
            return _Answer("304 Not Modified", "", b"", headers)
        if before is None or not deltas:
            return _Answer("200 OK", "application/json", body, headers)
        new = changes(json.loads(zlib.decompress(before)), json.loads(body))
        return _Answer(
            "226 IM Used", "application/json", _json(new), [*headers, ("IM", "gridberry-changes")]
        )


class Page:
    """The WSGI application.

    Args:
        reporter: the bot; asked anew for every request.
        metrics: answers `/metrics`; None where nobody may ask.
    """

    def __init__(self, reporter: Reporter, metrics: MetricsPage | None = None) -> None:
        self._reporter = reporter
        self._metrics = metrics
        self._html = resources.files("gridbot.service").joinpath("page/index.html").read_bytes()
        self._policy = _content_policy(self._html.decode())
        self._versions = {path: _Versions() for path in _DOCUMENTS}

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        if environ["REQUEST_METHOD"] in {"GET", "HEAD"}:
            answer = self._answer(environ.get("PATH_INFO", ""), environ)
        else:
            answer = _Answer("405 Method Not Allowed", "text/plain", b"this page only shows\n")
            answer.headers.append(("Allow", "GET, HEAD"))
        headers = [
            ("Cache-Control", "no-store"),
            ("Content-Security-Policy", self._policy if "html" in answer.kind else _PLAIN_POLICY),
            ("X-Content-Type-Options", "nosniff"),
            *answer.headers,
        ]
        body = answer.body
        if answer.kind:
            headers += [("Content-Type", f"{answer.kind}; charset=utf-8")]
            if "gzip" in environ.get("HTTP_ACCEPT_ENCODING", "") and len(body) > _LEAST_GZIP:
                body = _gzip(body)
                headers.append(("Content-Encoding", "gzip"))
            headers.append(("Content-Length", str(len(body))))
        if "html" in answer.kind:
            headers += [("X-Frame-Options", "DENY"), ("Referrer-Policy", "no-referrer")]
        start_response(answer.status, headers)
        return [b""] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _answer(self, path: str, environ: dict[str, Any]) -> _Answer:
        if path == "/":
            return _Answer("200 OK", "text/html", self._html)
        if path in self._versions:
            document = self._document(path)
            seen = environ.get("HTTP_IF_NONE_MATCH", "")
            deltas = environ.get("HTTP_A_IM") == "gridberry-changes"
            return self._versions[path].answer(document, seen, deltas=deltas)
        if path == METRICS_PATH and self._metrics is not None:
            scraped = self._metrics.answer(environ)
            return _Answer(scraped.status, scraped.kind, scraped.body, list(scraped.headers))
        if path == "/health":
            health = self._reporter.health()
            status = "200 OK" if health["ok"] else "503 Service Unavailable"
            return _Answer(status, "application/json", _json(health))
        return _Answer("404 Not Found", "text/plain", b"not found\n")

    def _document(self, path: str) -> dict[str, Any]:
        if path == "/api/history":
            return self._reporter.history()
        if path == "/api/books":
            return self._reporter.books()
        status = self._reporter.status()
        return view(status, self._reporter.books()) if path == "/api/page" else status


def _gzip(body: bytes) -> bytes:
    squeeze = zlib.compressobj(6, wbits=31)  # 31: gzip's own head and tail
    return squeeze.compress(body) + squeeze.flush()


def _json(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode() + b"\n"


def _content_policy(html: str) -> str:
    """A policy that lets the page run its own script and style, by hash, and nothing else."""

    def hashes(tag: str) -> str:
        blocks = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digests = (hashlib.sha256(block.encode()).digest() for block in blocks)
        return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)

    return (
        f"default-src 'none'; script-src {hashes('script')}; style-src {hashes('style')}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
