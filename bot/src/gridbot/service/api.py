"""`/api/v1`: what the bot says to those who have a token, and where they tell it something."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol
from urllib.parse import parse_qsl

from gridbase.errors import UserError
from gridbase.http import Channel, EventStream
from gridbase.market import plain
from gridbase.tokens import ACT, READ

from gridbot.accounting.grid_figures import distance_percent
from gridbot.accounting.trade_history import Place, place_of
from gridbot.service import answers
from gridbot.service.access import Access, Asker, RefusedError
from gridbot.service.acting import Acting
from gridbot.service.answers import Answer
from gridbot.service.audit_log import AuditLog
from gridbot.service.books_reader import Fills
from gridbot.service.log_lines import LogLines

ROOT = "/api/v1"
MOST_ROWS, ROWS = 200, 50
# Of a grid's document; the rest has addresses of its own.
_LONG = ("orders", "lines", "recent_fills")
# Of a day.
_PROFIT = ("day", "pairs", "grid_profit", "fees", "change", "result")
_EQUITY = ("day", "result", "peak", "drawdown")


class Reporter(Protocol):
    """What the API tells."""

    def status(self) -> dict[str, Any]:
        """Everything about the bot."""

    def history(self) -> dict[str, Any]:
        """Prices."""

    def books(self) -> dict[str, Any]:
        """Days and ended grids."""

    def machine(self) -> dict[str, Any]:
        """Machine and container."""

    def fills(self, symbol: str, count: int, after: Place | None) -> Fills:
        """A page of the trades of the latest grid, newest first, and where the next begins."""


@dataclass(frozen=True)
class Query:
    """What a request asks for.

    Attributes:
        asker: who; None where anybody can ask.
        words: of the address, after the question mark.
        content: of the body.
        environ: all of it.
    """

    asker: Asker | None
    words: dict[str, str]
    content: dict[str, Any]
    environ: dict[str, Any]


@dataclass(frozen=True)
class Route:
    """One address with one method.

    Attributes:
        method: of HTTP.
        path: below `/api/v1`.
        scope: that a token needs; empty: none is asked for.
        act: answers.
    """

    method: str
    path: str
    scope: str
    act: Callable[[Query], Answer | EventStream]


class Api:
    """The application below `/api/v1`.

    Args:
        reporter: the bot.
        access: who can do what.
        acting: does it.
        audit: what was done.
        log: latest lines.
        channel: of events.
    """

    def __init__(
        self,
        reporter: Reporter,
        access: Access,
        *,
        acting: Acting,
        audit: AuditLog,
        log: LogLines,
        channel: Channel,
    ) -> None:
        self._reporter, self._access, self._acting = reporter, access, acting
        self._audit, self._log, self._channel = audit, log, channel
        self.routes = (
            Route("GET", "/openapi.json", "", self._openapi),
            Route("GET", "/session", READ, self._session),
            Route("POST", "/session", READ, self._begin_session),
            Route("DELETE", "/session", "", self._end_session),
            Route("GET", "/system", READ, self._system),
            Route("GET", "/system/circuit-breakers", READ, self._breakers),
            Route("GET", "/grids", READ, self._grids),
            Route("GET", "/orders", READ, self._orders),
            Route("GET", "/fills", READ, self._fills),
            Route("GET", "/profit", READ, self._profit),
            Route("GET", "/equity", READ, self._equity),
            Route("GET", "/prices", READ, self._prices),
            Route("GET", "/log", READ, lambda query: _page(query, log.latest(MOST_ROWS))),
            Route("GET", "/audit", READ, lambda query: _page(query, audit.latest(MOST_ROWS))),
            Route("GET", "/events", READ, self._events),
            Route("POST", "/proposals", ACT, self._propose),
            Route("POST", "/actions", ACT, self._act),
        )

    def answer(self, environ: dict[str, Any]) -> Answer | EventStream:
        """Answer one request."""
        path = environ["PATH_INFO"].removeprefix(ROOT)
        method = environ["REQUEST_METHOD"]
        here = [one for one in self.routes if one.path == path]
        route = next((one for one in here if one.method in {method, _as_get(method)}), None)
        if not here:
            return answers.problem(404, f"{ROOT}/openapi.json has all addresses")
        if route is None:
            allowed = ", ".join(one.method for one in here)
            return answers.problem(405, f"allowed are {allowed}", [("Allow", allowed)])
        try:
            asker = self._access.ask(environ, route.scope) if route.scope else None
            words = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
            content = _content(environ) if method == "POST" else {}
            told = route.act(Query(asker, words, content, environ))
        except RefusedError as error:
            headers = [("WWW-Authenticate", "Bearer")] if error.code == 401 else []
            return answers.problem(error.code, error.detail, headers)
        except UserError as error:
            return answers.problem(503, str(error))
        return told if isinstance(told, EventStream) else _tagged(told, environ)

    # System.

    def _openapi(self, _: Query) -> Answer:
        from gridbot.service.openapi import openapi

        return answers.document(openapi())

    def _system(self, _: Query) -> Answer:
        status = self._reporter.status()
        names = ("version", "bot_name", "mode", "exchange", "state", "health", "uptime_seconds")
        told = {name: status[name] for name in names}
        return answers.document(told | {"machine": self._reporter.machine()})

    def _breakers(self, _: Query) -> Answer:
        status = self._reporter.status()
        circuit = status["connection"].get("circuit")
        breakers = [] if circuit is None else [{"name": status["exchange"], **circuit}]
        return answers.document({"items": breakers})

    def _events(self, _: Query) -> EventStream:
        return EventStream(self._channel, b"retry: 10000\n\n")

    # Sessions.

    def _session(self, query: Query) -> Answer:
        token = _asker(query).token
        told = {"name": token.name, "scopes": list(token.scopes), "acting": self._access.acting}
        return answers.document(told)

    def _begin_session(self, query: Query) -> Answer:
        cookie = self._access.begin_session(_asker(query))
        told = self._session(query)
        told.headers.append(("Set-Cookie", cookie))
        return told

    def _end_session(self, query: Query) -> Answer:
        cookie = self._access.end_session(query.environ)
        return Answer(answers.status_of(204), "", b"", [("Set-Cookie", cookie)])

    # Grids.

    def _grids(self, _: Query) -> Answer:
        grids = self._reporter.status()["grids"]
        short = [{key: one[key] for key in one if key not in _LONG} for one in grids]
        return answers.document({"items": short})

    def _grid(self, query: Query) -> dict[str, Any]:
        grids: list[dict[str, Any]] = self._reporter.status()["grids"]
        symbol = query.words.get("symbol", grids[0]["symbol"])
        for one in grids:
            if one["symbol"] == symbol:
                return one
        known = ", ".join(one["symbol"] for one in grids)
        raise RefusedError(400, f"symbol needs one of {known}")

    def _orders(self, query: Query) -> Answer:
        grid = self._grid(query)
        price = None if grid["price"] is None else Decimal(grid["price"])
        return _page(query, [_with_distance(one, price) for one in grid["orders"]])

    def _fills(self, query: Query) -> Answer:
        symbol = self._grid(query)["symbol"]
        count, text = _whole(query, "limit", ROWS, MOST_ROWS, 1), query.words.get("after")
        after = None if text is None else place_of(text)
        if text is not None and after is None:
            raise RefusedError(400, "after needs the text that next of the page before was")
        rows, following = self._reporter.fills(symbol, count, after)
        return answers.document({"items": rows, "next": following})

    def _books(self, query: Query) -> list[dict[str, Any]]:
        grid = self._reporter.books()["grids"].get(self._grid(query)["symbol"], {})
        days: list[dict[str, Any]] = grid.get("days", [])
        return days

    def _profit(self, query: Query) -> Answer:
        return _page(query, _columns(self._books(query), _PROFIT))

    def _equity(self, query: Query) -> Answer:
        return _page(query, _columns(self._books(query), _EQUITY))

    def _prices(self, query: Query) -> Answer:
        symbol, history = self._grid(query)["symbol"], self._reporter.history()
        since = _whole(query, "since_ms", 0, 2**53)
        recent = history["grids"].get(symbol, [])
        first = recent[0][0] if recent else 2**63
        every = [one for one in history["hours"].get(symbol, []) if one[0] < first]
        rows = [
            {"at_ms": at_ms, "price": price} for at_ms, price in [*every, *recent] if at_ms > since
        ]
        return _page(query, rows, most=2000)

    # Acting.

    def _propose(self, query: Query) -> Answer:
        return answers.document(self._acting.propose(_asker(query), query.content), 201)

    def _act(self, query: Query) -> Answer:
        return answers.document(self._acting.confirm(_asker(query), query.content))


def _columns(rows: list[dict[str, Any]], names: Iterable[str]) -> list[dict[str, Any]]:
    return [{name: row[name] for name in names} for row in rows]


def _as_get(method: str) -> str:
    return "GET" if method == "HEAD" else method


def _asker(query: Query) -> Asker:
    assert query.asker is not None  # noqa: S101 - its route has a scope
    return query.asker


def _with_distance(order: dict[str, Any], price: Decimal | None) -> dict[str, Any]:
    away = None if price is None else distance_percent(price, Decimal(order["price"]))
    return order | {"distance_percent": None if away is None else plain(away)}


def _content(environ: dict[str, Any]) -> dict[str, Any]:
    body = environ["wsgi.input"].read()
    if not body:
        return {}
    if environ.get("CONTENT_TYPE", "").partition(";")[0].strip() != "application/json":
        raise RefusedError(415, "Content-Type needs to be application/json")
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, "the body is not JSON") from error
    if not isinstance(content, dict):
        raise RefusedError(400, "the body needs to be a JSON object")
    return content


def _whole(query: Query, name: str, default: int, most: int, least: int = 0) -> int:
    text = query.words.get(name, str(default))
    if re.fullmatch(r"[0-9]{1,16}", text, re.ASCII) is None or not least <= int(text) <= most:
        raise RefusedError(400, f"{name} needs a whole number from {least} to {most}")
    return int(text)


def _page(query: Query, rows: list[dict[str, Any]], most: int = MOST_ROWS) -> Answer:
    """So many rows of a list, and where the next ones begin."""
    limit, offset = _whole(query, "limit", ROWS, most), _whole(query, "offset", 0, 10**6)
    end = offset + limit
    more = end if limit and end < len(rows) else None
    return answers.document({"items": rows[offset:end], "total": len(rows), "next_offset": more})


def _tagged(answer: Answer, environ: dict[str, Any]) -> Answer:
    """Nothing, where the other side has this answer already."""
    if environ["REQUEST_METHOD"] not in {"GET", "HEAD"} or not answer.body:
        return answer
    tag = f'W/"{hashlib.sha256(answer.body).hexdigest()[:16]}"'
    answer.headers += [("ETag", tag), ("Vary", "Accept-Encoding, Authorization, Cookie")]
    if environ.get("HTTP_IF_NONE_MATCH", "") == tag:
        return Answer("304 Not Modified", "", b"", answer.headers)
    return answer
