"""`recorder status`: what a running recorder tells."""

import argparse
import json
import sys

from gridbase.errors import ExitCode
from gridbase.health import fetch

USUAL_URL = "http://127.0.0.1:8090/status"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    parser.add_argument("--url", default=USUAL_URL, help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="everything, as JSON")


def run(args: argparse.Namespace) -> int:
    """Print it; exit 1 where the recorder is not healthy or does not answer."""
    try:
        status, body = fetch(args.url)
        document = json.loads(body) if status == 200 else None
    except (OSError, ValueError) as error:
        print(f"no answer from {args.url}: {error}", file=sys.stderr)
        return ExitCode.DIFFERS
    if document is None:
        print(f"{args.url} answers HTTP {status}", file=sys.stderr)
        return ExitCode.DIFFERS
    if args.json:
        print(json.dumps(document, indent=1))
    else:
        for line in _lines(document):
            print(line)
    return ExitCode.OK if document["healthy"] else ExitCode.DIFFERS


def _lines(document: dict[str, object]) -> list[str]:
    lines = ["healthy" if document["healthy"] else f"NOT healthy: {document['reasons']}"]
    exchanges = document["exchanges"]
    if isinstance(exchanges, dict):
        lines += [
            f"{name}: {each['symbols']} symbols, {each['books']} books, queue {each['queue']},"
            f" dropped {each['dropped']}, lag {each['lag_ms']} ms"
            + (", missed trades known by time alone" * (each["trades_missed_known_by"] == "time"))
            + (f", silent: {', '.join(each['silent'])}" if each["silent"] else "")
            + (f", {each['trouble']}" if each["trouble"] else "")
            for name, each in exchanges.items()
        ]
    for name in (
        "messages_per_second",
        "rows_written",
        "files",
        "bytes",
        "bytes_per_row",
        "gaps_last_day",
        "gap_seconds_last_day",
        "memory_bytes",
        "disk_free_bytes",
        "disk_budget_bytes",
        "bytes_here",
        "bytes_uncopied",
        "uncopied_since",
    ):
        lines.append(f"{name.replace('_', ' ')}: {document[name]}")
    return lines
