"""The page, its JSON documents, its stream and `/health`: a small read-only WSGI application."""

import base64
import hashlib
import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from importlib import resources
from typing import Any, Protocol

from gridbase.http import Channel, EventStream
from gridbase.metrics import PATH as METRICS_PATH
from gridbase.metrics import MetricsPage

from gridbot.service.documents import Versions, to_json
from gridbot.service.live import LivePage
from gridbot.service.view import view

StartResponse = Callable[[str, list[tuple[str, str]]], object]
Headers = list[tuple[str, str]]

# Pages that are told of changes as they come; another one asks every two seconds.
MOST_STREAMS = 200
_DOCUMENTS = ("/api/page", "/api/status", "/api/history", "/api/books")
_PLAIN_POLICY = "default-src 'none'; frame-ancestors 'none'"
_PLAIN = [("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")]
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
        self.channel = Channel(MOST_STREAMS)
        self.versions = {path: Versions() for path in _DOCUMENTS}
        self.versions["/api/page"] = Versions(self.channel)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        if environ["REQUEST_METHOD"] == "GET" and environ.get("PATH_INFO") == "/api/stream":
            start_response("200 OK", [("Content-Type", "text/event-stream"), *_PLAIN])
            return EventStream(self.channel, b"retry: 10000\n\n")
        if environ["REQUEST_METHOD"] in {"GET", "HEAD"}:
            answer = self._answer(environ.get("PATH_INFO", ""), environ)
        else:
            answer = _Answer("405 Method Not Allowed", "text/plain", b"this page only shows\n")
            answer.headers.append(("Allow", "GET, HEAD"))
        headers = [*_PLAIN, *answer.headers]
        body = answer.body
        if answer.kind:
            headers += [("Content-Type", f"{answer.kind}; charset=utf-8")]
            if "gzip" in environ.get("HTTP_ACCEPT_ENCODING", "") and len(body) > _LEAST_GZIP:
                body = _gzip(body)
                headers.append(("Content-Encoding", "gzip"))
            headers.append(("Content-Length", str(len(body))))
        if "html" in answer.kind:
            headers += [("X-Frame-Options", "DENY"), ("Referrer-Policy", "no-referrer")]
            headers.append(("Content-Security-Policy", self._policy))
        else:
            headers.append(("Content-Security-Policy", _PLAIN_POLICY))
        start_response(answer.status, headers)
        return [b""] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def live(self, revision: Callable[[], object], monotonic: Callable[[], float]) -> LivePage:
        """What has changes sent to those who listen; it is not started yet.

        Args:
            revision: another one once the bot has something new to say.
            monotonic: seconds.
        """
        versions = self.versions["/api/page"]
        build = partial(self.document, "/api/page")
        return LivePage(self.channel, versions, build, revision, monotonic)

    def _answer(self, path: str, environ: dict[str, Any]) -> _Answer:
        if path == "/":
            return _Answer("200 OK", "text/html", self._html)
        if path in self.versions:
            return self._versioned(path, environ)
        if path == METRICS_PATH and self._metrics is not None:
            scraped = self._metrics.answer(environ)
            return _Answer(scraped.status, scraped.kind, scraped.body, list(scraped.headers))
        if path == "/health":
            health = self._reporter.health()
            status = "200 OK" if health["ok"] else "503 Service Unavailable"
            return _Answer(status, "application/json", to_json(health))
        return _Answer("404 Not Found", "text/plain", b"not found\n")

    def _versioned(self, path: str, environ: dict[str, Any]) -> _Answer:
        """All of a document, what is new in it, or that nothing is."""
        document, versions = self.document(path), self.versions[path]
        seen = environ.get("HTTP_IF_NONE_MATCH", "")
        deltas = environ.get("HTTP_A_IM") == "gridberry-changes"
        new = versions.since(seen, document) if deltas else None
        tag = versions.see(document)
        headers = [("ETag", tag), ("Vary", "Accept-Encoding, A-IM")]
        if seen == tag:
            return _Answer("304 Not Modified", "", b"", headers)
        if new is None:
            return _Answer("200 OK", "application/json", to_json(document), headers)
        headers.append(("IM", "gridberry-changes"))
        return _Answer("226 IM Used", "application/json", to_json(new), headers)

    def document(self, path: str) -> dict[str, Any]:
        """What is at one of the addresses of documents."""
        if path == "/api/history":
            return self._reporter.history()
        if path == "/api/books":
            return self._reporter.books()
        status = self._reporter.status()
        return view(status, self._reporter.books()) if path == "/api/page" else status


def _gzip(body: bytes) -> bytes:
    squeeze = zlib.compressobj(6, wbits=31)  # 31: gzip's own head and tail
    return squeeze.compress(body) + squeeze.flush()


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
