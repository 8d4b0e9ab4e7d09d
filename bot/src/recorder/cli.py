"""The `recorder` command: reads arguments, hands over to one subcommand, reports errors."""

import sys
from collections.abc import Sequence

from gridbase.command_line import EXIT_CODES, add_commands, program_parser, run_chosen

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
    parser = program_parser(
        "recorder", "Record market data into Parquet files whose gaps are known.", EPILOG
    )
    add_commands(parser, COMMANDS, arguments)
    return run_chosen("recorder", parser.parse_args(arguments))
