"""The page, its JSON documents, its stream and `/health`: a small WSGI application."""

import base64
import hashlib
import re
from collections.abc import Callable, Iterable
from functools import partial
from importlib import resources
from typing import Any, Protocol

from gridbase.http import Channel, EventStream
from gridbase.metrics import PATH as METRICS_PATH
from gridbase.metrics import MetricsPage

from gridbot.service.answers import PLAIN_HEADERS, Answer, StartResponse, document, send
from gridbot.service.documents import Versions, to_json
from gridbot.service.live import LivePage
from gridbot.service.machine import rows
from gridbot.service.view import view

# Pages that are told of changes as they come; another one asks every two seconds.
MOST_STREAMS = 200
_DOCUMENTS = ("/api/page", "/api/status", "/api/history", "/api/books")
API = "/api/v1/"


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

    def machine(self) -> dict[str, Any]:
        """Machine and container."""


class Below(Protocol):
    """What answers below an address."""

    def answer(self, environ: dict[str, Any]) -> Answer | EventStream:
        """Answer one request."""


class Page:
    """The WSGI application.

    Args:
        reporter: the bot; asked anew for every request.
        metrics: answers `/metrics`; None where nobody may ask.

    Attributes:
        api: what is below `/api/v1`; None: nothing.
        channel: of those who listen.
        sign_in: whether somebody can sign in.
        versions: of each document, by its address.
    """

    def __init__(self, reporter: Reporter, metrics: MetricsPage | None = None) -> None:
        self._reporter = reporter
        self._metrics = metrics
        self._html = resources.files("gridbot.service").joinpath("page/index.html").read_bytes()
        self._policy = _content_policy(self._html.decode())
        self.api: Below | None = None
        self.sign_in = False
        self.channel = Channel(MOST_STREAMS)
        self.versions = {path: Versions() for path in _DOCUMENTS}
        self.versions["/api/page"] = Versions(self.channel)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        answer = self._answer(environ.get("PATH_INFO", ""), environ)
        if isinstance(answer, EventStream):
            start_response("200 OK", [("Content-Type", "text/event-stream"), *PLAIN_HEADERS])
            return answer
        return send(answer, environ, start_response)

    def live(self, revision: Callable[[], object], monotonic: Callable[[], float]) -> LivePage:
        """What has changes sent to those who listen; it is not started yet.

        Args:
            revision: another one once the bot has something new to say.
            monotonic: seconds.
        """
        versions = self.versions["/api/page"]
        build = partial(self.document, "/api/page")
        return LivePage(self.channel, versions, build, revision, monotonic)

    def _answer(self, path: str, environ: dict[str, Any]) -> Answer | EventStream:
        if path.startswith(API) and self.api is not None:
            return self.api.answer(environ)
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            text = b"only below /api/v1 anything is changed\n"
            return Answer("405 Method Not Allowed", "text/plain", text, [("Allow", "GET, HEAD")])
        if path == "/":
            headers = [("X-Frame-Options", "DENY"), ("Referrer-Policy", "no-referrer")]
            return Answer("200 OK", "text/html", self._html, headers, self._policy)
        if path == "/api/stream" and environ["REQUEST_METHOD"] == "GET":
            return EventStream(self.channel, b"retry: 10000\n\n")
        return self._document_at(path, environ)

    def _document_at(self, path: str, environ: dict[str, Any]) -> Answer:
        if path in self.versions:
            return self._versioned(path, environ)
        if path == METRICS_PATH and self._metrics is not None:
            scraped = self._metrics.answer(environ)
            return Answer(scraped.status, scraped.kind, scraped.body, list(scraped.headers))
        if path == "/health":
            health = self._reporter.health()
            return document(health, 200 if health["ok"] else 503)
        return Answer("404 Not Found", "text/plain", b"not found\n")

    def _versioned(self, path: str, environ: dict[str, Any]) -> Answer:
        """All of a document, what is new in it, or that nothing is."""
        content, versions = self.document(path), self.versions[path]
        seen = environ.get("HTTP_IF_NONE_MATCH", "")
        deltas = environ.get("HTTP_A_IM") == "gridberry-changes"
        new = versions.since(seen, content) if deltas else None
        tag = versions.see(content)
        headers = [("ETag", tag), ("Vary", "Accept-Encoding, A-IM")]
        if seen == tag:
            return Answer("304 Not Modified", "", b"", headers)
        if new is None:
            return Answer("200 OK", "application/json", to_json(content), headers)
        headers.append(("IM", "gridberry-changes"))
        return Answer("226 IM Used", "application/json", to_json(new), headers)

    def document(self, path: str) -> dict[str, Any]:
        """What is at one of the addresses of documents."""
        if path == "/api/history":
            return self._reporter.history()
        if path == "/api/books":
            return self._reporter.books()
        status = self._reporter.status()
        if path == "/api/status":
            return status
        more = {"machine": rows(self._reporter.machine()), "sign_in": self.sign_in}
        return view(status, self._reporter.books()) | more


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
