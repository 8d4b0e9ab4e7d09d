"""`gridbot flatten`: let the bot cancel its grids' orders, sell if told so, and stay off."""

import argparse
import time
from decimal import Decimal

from gridbase.errors import ExitCode, UserError
from gridbase.market import plain

from gridbot.commands.arguments import add_config, add_reason, add_symbol, chosen
from gridbot.config.load import AccountConfig, GridConfig, load_config
from gridbot.core.orders import OrderState
from gridbot.store import Store
from gridbot.trading.session import engine_of

REASON_CODE = "by_hand"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    add_config(parser)
    add_symbol(parser)
    add_reason(parser)
    parser.add_argument(
        "--sell", action="store_true", help="sell what the grids hold, at the price of the moment"
    )
    parser.add_argument(
        "--yes", action="store_true", help="do it; else only say what would be done"
    )


def run(args: argparse.Namespace) -> int:
    """Write the end down, for the bot to carry out; exit 1 where nothing was to be done, or told.

    As with a kill switch that has fired, no grid begins before `gridbot resume`.
    """
    config = load_config(args.config)
    if not args.reason.isprintable():
        raise UserError("--reason needs one line of printable characters")
    store = Store(config.state_directory, beside=True)
    try:
        done = [_flatten(config.account, one, store, args) for one in chosen(config, args.symbol)]
    finally:
        store.close()
    return ExitCode.OK if any(done) else ExitCode.DIFFERS


def _flatten(
    account: AccountConfig, config: GridConfig, store: Store, args: argparse.Namespace
) -> bool:
    """End one grid; whether that was written down now."""
    symbol, grid_run = config.symbol, store.grid_run(config.symbol)
    halt = store.open_halt(symbol)
    if halt is not None:
        print(f"{symbol}: nothing to do: it ends or has ended ({halt.text})")
        return False
    if grid_run is None or grid_run.closed_ms is not None:
        print(f"{symbol}: nothing to do: no grid runs")
        return False
    engine = engine_of(account, grid_run)
    store.restore(grid_run.id, engine)
    count = sum(order.state is OrderState.OPEN for order in engine.live.values())
    held = f"{plain(engine.books.base_held)} {config.base}"
    does = f"cancel {count} open orders and {'sell' if args.sell else 'keep'} {held}"
    if not args.yes:
        print(f"{symbol}: would {does}; add --yes to do it")
        return False
    store.halt(
        symbol,
        reason_code=REASON_CODE,
        text=f"flattened by hand: {args.reason}",
        price=Decimal(0),  # nobody has asked for one
        at_ms=time.time_ns() // 1_000_000,
        liquidate=args.sell,
    )
    print(f"{symbol}: the bot is told to {does}; no grid begins before gridbot resume")
    return True
