"""`gridbot pause`: let grids send nothing until `gridbot resume`. Their orders rest on."""

import argparse
import time
from contextlib import closing

from gridbase.errors import ExitCode, UserError

from gridbot.commands.arguments import add_config, add_reason, add_symbol, chosen
from gridbot.config.load import load_config
from gridbot.store import Store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    add_config(parser)
    add_symbol(parser)
    add_reason(parser)
    parser.add_argument(
        "--cancel",
        action="store_true",
        help="take back the open orders, too; they are placed again once the grid goes on",
    )


def run(args: argparse.Namespace) -> int:
    """Pause the grids; exit 1 where all were paused already. The bot may run meanwhile."""
    config = load_config(args.config)
    if not args.reason.isprintable():
        raise UserError("--reason needs one line of printable characters")
    new = []
    with closing(Store(config.state_directory, beside=True)) as store:
        for one in chosen(config, args.symbol):
            at_ms = time.time_ns() // 1_000_000
            new.append(store.pause(one.symbol, reason=args.reason, at_ms=at_ms, cancel=args.cancel))
            pause = store.open_pause(one.symbol)
            taken_back = pause is not None and pause.cancel
            orders = "are taken back" if taken_back else "stay, and may fill"
            said = "paused" if new[-1] else "was paused before"
            print(f"{one.symbol}: {said}; open orders {orders}")
    return ExitCode.OK if any(new) else ExitCode.DIFFERS
