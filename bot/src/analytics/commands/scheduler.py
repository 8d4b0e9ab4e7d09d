"""`analytics scheduler`: hands out a pool's work until it is stopped."""

import argparse

from gridbase.errors import ExitCode

from analytics.commands.pool_arguments import add_tls


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    parser.add_argument("--listen", required=True, metavar="tls://ADDRESS:PORT", help="where")
    add_tls(parser)


def run(args: argparse.Namespace) -> int:
    """Run it; exit 3 where nobody can listen there."""
    from analytics.pool.membership import address, security
    from analytics.pool.serving import run_scheduler

    run_scheduler(address("--listen", args.listen), security(args.tls))
    return ExitCode.OK
