"""`gridbot flatten`: let the bot cancel its grids' orders, sell if told so, and stay off."""

import argparse
import time
from contextlib import closing

from gridbase.errors import ExitCode, UserError

from gridbot.commands.arguments import add_config, add_reason, add_symbol, chosen
from gridbot.config.load import AccountConfig, GridConfig, load_config
from gridbot.service.by_hand import Action, carry_out, plan
from gridbot.store import Store


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
    with closing(Store(config.state_directory, beside=True)) as store:
        done = [_flatten(config.account, one, store, args) for one in chosen(config, args.symbol)]
    return ExitCode.OK if any(done) else ExitCode.DIFFERS


def _flatten(
    account: AccountConfig, config: GridConfig, store: Store, args: argparse.Namespace
) -> bool:
    """End one grid; whether that was written down now."""
    action = Action.LIQUIDATE if args.sell else Action.CLOSE
    if not args.yes:
        would = plan(store, account, config, action)
        told = f"would {would.text}; add --yes to do it" if would.possible else would.text
        print(f"{config.symbol}: {told}")
        return False
    at_ms = time.time_ns() // 1_000_000
    done = carry_out(store, account, config, action, reason=args.reason, at_ms=at_ms)
    told = done.text
    if done.possible:
        told = f"the bot is told to {told}; no grid begins before gridbot resume"
    print(f"{config.symbol}: {told}")
    return done.possible
