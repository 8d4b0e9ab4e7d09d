"""`gridbot report`: profit by day or month, fees, drawdown and time in range."""

import argparse
import json
from pathlib import Path

from gridbase.command_line import columns
from gridbase.errors import ExitCode, UserError
from gridbase.health import fetch
from gridbase.market import plain

from gridbot.accounting.profit_report import (
    By,
    Period,
    SymbolReport,
    document,
    make_report,
    share_text,
    total,
)
from gridbot.commands.arguments import add_json
from gridbot.commands.books_arguments import add_state, open_books, read_year
from gridbot.config.load import load_config
from gridbot.service.view import prices_text

_HEAD = ("", "pairs", "grid profit", "fills", "fees", "result")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    add_state(parser)
    parser.add_argument(
        "--year", default="all", metavar="YEAR", help='only this year (UTC; default: "all")'
    )
    parser.add_argument("--by", choices=[str(by) for by in By], default=str(By.DAY))
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help=".html (needs nothing), or .png (matplotlib)"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the report, and draw it."""
    year, by = read_year(args.year), By(args.by)
    draw = None
    if args.plot is not None:
        from gridbot.plot.renderer import renderer

        draw = renderer(args.plot)
    with open_books(args) as (store, symbols):
        reports = {symbol: make_report(store, symbol, by, year) for symbol in symbols}
    if draw is not None:
        from gridbot.accounting.profit_plot import report_figure

        draw(report_figure(reports))
    if args.json:
        parts = {symbol: document(report) for symbol, report in reports.items()}
        print(json.dumps({"by": args.by, "symbols": parts}))
    else:
        prices = {} if args.config is None else _prices(args.config)
        texts = [_text(symbol, report, prices.get(symbol)) for symbol, report in reports.items()]
        print("\n\n".join(texts))
    return ExitCode.OK


def _prices(config: Path) -> dict[str, str]:
    """Where each symbol's prices come from, as the running bot says; empty where none runs."""
    page = load_config(config).page
    try:
        status = json.loads(fetch(f"http://{page.host}:{page.port}/api/status")[1])
        mode = "real money" if status["mode"] == "live" else "paper"
        return {one["symbol"]: f"{mode}, {prices_text(status, one)}" for one in status["grids"]}
    except (OSError, UserError, ValueError, KeyError, TypeError):
        return {}


def _text(symbol: str, report: SymbolReport, prices: str | None) -> str:
    rows: list[tuple[str, ...]] = [_HEAD]
    rows += [_row(name, period) for name, period in report.periods.items()]
    rows.append(_row("total", total(report)))
    quote = report.market.quote
    heading = f"{symbol}, amounts in {quote}" + (f"; {prices}" if prices else "")
    return "\n".join([heading, columns(rows, right_from=0), *_facts(report)])


def _row(name: str, period: Period) -> tuple[str, ...]:
    return (
        name,
        str(period.pairs),
        f"{period.grid_profit:.2f}",
        str(period.fills),
        f"{period.fees:.2f}",
        f"{period.result:.2f}",
    )


def _facts(report: SymbolReport) -> list[str]:
    coins = [f"{plain(amount)} {coin}" for coin, amount in report.fees_by_coin.items()]
    facts = [f"fees: {', '.join(coins) or 'none'}"]
    if report.liquidation_profit:
        facts.append(f"liquidation profit: {plain(report.liquidation_profit)}")
    fall = report.drawdown
    if fall is not None:
        percent = 100 * float(share_text(fall.share))
        facts.append(
            f"drawdown: {fall.quote:.2f} ({percent:.2f} %), between trades' and hours' prices"
        )
    if report.watched_seconds:
        percent = 100 * report.in_range_seconds / report.watched_seconds
        hours = report.watched_seconds / 3600
        facts.append(f"in range: {percent:.1f} % of the {hours:.1f} hours watched")
    else:
        facts.append("in range: not known, no full hour was watched")
    return facts
