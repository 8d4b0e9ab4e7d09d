"""The `analytics` command: reads arguments, hands over to one subcommand, reports errors."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from gridbase.command_line import EXIT_CODES, OneLineParser, run_command

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
        The exit status (see `EXIT_CODES`).
    """
    args = parse(list(sys.argv[1:] if argv is None else argv))
    command_module = importlib.import_module(args.module)
    return run_command(f"analytics {args.command}", lambda: command_module.run(args))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read arguments.

    Args:
        arguments: after the program's name.

    Raises:
        SystemExit: they are wrong; one line on standard error says how.
    """
    parser = OneLineParser(
        prog="analytics",
        description="Compare bots with backtests, and search on recorded prices.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((text for text in arguments if not text.startswith("-")), None)
    for name, module, summary in COMMANDS:
        described = summary[0].upper() + summary[1:] + "."
        command = commands.add_parser(name, help=summary, description=described)
        if name == chosen:
            command.set_defaults(module=module)
            importlib.import_module(module).add_arguments(command)
    return parser.parse_args(arguments)
