"""`gridbot audit`: compare the bot's own books with the exchange's, to the last digit."""

import argparse
import json
from dataclasses import asdict

from gridbot.audit import Report, audit
from gridbot.brokers import open_account
from gridbot.clock import SystemClock
from gridbot.commands.arguments import add_config, add_json, add_symbol, chosen
from gridbot.config import load_config
from gridbot.errors import ExitCode
from gridbot.store import Store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    add_config(parser)
    add_json(parser)
    add_symbol(parser)


def run(args: argparse.Namespace) -> int:
    """Print the result; exit 0 where everything is equal, 1 with a table of what differs."""
    config = load_config(args.config)
    clock = SystemClock()
    store = Store(config.state_directory, read_only=True)
    account = open_account(config, clock)
    reports = {}
    try:
        for one in chosen(config, args.symbol):
            broker = account.broker(one.symbol)
            broker.connect()
            reports[one.symbol] = audit(broker, store, clock, one.symbol)
    finally:
        account.close()
        store.close()
    equal = not any(report.differences for report in reports.values())
    if args.json:
        first = next(iter(reports.values()))
        grids = {symbol: asdict(report) for symbol, report in reports.items()}
        document = {"bot_name": config.bot_name, **asdict(first), "grids": grids, "equal": equal}
        print(json.dumps(document))
    else:
        for symbol, report in reports.items():
            print(f"{symbol}: " * (len(reports) > 1) + _table(report))
    return ExitCode.OK if equal else ExitCode.DIFFERS


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
