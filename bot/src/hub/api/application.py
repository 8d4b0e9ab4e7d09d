"""The ASGI application: who may ask, what is answered, and the page."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import Any

from gridbase.errors import UserError
from gridbase.tokens import READ, TokenFile
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from hub.api import openapi
from hub.api.endpoints import ENDPOINTS, Endpoint, Hub
from hub.api.parameters import ParameterError, Parameters
from hub.database import AWAY, REFUSED, in_one_line

COOKIE = "gridberry_hub"
MOST_CLIENTS = 200
_MOST_BODY = 4096
_PLAIN_POLICY = "default-src 'none'; frame-ancestors 'none'"


def application(make_hub: Callable[[], Any], tokens_file: Path | None) -> Starlette:
    """The application.

    Args:
        make_hub: an asynchronous context manager that gives the `Hub`.
        tokens_file: who may read; None: everybody who reaches it.
    """
    site = _Site(None if tokens_file is None else TokenFile(tokens_file))

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with make_hub() as hub:
            app.state.hub = hub
            app.state.watching = task = asyncio.create_task(hub.fleet.run())
            task.add_done_callback(_tell)
            try:
                yield
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    routes = [
        Route("/", site.page),
        Route("/health", site.health),
        Route("/api/v1/openapi.json", site.openapi),
        Route("/api/v1/live", site.live),
        Route("/api/v1/session", site.session, methods=["POST", "DELETE"]),
        *(Route(path, site.endpoint(one)) for path, one in ENDPOINTS.items()),
    ]
    app = Starlette(routes=routes, lifespan=lifespan)
    # A page of 1000 trades takes a seventh of level 9's time, and becomes a seventh larger.
    app.add_middleware(GZipMiddleware, minimum_size=500, compresslevel=3)
    return app


def _tell(task: asyncio.Task[None]) -> None:
    """Say in the log why a task has ended that ends never."""
    if not task.cancelled() and (error := task.exception()) is not None:
        traceback.print_exception(error)


class _Site:
    def __init__(self, tokens: TokenFile | None) -> None:
        self._tokens = tokens
        self._clients = 0
        html = resources.files("hub").joinpath("page/index.html").read_bytes()
        self._html, self._policy = html, _content_policy(html.decode())
        self._openapi = openapi.document(ENDPOINTS)

    async def page(self, _: Request) -> Response:
        """The page; what it shows it asks for, with the token."""
        headers = {
            "Content-Security-Policy": self._policy,
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
        }
        return Response(self._html, media_type="text/html", headers=_headers(**headers))

    async def health(self, request: Request) -> Response:
        """Whether this program works; the database's absence is not its fault."""
        if request.app.state.watching.done():
            return _json({"ok": False, "reasons": ["nobody looks at the bots; see the log"]}, 503)
        hub: Hub = request.app.state.hub
        return _json({"ok": True, "reasons": [hub.fleet.problem] if hub.fleet.problem else []})

    async def openapi(self, request: Request) -> Response:
        """What there is."""
        return _tagged(request, self._openapi)

    def endpoint(self, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        """Answers one path."""

        async def answer(request: Request) -> Response:
            refused = self._refused(request)
            if refused is not None:
                return refused
            try:
                parameters = Parameters(request.query_params, endpoint.parameters)
                document = await endpoint.answer(request.app.state.hub, parameters)
            except ParameterError as error:
                return _error(400, str(error))
            except UserError as error:
                return _error(503, str(error))
            except (*AWAY, *REFUSED) as error:
                return _error(503, in_one_line(error))
            return _tagged(request, document)

        return answer

    async def live(self, request: Request) -> Response:
        """A stream of what changes."""
        refused = self._refused(request)
        if refused is not None:
            return refused
        if self._clients >= MOST_CLIENTS:
            return _error(503, f"{MOST_CLIENTS} clients listen already")
        hub: Hub = request.app.state.hub

        async def stream() -> AsyncIterator[str]:
            self._clients += 1
            try:
                async for message in hub.fleet.messages():
                    yield message
            finally:
                self._clients -= 1

        headers = _headers(**{"Content-Encoding": "identity"})
        return StreamingResponse(stream(), media_type="text/event-stream", headers=headers)

    async def session(self, request: Request) -> Response:
        """Keep a token in a cookie that no script can read, or forget it."""
        if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            return _error(403, "this answers the hub's own page alone")
        answer = Response(status_code=204, headers=_headers())
        if request.method == "DELETE":
            answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
            return answer
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > _MOST_BODY:
                return _error(413, f"at most {_MOST_BODY} bytes")
        try:
            secret = json.loads(body)["token"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return _error(400, "needs a JSON object with `token`")
        if not isinstance(secret, str) or not self._allowed(secret):
            return _error(401, "the token is wrong, or was revoked")
        https = request.url.scheme == "https"  # uvicorn has it from a proxy that is trusted
        answer.set_cookie(
            COOKIE, secret, max_age=365 * 86_400, httponly=True, samesite="strict", secure=https
        )
        return answer

    def _refused(self, request: Request) -> Response | None:
        """The answer to who may not read; None to who may."""
        if self._tokens is None:
            return None
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            secret = request.cookies.get(COOKIE, "")
        try:
            if secret and self._allowed(secret.strip()):
                return None
        except UserError as error:
            return _error(503, str(error))
        answer = _error(401, "needs a token of the scope `read`: hub tokens create")
        answer.headers["WWW-Authenticate"] = "Bearer"
        return answer

    def _allowed(self, secret: str) -> bool:
        if self._tokens is None:
            return True
        token = self._tokens.find(secret)
        return token is not None and token.allows(READ)


def _headers(**more: str) -> dict[str, str]:
    return {
        "Cache-Control": "no-store",
        "Content-Security-Policy": _PLAIN_POLICY,
        "X-Content-Type-Options": "nosniff",
        **more,
    }


def _json(document: Any, status: int = 200) -> JSONResponse:
    return JSONResponse(document, status, headers=_headers())


def _error(status: int, text: str) -> JSONResponse:
    return _json({"error": text}, status)


def _tagged(request: Request, document: Any) -> Response:
    """A document with its tag; nothing where the client has it already."""
    body = json.dumps(document, separators=(",", ":")).encode()
    tag = f'W/"{hashlib.sha256(body).hexdigest()[:16]}"'
    headers = _headers(ETag=tag)
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


def _content_policy(html: str) -> str:
    """A policy that allows the page's own script and style by their hashes, and nothing else."""

    def hashes(tag: str) -> str:
        parts = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        return " ".join(
            f"'sha256-{base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()}'"
            for part in parts
        )

    return (
        f"default-src 'none'; script-src {hashes('script')}; style-src {hashes('style')}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
