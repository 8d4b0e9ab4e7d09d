"""`gridbot close`: cancel the bot's open orders and end its grid. The coins stay."""

import argparse

from gridbot.clock import SystemClock
from gridbot.commands.arguments import add_config
from gridbot.commands.parts import open_broker, start_logging
from gridbot.config import load_config
from gridbot.errors import ExitCode
from gridbot.store import Store
from gridbot.trader import Trader

PATIENCE_SECONDS = 120.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Close the grid. The bot itself must be stopped: it would place its orders again."""
    config = load_config(args.config)
    start_logging(config.log_level)
    clock = SystemClock()
    broker = open_broker(config, clock)
    store = Store(config.state_directory)
    try:
        count = Trader(config, broker, store, clock).close_grid(PATIENCE_SECONDS)
    finally:
        store.close()
        broker.close()
    print(f"closed: {count} orders canceled; the coins stay on the account")
    return ExitCode.OK
