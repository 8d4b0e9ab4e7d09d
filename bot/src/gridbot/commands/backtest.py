"""`gridbot backtest`: what one grid would have done on recorded candles."""

import argparse
import json
from decimal import Decimal
from pathlib import Path

from gridbase.command_line import columns
from gridbase.errors import ExitCode, UserError
from gridbase.market import EXACT, Market, plain

from gridbot.backtest.data import Candles, read_candles
from gridbot.backtest.options import (
    add_market_options,
    amount,
    choice,
    grids,
    named_as_options,
    read_fees,
    read_market,
)
from gridbot.backtest.progress import Progress
from gridbot.backtest.result import Result
from gridbot.backtest.run import run_backtest
from gridbot.backtest.times import iso
from gridbot.commands.arguments import add_json
from gridbot.core.grid import GridSpec, Spacing, plan_warnings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    add_market_options(parser)
    parser.add_argument("--lower", required=True, metavar="L", help="price of the lowest line")
    parser.add_argument("--upper", required=True, metavar="U", help="price of the highest line")
    parser.add_argument("--grids", required=True, metavar="N", help="intervals; one line more")
    parser.add_argument(
        "--spacing",
        default=Spacing.ARITHMETIC,
        metavar="arithmetic|geometric",
        help="lines by equal steps or equal ratios (default: arithmetic)",
    )
    parser.add_argument("--fills", action="store_true", help="print every fill as well")
    parser.add_argument("--plot", type=Path, metavar="FILE.png|.html", help="draw it")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the result; exit 2 where an option or the file is wrong."""
    spec, market, fees = _spec(args), read_market(args), read_fees(args)
    draw = None
    if args.plot is not None:
        from gridbot.plot.renderer import renderer

        draw = renderer(args.plot)
    progress = Progress("candles read")
    candles = read_candles(args.data, progress)
    progress.finish()
    with named_as_options():
        result = run_backtest(candles, spec, market, fees)
    warnings = plan_warnings(result.plan, market, fees)
    if draw is not None:
        from gridbot.backtest.pictures import backtest_figure

        draw(backtest_figure(result, market))
    if args.json:
        document = result.document(fills=args.fills)
        document |= {"notes": list(candles.notes), "warnings": warnings}
        print(json.dumps(document))
    else:
        print(_text(result, spec, market, warnings))
        if args.fills:
            print(_fills(result))
        if args.plot is not None:
            print(f"{'plot':<18} {args.plot}")
    return ExitCode.OK


def _spec(args: argparse.Namespace) -> GridSpec:
    lower, upper = amount("--lower", args.lower), amount("--upper", args.upper)
    if lower >= upper:
        raise UserError(f"--lower = {plain(lower)} must be below --upper = {plain(upper)}")
    return GridSpec(
        lower=lower,
        upper=upper,
        grids=grids("--grids", args.grids),
        spacing=Spacing(choice("--spacing", args.spacing, Spacing)),
        investment=amount("--investment", args.investment),
    )


def _text(result: Result, spec: GridSpec, market: Market, warnings: list[str]) -> str:
    base, quote = market.base, market.quote
    plan, account, candles = result.plan, result.account, result.candles
    profit = EXACT.subtract(result.equity, plan.investment)
    lines = f"{len(plan.lines)}, {spec.spacing}, {plain(plan.lines[0])} to {plain(plan.lines[-1])}"
    unrealised = account.unrealised_profit(result.price)
    drawdown = f"{_percent(result.drawdown.share)} of its peak"
    rows = [
        ("candles", f"{len(candles):,}, {_span(candles)}"),
        *(("note", note) for note in candles.notes),
        ("start price", f"{plain(plan.start_price)} {quote}"),
        ("lines", lines),
        ("quantity", f"{plain(plan.quantity)} {base} each"),
        ("bought first", f"{plain(result.initial_base)} {base} for {_money(result.initial_cost)}"),
        ("fills", f"{account.buys:,} buys, {account.sells:,} sells ({account.sells:,} pairs)"),
        ("grid profit", f"{_money(account.grid_profit)} {quote}, after fees"),
        ("unrealised profit", f"{_money(unrealised)} {quote}"),
        ("fees", f"{_money(account.fees_in_quote)} {quote}"),
        ("held at the end", f"{plain(account.base)} {base}, {_money(account.quote)} {quote}"),
        ("equity at the end", f"{_money(result.equity)} {quote} at {plain(result.price)}"),
        ("profit", f"{_money(profit)} {quote}, {_percent(profit / plan.investment)}"),
        ("largest drawdown", f"{drawdown}; in money {_money(result.drawdown.quote)} {quote}"),
        *(("warning", text) for text in warnings),
        ("computed in", f"{result.seconds:.4f} s, without reading the file"),
    ]
    return "\n".join(f"{label:<18} {value}" for label, value in rows)


def _span(candles: Candles) -> str:
    first, last = int(candles.times[0]), int(candles.times[-1])
    return f"{iso(first)} to {iso(last)}"


def _money(value: Decimal) -> str:
    """For people: to a hundredth, or to what an amount that small shows."""
    places = Decimal("0.01") if abs(value) >= 1 or value == 0 else Decimal("0.00000001")
    return f"{value.quantize(places, context=EXACT):f}"


def _percent(share: Decimal) -> str:
    return f"{share * 100:.2f} %"


def _fills(result: Result) -> str:
    rows = [("time", "side", "price", "quantity", "fee", "")]
    rows += [
        (
            iso(fill.time_ms),
            str(fill.side),
            plain(fill.price),
            plain(fill.quantity),
            plain(fill.fee),
            fill.fee_coin,
        )
        for fill in result.fills()
    ]
    return columns(rows)
