"""`analytics optimize`: `gridbot optimize`, whose trials a pool of machines can share."""

import argparse

from gridbase.errors import UserError
from gridbot.commands import optimize

from analytics.commands.pool_arguments import add_tls


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    optimize.add_arguments(parser)
    parser.add_argument(
        "--scheduler", metavar="tls://HOST:PORT", help="of a pool (default: this machine alone)"
    )
    add_tls(parser, required=False)


def run(args: argparse.Namespace) -> int:
    """Print the best; see `gridbot.commands.optimize`."""
    if args.scheduler is None:
        return optimize.run(args)
    if args.tls is None:
        raise UserError("--scheduler needs --tls DIR: Dask runs whatever it is sent")
    from analytics.pool.membership import address, security
    from analytics.pool.spread import spread_over

    scheduler = address("--scheduler", args.scheduler)
    return optimize.run(args, spread_over(scheduler, security(args.tls)))
