"""`gridbot status`: what a running bot reports."""

import argparse
import json
from typing import Any

from gridbase.errors import ExitCode, UserError
from gridbase.health import fetch

from gridbot.commands.arguments import add_json

DEFAULT_URL = "http://127.0.0.1:8080/api/status"
_BOT_ROWS = (("state", "state"), ("mode", "mode"), ("up for (s)", "uptime_seconds"))
_GRID_ROWS = (
    ("symbol", "symbol"),
    ("market", "market"),
    ("price", "price"),
    ("open orders", "open_orders"),
    ("buys", "buys"),
    ("sells", "sells"),
    ("grid profit", "grid_profit"),
    ("unrealised profit", "unrealised_profit"),
    ("equity", "equity"),
    ("fees", "fees"),
)
_IDLE_ROWS = _GRID_ROWS[:3]
# None where this way to an exchange has no such stream.
_STREAM = {True: "up", False: "not up: asked over REST", None: "none: asked over REST"}
_ENDED_ROWS = (
    ("latest grid ended", "reason"),
    ("equity then", "equity"),
    ("grid profit", "grid_profit"),
    ("base held", "base"),
)
_WIDTH = 18


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    parser.add_argument("--url", default=DEFAULT_URL, help="default: %(default)s")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the status; exit 1 where the bot is not healthy."""
    try:
        status, body = fetch(args.url)
        document = json.loads(body)
        healthy = bool(document["health"]["ok"])
        text = body.decode() if args.json else _text(document)
    except OSError as error:
        raise UserError(f"no bot answers at {args.url}: {error}", ExitCode.DIFFERS) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{args.url} is not a bot's status: HTTP {status}") from error
    print(text.rstrip("\n"))
    return ExitCode.OK if healthy else ExitCode.DIFFERS


def _text(document: dict[str, Any]) -> str:
    """The status for people: the bot, its connection, then each grid."""
    rows = [(label, document.get(key)) for label, key in _BOT_ROWS]
    rows += _connection(document.get("connection") or {})
    rows += [("not healthy", reason) for reason in document["health"]["reasons"]]
    grids = document["grids"]
    for grid in grids:
        if len(grids) > 1:
            rows.append(("", ""))
        rows += _grid(grid, several=len(grids) > 1)
    lines = [f"{label:<{_WIDTH}} {'-' if value is None else value}" for label, value in rows]
    return "\n".join(line.rstrip() for line in lines)


def _connection(connection: dict[str, Any]) -> list[tuple[str, Any]]:
    """How the exchange is heard and asked; a row only for what the account tells of."""
    rows: list[tuple[str, Any]] = []
    for label, key in (("account stream", "account_stream"), ("market stream", "market_stream")):
        if key in connection:
            rows.append((label, _STREAM[connection[key]]))
    circuit = connection.get("circuit")
    if circuit:
        text = circuit["state"]
        if circuit["failures"]:
            text += f", {circuit['failures']} failures in a row"
        if circuit["state"] == "open":
            text += f", next try in {circuit['retry_in_seconds']:.0f} s"
        rows.append(("circuit breaker", text))
    if "clock_ahead_ms" in connection:
        rows.append(("clock ahead (ms)", connection["clock_ahead_ms"]))
    if connection.get("weight_limit") is not None:
        used, limit = connection["weight_used"], connection["weight_limit"]
        rows.append(("request weight", f"{used} of {limit} in this minute"))
    return rows


def _grid(grid: dict[str, Any], *, several: bool) -> list[tuple[str, Any]]:
    ended = grid.get("closing")
    rows = [(label, grid.get(key)) for label, key in (_IDLE_ROWS if ended else _GRID_ROWS)]
    lines = grid["lines"]
    if lines:
        rows.insert(3, ("range", f"{lines[0]['price']} to {lines[-1]['price']}"))
    if several:
        rows.insert(1, ("grid's state", grid["state"]))
    if ended:
        rows += [(label, ended[key]) for label, key in _ENDED_ROWS]
    result = (ended or grid).get("liquidation_profit", "0")
    if result != "0":
        rows.append(("liquidation profit", result))
    if grid["state"] == "ending":
        rows.append(("now", grid["reason"]))
    if grid["paused"]:
        rows.append(("buys paused", grid["paused"]))
    if grid["halt"]:
        option = f" --symbol {grid['symbol']}" if several else ""
        rows.append(("kill switch", f"{grid['halt']['text']} ({grid['halt']['reason']})"))
        rows.append(("", f"off until: gridbot resume --config FILE{option}"))
    rows += [
        ("refused", f"{order['side']} at {order['price']}: {order['refused']}")
        for order in grid["orders"]
        if order["refused"]
    ]
    return rows + [("policy", policy) for policy in grid["policies"]]
