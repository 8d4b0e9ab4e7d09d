"""`gridbot resume`: clear a kill switch, so that the bot begins a new grid."""

import argparse
import time

from gridbot.commands.arguments import add_config, add_symbol, chosen
from gridbot.config import load_config
from gridbot.errors import ExitCode
from gridbot.store import Store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    add_config(parser)
    add_symbol(parser)


def run(args: argparse.Namespace) -> int:
    """Clear the switches; exit 1 where none has fired. The bot may run meanwhile."""
    config = load_config(args.config)
    store = Store(config.state_directory, beside=True)
    cleared = 0
    try:
        for one in chosen(config, args.symbol):
            halt = store.open_halt(one.symbol)
            if halt is None:
                print(f"{one.symbol}: no kill switch has fired")
                continue
            store.clear_halt(one.symbol, time.time_ns() // 1_000_000)
            cleared += 1
            print(f"{one.symbol}: cleared ({halt.text}); a new grid begins")
    finally:
        store.close()
    return ExitCode.OK if cleared else ExitCode.DIFFERS
