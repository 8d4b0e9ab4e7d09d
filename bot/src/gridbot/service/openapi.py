"""The OpenAPI document of `/api/v1`. `docs/openapi.json` is the same, for those who look there."""

import re
from dataclasses import dataclass, field
from typing import Any

from gridbot import __version__

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_WHOLE: Schema = {"type": "integer"}
_AMOUNT: Schema = {"type": "string", "description": "exact decimal", "examples": ["0.00017"]}
_MAYBE: Schema = {"type": ["string", "null"], "description": "exact decimal; null: not known"}
_TIME: Schema = {"type": "integer", "description": "Unix milliseconds"}
_FLAG: Schema = {"type": "boolean"}


def _object(extra: bool = False, **fields: Schema) -> Schema:
    return {
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": extra,
    }


def _list(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def _items(schema: Schema) -> Schema:
    following = {"type": ["integer", "null"], "description": "`offset` of the next rows"}
    return _object(items=_list(schema), total=_WHOLE, next_offset=following)


_ACTION: Schema = {"enum": ["pause", "resume", "close", "liquidate"]}
_PLAN = _object(symbol=_TEXT, possible=_FLAG, text=_TEXT, orders=_WHOLE, base=_MAYBE)
_SESSION = _object(name=_TEXT, scopes=_list({"enum": ["read", "act"]}), acting=_FLAG)
_SYMBOL: Schema = {
    "name": "symbol",
    "in": "query",
    "description": "of one grid; without it, the first",
    "schema": {"type": "string", "examples": ["BTC/USDT"]},
}
_PROPOSAL: Schema = {
    "type": "object",
    "properties": {
        "action": _ACTION,
        "symbol": {"type": ["string", "null"], "description": "of one grid; none: all"},
        "reason": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[ -~]+$"},
    },
    "required": ["action"],
    "additionalProperties": False,
}


def _number(name: str, least: int, most: int, text: str) -> Schema:
    schema = {"type": "integer", "minimum": least, "maximum": most}
    return {"name": name, "in": "query", "description": text, "schema": schema}


def _rows(most: int = 200) -> list[Schema]:
    return [
        _number("limit", 0, most, "rows at most; 50 without it"),
        _number("offset", 0, 10**6, "rows to leave out"),
    ]


_ORDER = _object(
    client_id=_TEXT,
    exchange_id={"type": ["integer", "string", "null"]},
    side={"enum": ["buy", "sell"]},
    line=_WHOLE,
    price=_AMOUNT,
    quantity=_AMOUNT,
    executed=_AMOUNT,
    state=_TEXT,
    refused={"type": ["string", "null"]},
    waits_for_price=_FLAG,
    distance_percent=_MAYBE,
)
_MAYBE_NEXT: Schema = {"type": ["string", "null"], "description": "null: no more follow"}
_AFTER: Schema = {
    "name": "after",
    "in": "query",
    "description": "`next` of the page before",
    "schema": {"type": "string", "pattern": "^(s[0-9]{1,18}|[0-9]{1,16}-.{1,80})$"},
}
_FILL = _object(
    time=_TIME,
    side={"enum": ["buy", "sell"]},
    role=_TEXT,
    price=_AMOUNT,
    quantity=_AMOUNT,
    fee=_AMOUNT,
    fee_currency=_TEXT,
    order=_TEXT,
    profit=_MAYBE,
    trade_id=_TEXT,
)
_DAY = _object(
    day=_TEXT, pairs=_WHOLE, grid_profit=_AMOUNT, fees=_AMOUNT, change=_AMOUNT, result=_AMOUNT
)
_EQUITY = _object(day=_TEXT, result=_AMOUNT, peak=_AMOUNT, drawdown=_AMOUNT)
_LINE = _object(at_ms=_TIME, level=_TEXT, text=_TEXT)
_AUDIT = _object(
    at_ms=_TIME,
    token=_TEXT,
    address=_TEXT,
    action=_ACTION,
    symbols=_list(_TEXT),
    reason=_TEXT,
    result=_TEXT,
)
_HEALTH = _object(ok=_FLAG, reasons=_list(_TEXT))
_MAYBE_NUMBER: Schema = {"type": ["number", "null"], "description": "null: not known here"}
_MACHINE = _object(
    temperature_celsius=_MAYBE_NUMBER,
    memory_used_mb=_MAYBE_NUMBER,
    memory_limit_mb=_MAYBE_NUMBER,
    load=_MAYBE_NUMBER,
    processors=_MAYBE_NUMBER,
    disk_free_mb=_MAYBE_NUMBER,
)
_SYSTEM = _object(
    version=_TEXT,
    bot_name=_TEXT,
    mode={"enum": ["paper", "live"]},
    exchange=_TEXT,
    state=_TEXT,
    health=_HEALTH,
    uptime_seconds=_WHOLE,
    machine=_MACHINE,
)
_BREAKER = _object(
    name=_TEXT,
    state={"enum": ["closed", "open", "half-open"]},
    failures=_WHOLE,
    opened_ms={"type": ["integer", "null"], "description": "Unix milliseconds; null: closed"},
    retry_in_seconds={"type": ["number", "null"], "description": "null: closed"},
)
_GRID = _object(symbol=_TEXT, state=_TEXT, price=_MAYBE, equity=_MAYBE) | {
    "additionalProperties": True,
    "description": "what /api/status has of a grid, less what has an address of its own",
}


@dataclass(frozen=True)
class _Route:
    """One address with one method: what it does, its parameters, its answer, its body."""

    method: str
    path: str
    summary: str
    answer: Schema | None
    parameters: list[Schema] = field(default_factory=list)
    body: Schema | None = None


_ROUTES = (
    _Route("get", "/openapi.json", "This document", {"type": "object"}),
    _Route("get", "/session", "Whose token or session this is", _SESSION),
    _Route("post", "/session", "Sign in: a cookie instead of the token", _SESSION),
    _Route("delete", "/session", "Sign out", None),
    _Route("get", "/system", "Health, build, state", _SYSTEM),
    _Route("get", "/system/circuit-breakers", "Circuit breakers", _object(items=_list(_BREAKER))),
    _Route("get", "/grids", "All grids", _object(items=_list(_GRID))),
    _Route(
        "get",
        "/orders",
        "Orders of a grid, with the price's way to each",
        _items(_ORDER),
        parameters=[_SYMBOL, *_rows()],
    ),
    _Route(
        "get",
        "/fills",
        "Trades of a grid, newest first; after those not settled, pair by pair",
        _object(items=_list(_FILL), next=_MAYBE_NEXT),
        parameters=[_SYMBOL, _number("limit", 1, 200, "rows at most; 50 without it"), _AFTER],
    ),
    _Route(
        "get",
        "/profit",
        "Profit by day (UTC), newest first",
        _items(_DAY),
        parameters=[_SYMBOL, *_rows()],
    ),
    _Route(
        "get",
        "/equity",
        "Result and drawdown by day, newest first",
        _items(_EQUITY),
        parameters=[_SYMBOL, *_rows()],
    ),
    _Route(
        "get",
        "/prices",
        "Prices, oldest first: fewer the older they are",
        _items(_object(at_ms=_TIME, price=_AMOUNT)),
        parameters=[_SYMBOL, _number("since_ms", 0, 2**53, "later than this"), *_rows(2000)],
    ),
    _Route(
        "get", "/log", "Latest lines of the log, newest first", _items(_LINE), parameters=_rows()
    ),
    _Route("get", "/audit", "Latest actions, newest first", _items(_AUDIT), parameters=_rows()),
    _Route(
        "get",
        "/events",
        "Changes of the page's document, as server-sent events",
        {"type": "string"},
    ),
    _Route(
        "post",
        "/proposals",
        "What an action would do",
        _object(action=_ACTION, confirmation=_TEXT, expires_seconds=_WHOLE, would=_list(_PLAN)),
        body=_PROPOSAL,
    ),
    _Route(
        "post",
        "/actions",
        "Do what was proposed, once",
        _object(action=_ACTION, done=_list(_PLAN)),
        body=_object(confirmation=_TEXT),
    ),
)
_PUBLIC = {"/openapi.json"}
_NOT_JSON = {"/events": "text/event-stream"}
_CREATED = {"/proposals": "201"}


def openapi() -> dict[str, Any]:
    """The document, as JSON has it."""
    paths: dict[str, dict[str, Any]] = {}
    for route in _ROUTES:
        paths.setdefault(route.path, {})[route.method] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Gridberry's bot",
            "version": "1",
            "description": f"gridbot {__version__}; docs/page.md says who can ask and act",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/api/v1"}],
        "security": [{"token": []}, {"session": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "gridberry_session"},
            },
            "schemas": {"Problem": _object(type=_TEXT, title=_TEXT, status=_WHOLE, detail=_TEXT)},
        },
    }


def _operation(route: _Route) -> dict[str, Any]:
    path, answer = route.path, route.answer
    good: dict[str, Any] = {"description": "as asked"}
    if answer is not None:
        kind = _NOT_JSON.get(path, "application/json")
        good["content"] = {kind: {"schema": answer}}
    problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
    refused = {"description": "not allowed", "content": {"application/problem+json": problem}}
    code = _CREATED.get(path, "200" if answer is not None else "204")
    told: dict[str, Any] = {
        "operationId": route.method + re.sub(r"\W", "_", path),
        "summary": route.summary,
        "parameters": route.parameters,
        "responses": {code: good, "4XX": refused, "503": refused},
    }
    if route.body is not None:
        content = {"application/json": {"schema": route.body}}
        told["requestBody"] = {"required": True, "content": content}
    if path in _PUBLIC or answer is None:
        told["security"] = []
    return told
