"""Options that `gridbot backtest` and `gridbot optimize` share, and how they are read.

A mistake is one line that names the option, its value and what is allowed.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

from gridbase.errors import UserError
from gridbase.market import Market, coins_of, plain

from gridbot.core.grid import MAX_GRIDS, Fees, FeesIn, Spacing

FEE_RATES_BELOW = Decimal("0.5")
_SYMBOL = re.compile(r"[A-Za-z0-9]{1,20}/[A-Za-z0-9]{1,20}")
# So many decimals that the product of quantity, price and rate is still exact.
_AMOUNT = re.compile(r"[0-9]{1,20}(\.[0-9]{1,12})?")
# How the core's messages name what is an option here.
_SETTING = re.compile(r"\bgrid\.(lower|upper|grids|spacing|investment)\b")


def add_market_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say what is traded, where and for how much."""
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="FILE",
        help="candles: CSV, CSV.GZ, zip, Parquet; or a directory of what the recorder recorded",
    )
    parser.add_argument(
        "--investment", required=True, metavar="Q", help="what the grid may spend (quote)"
    )
    parser.add_argument(
        "--fee-rate", required=True, metavar="F", help="share of each trade, such as 0.001"
    )
    parser.add_argument(
        "--fee-in",
        default=FeesIn.RECEIVED,
        metavar="received|quote",
        help="fees are taken from the coin received, or always from quote (default: received)",
    )
    step = "0.00000001"
    parser.add_argument(
        "--tick", default=step, metavar="T", help=f"step of prices (default: {step})"
    )
    parser.add_argument(
        "--lot", default=step, metavar="S", help=f"step of quantities (default: {step})"
    )
    parser.add_argument(
        "--min-quantity", default="0", metavar="B", help="smallest order in base (default: 0)"
    )
    parser.add_argument(
        "--min-notional", default="0", metavar="Q", help="smallest order in quote (default: 0)"
    )
    parser.add_argument(
        "--symbol",
        default="base/quote",
        metavar="BASE/QUOTE",
        help="names of the coins, such as BTC/USDT; they change nothing but texts",
    )


def read_market(args: argparse.Namespace) -> Market:
    """The exchange's rules as the options give them.

    Raises:
        UserError: an option is not allowed.
    """
    if _SYMBOL.fullmatch(args.symbol) is None:
        raise UserError(f"--symbol = {shown(args.symbol)} needs two coins, such as BTC/USDT")
    base, quote = coins_of(args.symbol)
    if base == quote:
        raise UserError(f"--symbol = {args.symbol} needs two different coins")
    return Market(
        symbol=args.symbol,
        base=base,
        quote=quote,
        tick_size=amount("--tick", args.tick),
        lot_size=amount("--lot", args.lot),
        min_quantity=amount("--min-quantity", args.min_quantity, zero=True),
        min_notional=amount("--min-notional", args.min_notional, zero=True),
    )


def read_fees(args: argparse.Namespace) -> Fees:
    """What a trade costs, as the options give it.

    Raises:
        UserError: an option is not allowed.
    """
    rate = amount("--fee-rate", args.fee_rate, zero=True, below=FEE_RATES_BELOW)
    return Fees(rate, FeesIn(choice("--fee-in", args.fee_in, FeesIn)))


def amount(option: str, text: str, *, zero: bool = False, below: Decimal | None = None) -> Decimal:
    """An exact amount.

    Raises:
        UserError: `text` is none, or outside the bounds.
    """
    bounds = "0 or more" if zero else "above 0"
    if below is not None:
        bounds += f" and below {plain(below)}"
    value = Decimal(text) if _AMOUNT.fullmatch(text) else Decimal(-1)
    if value < 0 or (value == 0 and not zero) or (below is not None and value >= below):
        raise UserError(
            f"{option} = {shown(text)} needs an amount {bounds}, in plain digits, "
            "at most 12 of them after the point"
        )
    return value


def integer(option: str, text: str, low: int, high: int) -> int:
    """A whole number.

    Raises:
        UserError: `text` is none, or outside the bounds.
    """
    if re.fullmatch(r"[0-9]{1,12}", text) is None or not low <= int(text) <= high:
        raise UserError(f"{option} = {shown(text)} needs a whole number from {low} to {high}")
    return int(text)


def grids(option: str, text: str) -> int:
    """A number of grids.

    Raises:
        UserError: `text` is none.
    """
    return integer(option, text, 1, MAX_GRIDS)


def choice(option: str, text: str, choices: type[FeesIn | Spacing] | tuple[str, ...]) -> str:
    """One of some words.

    Raises:
        UserError: `text` is none of them.
    """
    words = [str(word) for word in choices]
    if text not in words:
        raise UserError(f"{option} = {shown(text)} needs {' or '.join(words)}")
    return text


def shown(text: str) -> str:
    """A value as its writer wrote it, in one line and not longer than fits."""
    text = text.replace("\n", "\\n") or '""'
    return text if len(text) <= 80 else text[:77] + "..."


def rename_settings(message: str) -> str:
    """A message of the core's, naming options (`--grids`) instead of settings (`grid.grids`)."""
    return _SETTING.sub(r"--\1", message)


@contextmanager
def named_as_options() -> Iterator[None]:
    """Within it, what the core refuses names options.

    Raises:
        UserError: the same, with the names changed.
    """
    try:
        yield
    except UserError as error:
        raise UserError(rename_settings(str(error)), error.exit_code) from error
