"""The `analytics` command: reads arguments, hands over to one subcommand, reports errors."""

import argparse
import sys
from collections.abc import Sequence

from gridbase.command_line import add_commands, program_parser, run_chosen

# Name, module with `add_arguments(parser)` and `run(args) -> int`, one line of help.
COMMANDS = (
    ("compare", "analytics.commands.compare", "what a bot did beside a backtest, and why"),
    ("optimize", "analytics.commands.optimize", "search for the best grid, on a pool of machines"),
    ("nightly", "analytics.commands.nightly", "the jobs of a night: compare, report, optimize"),
    ("scheduler", "analytics.commands.scheduler", "hand out a pool's work until stopped"),
    ("worker", "analytics.commands.worker", "work for a pool until stopped"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    Args:
        argv: arguments after the program's name; None reads them from the process.

    Returns:
        The exit status (see `gridbase.command_line.EXIT_CODES`).
    """
    return run_chosen("analytics", parse(list(sys.argv[1:] if argv is None else argv)))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read arguments.

    Args:
        arguments: after the program's name.

    Raises:
        SystemExit: they are wrong; one line on standard error says how.
    """
    parser = program_parser(
        "analytics", "Compare bots with backtests, and search on recorded prices."
    )
    add_commands(parser, COMMANDS, arguments)
    return parser.parse_args(arguments)
