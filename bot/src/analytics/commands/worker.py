"""`analytics worker`: works for a pool until it is stopped."""

import argparse
import tempfile
from pathlib import Path

from gridbase.errors import ExitCode
from gridbot.backtest.options import integer
from gridbot.backtest.pool import usable_cores

from analytics.commands.pool_arguments import add_tls

MEGABYTE = 1_000_000
MOST_PROCESSES = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    parser.add_argument("--scheduler", required=True, metavar="tls://HOST:PORT", help="of the pool")
    add_tls(parser)
    parser.add_argument("--processes", metavar="N", help="(default: one for each core)")
    parser.add_argument(
        "--memory-mb", default="512", metavar="MB", help="most of each process (default: 512)"
    )
    parser.add_argument(
        "--port",
        default="0",
        metavar="N",
        help="listen at this port and the following ones, two for each process (default: any)",
    )


def run(args: argparse.Namespace) -> int:
    """Run it; exit 3 where the scheduler does not answer or is gone."""
    from analytics.pool.membership import address, security
    from analytics.pool.serving import run_workers

    processes = usable_cores()
    if args.processes is not None:
        processes = integer("--processes", args.processes, 1, MOST_PROCESSES)
    port = integer("--port", args.port, 0, 65_535 - 2 * MOST_PROCESSES)
    memory = integer("--memory-mb", args.memory_mb, 128, 1_000_000)
    scheduler, member = address("--scheduler", args.scheduler), security(args.tls)
    with tempfile.TemporaryDirectory(prefix="analytics-") as scratch:
        run_workers(
            scheduler,
            member,
            processes=processes,
            port=port,
            memory=memory * MEGABYTE,
            scratch=Path(scratch),
        )
    return ExitCode.OK
