"""`gridbot audit`: compare the bot's own books with the exchange's, to the last digit."""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal

from gridbase.clock import SystemClock
from gridbase.command_line import columns
from gridbase.errors import ExitCode, UserError
from gridbase.market import plain

from gridbot.accounting.acknowledge import check_amounts, read_amounts, read_reason
from gridbot.accounting.audit import Report, audit
from gridbot.commands.arguments import add_config, add_json, add_symbol, chosen
from gridbot.config.load import load_config
from gridbot.core.orders import number_or_text
from gridbot.exchanges.open_account import open_account
from gridbot.store import Store, acknowledged
from gridbot.store.acknowledged import Acknowledgement


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    add_config(parser)
    add_json(parser)
    add_symbol(parser)
    parser.add_argument(
        "--acknowledge",
        action="append",
        default=[],
        metavar="COIN=AMOUNT",
        help="write down that you have moved this much of a coin yourself, such as USDT=-500 for "
        "a withdrawal: balances then agree. Once for each coin",
    )
    parser.add_argument("--reason", metavar="TEXT", help="what happened, for --acknowledge")


def run(args: argparse.Namespace) -> int:
    """Print the result; exit 0 where everything is equal, 1 with a table of what differs."""
    config = load_config(args.config)
    amounts = read_amounts(args.acknowledge)
    reason = read_reason(args.reason, given=bool(amounts))
    clock = SystemClock()
    store = Store(config.state_directory, read_only=not amounts, beside=bool(amounts))
    account = open_account(config.account, clock, beside=True)
    symbols = [one.symbol for one in chosen(config, args.symbol)]

    def look() -> dict[str, Report]:
        reports = {}
        for symbol in symbols:
            broker = account.broker(symbol)
            broker.connect()
            broker.check_key()
            reports[symbol] = audit(broker, store, clock, symbol)
        return reports

    try:
        reports = look()
        if amounts:
            _acknowledge(store, reports, amounts, reason, clock.now_ms)
            reports = look()
    finally:
        account.close()
        store.close()
    equal = not any(report.differences for report in reports.values())
    if args.json:
        grids = {
            symbol: asdict(report) | {"trade": number_or_text(report.trade)}
            for symbol, report in reports.items()
        }
        first = next(iter(grids.values()))
        document = {"bot_name": config.account.bot_name, **first, "grids": grids, "equal": equal}
        print(json.dumps(document, default=plain))
    else:
        for symbol, report in reports.items():
            print(f"{symbol}: " * (len(reports) > 1) + _table(report))
    return ExitCode.OK if equal else ExitCode.DIFFERS


def _acknowledge(
    store: Store,
    reports: dict[str, Report],
    amounts: dict[str, Decimal],
    reason: str,
    now_ms: Callable[[], int],
) -> None:
    """Write down what the owner has moved, unless somebody has done so since the reports."""
    report = reports[check_amounts(reports, amounts)]
    written = [Acknowledgement(coin, amount, reason, now_ms()) for coin, amount in amounts.items()]
    with store.transaction() as connection:
        if acknowledged.of_grid(connection, report.grid_run) != report.acknowledged:
            raise UserError("another acknowledgement was written down meanwhile; run this again")
        acknowledged.add(connection, report.grid_run, written)


def _table(report: Report) -> str:
    compared = (
        f"{report.orders} orders, {report.trades} trades, balances of "
        f"{', '.join(report.balances)}, as of trade {report.trade}"
    )
    said = [
        f"acknowledged: {plain(one.amount)} {one.coin}, "
        f"{datetime.fromtimestamp(one.at_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC: {one.reason}"
        for one in report.acknowledged
    ]
    if not report.differences:
        return "\n".join([f"equal: {compared}", *said])
    rows = [("what", "books", "exchange")]
    rows += [(item.what, item.books, item.exchange) for item in report.differences]
    head = f"{len(report.differences)} differences in {compared}"
    return "\n".join([head, columns(rows), *said])
