"""`gridbot close`: cancel the bot's open orders and end its grids. The coins stay."""

import argparse
from contextlib import closing

from gridbase.clock import SystemClock
from gridbase.errors import ExitCode

from gridbot.commands.arguments import add_config, add_symbol, chosen
from gridbot.commands.logs import start_logging
from gridbot.config.load import GridConfig, load_config
from gridbot.exchanges.open_account import open_account
from gridbot.store import Store
from gridbot.trading.session import Session
from gridbot.trading.trader import Trader

PATIENCE_SECONDS = 120.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    add_config(parser)
    add_symbol(parser)


def run(args: argparse.Namespace) -> int:
    """Close the grids. The bot itself must be stopped: it would place its orders again."""
    config = load_config(args.config)
    start_logging(config)
    clock = SystemClock()
    count = 0
    with (
        closing(open_account(config.account, clock)) as account,
        closing(Store(config.state_directory)) as store,
    ):
        for one in _running(chosen(config, args.symbol), store):
            session = Session(config.account, one, account.broker(one.symbol), store, clock)
            count += Trader(session).close_grid(PATIENCE_SECONDS)
    print(f"closed: {count} orders canceled; the coins stay on the account")
    return ExitCode.OK


def _running(configs: tuple[GridConfig, ...], store: Store) -> tuple[GridConfig, ...]:
    """Those whose grid runs; where none does, all of them, so that it is said."""
    grids = {one.symbol: store.grid_run(one.symbol) for one in configs}
    running = {symbol for symbol, grid in grids.items() if grid and grid.closed_ms is None}
    return tuple(one for one in configs if one.symbol in running) or configs
