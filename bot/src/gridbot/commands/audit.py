"""`gridbot audit`: compare the bot's own books with the exchange's, to the last digit."""

import argparse
import json
from dataclasses import asdict

from gridbot.audit import Report, audit
from gridbot.clock import SystemClock
from gridbot.commands.arguments import add_config, add_json
from gridbot.commands.parts import open_broker
from gridbot.config import load_config
from gridbot.errors import ExitCode
from gridbot.store import Store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    add_config(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the result; exit 0 where everything is equal, 1 with a table of what differs."""
    config = load_config(args.config)
    clock = SystemClock()
    store = Store(config.state_directory, read_only=True)
    broker = open_broker(config, clock)
    try:
        broker.connect()
        report = audit(broker, store, clock, config.symbol)
    finally:
        broker.close()
        store.close()
    if args.json:
        equal = not report.differences
        print(json.dumps({"bot_name": config.bot_name, "equal": equal, **asdict(report)}))
    else:
        print(_table(report))
    return ExitCode.DIFFERS if report.differences else ExitCode.OK


def _table(report: Report) -> str:
    compared = (
        f"{report.orders} orders, {report.trades} trades, balances of "
        f"{', '.join(report.balances)}, as of trade {report.trade}"
    )
    if not report.differences:
        return f"equal: {compared}"
    rows = [("what", "books", "exchange")]
    rows += [(item.what, item.books, item.exchange) for item in report.differences]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([f"{len(report.differences)} differences in {compared}", *lines])
