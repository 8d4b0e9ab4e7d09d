"""The page, `/api/status`, `/api/history` and `/health`: a small read-only WSGI application."""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable
from importlib import resources
from typing import Any, Protocol

StartResponse = Callable[[str, list[tuple[str, str]]], object]


class Reporter(Protocol):
    """What the page shows."""

    def status(self) -> dict[str, Any]:
        """Everything about the bot."""

    def health(self) -> dict[str, Any]:
        """Whether it is well, and if not, why."""

    def history(self) -> dict[str, Any]:
        """Latest prices, for a page that has just been opened."""


class Page:
    """The WSGI application.

    Args:
        reporter: the bot; asked anew for every request.
    """

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._html = resources.files("gridbot.service").joinpath("page/index.html").read_bytes()
        self._policy = _content_policy(self._html.decode())

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            status, kind, body = "405 Method Not Allowed", "text/plain", b"this page only shows\n"
        else:
            status, kind, body = self._answer(environ.get("PATH_INFO", ""))
        headers = [
            ("Content-Type", f"{kind}; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("Content-Security-Policy", self._policy),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
            ("Referrer-Policy", "no-referrer"),
        ]
        if status.startswith("405"):
            headers.append(("Allow", "GET, HEAD"))
        start_response(status, headers)
        return [b""] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _answer(self, path: str) -> tuple[str, str, bytes]:
        if path == "/":
            return "200 OK", "text/html", self._html
        if path == "/api/status":
            return "200 OK", "application/json", _json(self._reporter.status())
        if path == "/api/history":
            return "200 OK", "application/json", _json(self._reporter.history())
        if path == "/health":
            health = self._reporter.health()
            status = "200 OK" if health["ok"] else "503 Service Unavailable"
            return status, "application/json", _json(health)
        return "404 Not Found", "text/plain", b"not found\n"


def _json(document: dict[str, Any]) -> bytes:
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
