"""The command `python -m gridexchange.ib`: serve a practice Gateway."""

import argparse
import asyncio
import random
import re
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from gridbase.clock import SystemClock
from gridbase.command_line import program_parser, run_command
from gridbase.errors import UserError

ACCOUNT = r"[A-Z]{1,3}[0-9]{5,8}"


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until stopped.

    Args:
        argv: arguments after the program's name; None reads them from the process.

    Returns:
        The exit status (see `gridbase.command_line.EXIT_CODES`).
    """
    parser = program_parser(
        "gridexchange.ib", "Serve a practice Gateway: the API of IB Gateway, with play money."
    )
    add = parser.add_argument
    add("--state-directory", type=Path, metavar="DIR", required=True, help="where its books are")
    add("--host", default="127.0.0.1", metavar="ADDRESS", help="to listen on (127.0.0.1)")
    add("--port", type=int, default=4002, metavar="PORT", help="to listen on (4002); 0: any")
    add("--account", default="DU1234567", help="its name (DU1234567); DU...: a paper account")
    add("--cash", default="100000", metavar="AMOUNT", help="of a new account (100000)")
    add("--symbol", default="SPY", help="the stock that is traded (SPY)")
    add("--also", default="", metavar="LIST", help="stocks whose prices are told, such as QQQ,IWM")
    add("--snapshot-seconds", default="11", metavar="N", help="until a snapshot ends (11)")
    add("--candles", type=Path, metavar="FILE", help="recorded prices (none: made up)")
    add("--seed", type=int, default=7, metavar="N", help="of made-up prices (7)")
    add("--start-price", default="500", metavar="AMOUNT", help="where those begin (500)")
    add("--speed", default="1", metavar="N", help="market seconds in a second of open hours (1)")
    add("--read-only", action="store_true", help="take no orders")
    add("--fault-rate", default="0", metavar="SHARE", help="of calls that go wrong (0)")
    args = parser.parse_args(argv)
    return run_command("gridexchange.ib", lambda: _serve(args))


def _amount(name: str, text: str, least: str, most: str) -> Decimal:
    matches = re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,6})?", text)
    if not matches or not Decimal(least) <= Decimal(text) <= Decimal(most):
        raise UserError(f"--{name} {text}: needs a number from {least} to {most}")
    return Decimal(text)


def _serve(args: argparse.Namespace) -> int:
    from gridexchange.ib.account import AccountSettings
    from gridexchange.ib.faults import GatewayFaults
    from gridexchange.ib.gateway import GatewaySettings
    from gridexchange.ib.opening import MarketSettings, open_gateway
    from gridexchange.ib.records import Stock, followers
    from gridexchange.ib.server import serve

    if not re.fullmatch(ACCOUNT, args.account):
        raise UserError(f"--account {args.account}: needs a name such as DU1234567")
    if not re.fullmatch(r"[A-Z]{1,8}", args.symbol):
        raise UserError(f"--symbol {args.symbol}: needs 1 to 8 capitals, such as SPY")
    others = [name for name in args.also.split(",") if name]
    if not all(re.fullmatch(r"[A-Z]{1,8}", name) for name in others):
        raise UserError(f"--also {args.also}: needs names of 1 to 8 capitals, such as QQQ,IWM")
    if not 0 <= args.port <= 65535:
        raise UserError(f"--port {args.port}: needs a whole number from 0 to 65535")
    cash = _amount("cash", args.cash, "0", "1000000000")
    start = _amount("start-price", args.start_price, "1", "100000")
    speed = Fraction(_amount("speed", args.speed, "0.001", "100000"))
    rate = float(_amount("fault-rate", args.fault_rate, "0", "1"))
    snapshot = _amount("snapshot-seconds", args.snapshot_seconds, "0.001", "60")
    settings = GatewaySettings(
        AccountSettings(args.account, cash),
        Stock(symbol=args.symbol),
        args.read_only,
        followers(others),
        round(snapshot * 1000),
    )
    faults = GatewayFaults(rate, random.Random(args.seed))  # noqa: S311  faults, no secrets
    market = MarketSettings(args.candles, args.seed, start, speed)
    gateway = open_gateway(settings, market, args.state_directory, SystemClock(), faults)
    try:
        asyncio.run(serve(gateway, args.host, args.port))
    except OSError as error:
        raise UserError(f"--host {args.host} --port {args.port}: {error.strerror}") from error
    return 0
