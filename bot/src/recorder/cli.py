"""The `recorder` command: reads arguments, hands over to one subcommand, reports errors."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from gridbase.command_line import EXIT_CODES, OneLineParser, run_command

# Name, module with `add_arguments(parser)` and `run(args) -> int`, one line of help.
COMMANDS = (
    ("run", "recorder.commands.run", "record until stopped"),
    ("status", "recorder.commands.status", "print what a running recorder tells"),
    ("health", "recorder.commands.health", "exit 0 when a running recorder is healthy, else 1"),
    ("gaps", "recorder.commands.gaps", "list what is missing; exit 1 where something is"),
    ("query", "recorder.commands.query", "SQL over what was recorded"),
    ("export", "recorder.commands.export", "write a day as Binance's public dumps have it"),
    ("sync", "recorder.commands.sync", "copy to S3 what has not been copied"),
    ("compact", "recorder.commands.compact", "make one file of each day that is over"),
)
EPILOG = EXIT_CODES + "  75 memory has grown too much: start a new process\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    Args:
        argv: arguments after the program's name; None reads them from the process.

    Returns:
        The exit status (see `EPILOG`).
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = OneLineParser(
        prog="recorder",
        description="Record market data into Parquet files whose gaps are known.",
        epilog=EPILOG,
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
    args = parser.parse_args(arguments)
    command_module = importlib.import_module(args.module)
    return run_command(f"recorder {args.command}", lambda: command_module.run(args))
