"""`analytics optimize`: `gridbot optimize` on the latest days, whose trials a pool can share."""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from gridbase.errors import UserError
from gridbot.backtest.data import Candles, read_candles
from gridbot.backtest.options import integer
from gridbot.commands import optimize

from analytics.commands.pool_arguments import add_tls

DAY_MS = 86_400_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    optimize.add_arguments(parser)
    parser.add_argument("--days", metavar="N", help="only the latest N days (default: all)")
    parser.add_argument(
        "--scheduler", metavar="tls://HOST:PORT", help="of a pool (default: this machine alone)"
    )
    add_tls(parser, required=False)


def run(args: argparse.Namespace) -> int:
    """Print the best; see `gridbot.commands.optimize`."""
    read: Callable[[Path, Callable[[int], None]], Candles] = read_candles
    if args.days is not None:
        days = integer("--days", args.days, 1, 36_500)

        def read(path: Path, progress: Callable[[int], None]) -> Candles:
            return latest(read_candles(path, progress), days)

    if args.scheduler is None:
        return optimize.run(args, read=read)
    if args.tls is None:
        raise UserError("--scheduler needs --tls DIR: Dask runs whatever it is sent")
    from analytics.pool.membership import address, security
    from analytics.pool.spread import spread_over

    scheduler = address("--scheduler", args.scheduler)
    return optimize.run(args, spread_over(scheduler, security(args.tls)), read)


def latest(candles: Candles, days: int) -> Candles:
    """The latest days of some candles.

    Args:
        candles: the candles.
        days: how many, counted from the last candle's opening.
    """
    since = int(candles.times[-1]) - days * DAY_MS
    first = int(np.searchsorted(candles.times, since, side="right"))
    kept = candles.window(first, len(candles))
    kept.notes = candles.notes
    return kept
