"""`analytics compare`: what a bot did on a day beside what a backtest would have done, and why."""

import argparse
import json
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from gridbase.errors import ExitCode, UserError
from gridbot.backtest.options import read_fees
from gridbot.backtest.progress import Progress
from gridbot.commands.arguments import add_json
from gridbot.commands.books_arguments import add_state, open_books
from gridbot.config.load import load_config
from gridbot.core.grid import Fees, FeesIn
from gridbot.store import Store

from analytics.compare.books import Stretch
from analytics.compare.day import compare_symbol
from analytics.compare.prices import read_prices
from analytics.compare.report import Compared, document, text, unexplained

DAY_MS = 86_400_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    add_state(parser)
    prices = parser.add_mutually_exclusive_group(required=True)
    for name, what in (("--trades", "recorded trades"), ("--candles", "candles")):
        prices.add_argument(
            name,
            type=Path,
            nargs="+",
            metavar="PATH",
            help=f"{what} of one symbol: files in order of time, or a directory of the recorder",
        )
    prices.add_argument(
        "--recording", type=Path, metavar="DIR", help="the recorder's data directory: its trades"
    )
    parser.add_argument(
        "--exchange", default="binance", metavar="NAME", help="with --recording (default: binance)"
    )
    parser.add_argument("--date", metavar="YYYY-MM-DD", help="the day, UTC (default: yesterday)")
    parser.add_argument("--fee-rate", metavar="F", help="expected fees (default: the file's)")
    parser.add_argument("--fee-in", default=FeesIn.RECEIVED, metavar="received|quote")
    parser.add_argument("--fills", action="store_true", help="list every step")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the comparison; exit 1 where a step has no explanation."""
    day = _day(args.date)
    start_ms = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)
    stretch = Stretch(start_ms, start_ms + DAY_MS)
    with open_books(args) as (store, symbols):
        if args.recording is None and len(symbols) > 1:
            raise UserError(f"--symbol is missing: the books have {', '.join(symbols)}")
        compared = {}
        for symbol in symbols:
            progress = Progress("prices read")
            paths, fees = _paths(args, store, symbol), _fees(args, symbol)
            prices = read_prices(paths, stretch.from_ms, stretch.to_ms, progress)
            progress.finish()
            compared[symbol] = (prices, compare_symbol(store, symbol, prices, fees, stretch))
    _print(day.isoformat(), compared, args)
    return ExitCode.DIFFERS if unexplained(compared) else ExitCode.OK


def _print(name: str, compared: Compared, args: argparse.Namespace) -> None:
    if args.json:
        print(json.dumps(document(name, compared, fills=args.fills)))
    else:
        print(text(name, compared, fills=args.fills))


def _day(told: str | None) -> date:
    if told is None:
        return datetime.now(UTC).date() - timedelta(days=1)
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", told, re.ASCII):
            return date.fromisoformat(told)
    except ValueError:
        pass
    raise UserError(f"--date {told} needs a day such as 2026-01-31")


def _fees(args: argparse.Namespace, symbol: str) -> Fees:
    """What the options say, else what the bot's file says, else Binance's usual rate."""
    if args.fee_rate is not None:
        return read_fees(args)
    if args.config is not None:
        for grid in load_config(args.config).grids:
            if grid.symbol == symbol:
                return grid.fees
    return Fees(Decimal("0.001"), FeesIn.RECEIVED)


def _paths(args: argparse.Namespace, store: Store, symbol: str) -> Sequence[Path]:
    if args.recording is None:
        paths: Sequence[Path] = args.trades or args.candles
        return paths
    run = store.grid_run(symbol)
    name = symbol if run is None else run.market.exchange_symbol
    ready = args.recording / "ready"
    path = ready / f"exchange={args.exchange}" / "kind=trades" / f"symbol={name}"
    if not path.is_dir():
        raise UserError(
            f"--recording {args.recording}: no trades of {name} of {args.exchange} are in it",
            ExitCode.STATE,
        )
    return (path,)
