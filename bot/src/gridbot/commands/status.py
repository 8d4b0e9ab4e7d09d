"""`gridbot status`: what a running bot reports."""

import argparse
import json

from gridbot.commands.arguments import add_json
from gridbot.commands.health import fetch
from gridbot.errors import ExitCode, UserError

DEFAULT_URL = "http://127.0.0.1:8080/api/status"
_ROWS = (
    ("state", "state"),
    ("mode", "mode"),
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
    ("up for (s)", "uptime_seconds"),
)


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
    except OSError as error:
        raise UserError(f"no bot answers at {args.url}: {error}", ExitCode.DIFFERS) from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{args.url} is not a bot's status: HTTP {status}") from error
    if args.json:
        print(body.decode(), end="")
    else:
        for label, key in _ROWS:
            value = document.get(key)
            print(f"{label:<18} {'-' if value is None else value}")
        for reason in document["health"]["reasons"]:
            print(f"{'not healthy':<18} {reason}")
    return ExitCode.OK if healthy else ExitCode.DIFFERS
