"""`gridbot tax`: lots, proceeds, cost basis, fees and holding periods as CSV."""

import argparse
import json
from pathlib import Path

from gridbase.errors import ExitCode, UserError
from gridbase.market import plain
from gridbase.tax_lots import Method

from gridbot.accounting.tax_report import TaxReport, document, write_report
from gridbot.commands.arguments import add_json
from gridbot.commands.books_arguments import add_state, open_books, read_year


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    add_state(parser)
    parser.add_argument(
        "--year", required=True, metavar="YEAR", help='of the sales (UTC), or "all": a file each'
    )
    parser.add_argument(
        "--method",
        choices=[str(method) for method in Method],
        required=True,
        help="which lots a sale takes first: oldest, newest, dearest",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.csv")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Write the report and print what it adds up to."""
    year = read_year(args.year)
    if args.out.suffix != ".csv":
        raise UserError(f"--out {args.out} needs a name that ends with .csv")
    method = Method(args.method)
    with open_books(args) as (store, symbols):
        report = write_report(store, symbols, year, method, args.out)
    if args.json:
        print(json.dumps(document(report, method)))
    else:
        print(_table(report))
    return ExitCode.OK


def _table(report: TaxReport) -> str:
    lines = []
    for part in report.symbols:
        quote = part.market.quote
        for year, sums in part.years.items():
            lines.append(
                f"{part.market.symbol} {year}: {sums.disposals} disposals, "
                f"proceeds {plain(sums.proceeds)}, cost basis {plain(sums.cost_basis)}, "
                f"fees {plain(sums.fees)}, gain {plain(sums.gain)} {quote} "
                f"(held for more than 365 days: {plain(sums.gain_long)})"
            )
        if not part.years:
            lines.append(f"{part.market.symbol}: no disposals")
        lines.append(
            f"{part.market.symbol} now: {part.open_lots} open lots, {plain(part.open_quantity)} "
            f"{part.market.base} that cost {plain(part.open_cost)} {quote}"
        )
    lines += [f"written: {path}" for path in report.files]
    return "\n".join(lines)
