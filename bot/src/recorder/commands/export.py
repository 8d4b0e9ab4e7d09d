"""`recorder export`: recorded days in the format of Binance's public dumps."""

import argparse
from pathlib import Path

from gridbase.errors import UserError

from recorder.commands.arguments import add_directory, date, disk_told, open_catalog
from recorder.core.rows import Kind, Stream
from recorder.reading.dumps import export_day


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    add_directory(parser)
    parser.add_argument("--kind", choices=("trades", "candles"), required=True)
    parser.add_argument("--symbol", required=True, metavar="SYMBOL", help="such as BTCUSDT")
    parser.add_argument("--exchange", default="binance", help="default: %(default)s")
    parser.add_argument("--date", required=True, metavar="DAY", help="such as 2026-01-31, in UTC")
    parser.add_argument("--to", type=Path, default=Path(), metavar="DIR", help="default: here")


def run(args: argparse.Namespace) -> int:
    """Write the zip, and name the gaps of that day."""
    if not args.to.is_dir():
        raise UserError(f"--to {args.to}: is no directory")
    catalog = open_catalog(args.directory)
    stream = Stream(args.exchange, Kind(args.kind), args.symbol)
    day = date("--date", args.date)
    with disk_told("--to", args.to):
        written = export_day(catalog, stream, day, args.to)
    print(written)
    from recorder.files.layout import date_of

    missing = [
        gap for gap in catalog.gaps(stream) if date_of(gap.from_ms) <= day <= date_of(gap.to_ms)
    ]
    catalog.close()
    if missing:
        print(f"{len(missing)} gaps on that day: recorder gaps --symbol {args.symbol}")
    return 0
