"""The `gridbot` command: reads arguments, hands over to one subcommand, reports errors.

Subcommands are imported only when they are asked for: Docker runs `gridbot health` twice a
minute on a small machine, and it must not pay for importing the rest.
"""

import argparse
import sys
from collections.abc import Sequence

from gridbase.command_line import EXIT_CODES, add_commands, program_parser, run_chosen
from gridbase.errors import ExitCode

from gridbot import __version__

# Name, module with `add_arguments(parser)` and `run(args) -> int`, one line of help.
COMMANDS = (
    ("run", "gridbot.commands.run", "trade until stopped"),
    ("check", "gridbot.commands.check", "validate a configuration and print the plan"),
    ("audit", "gridbot.commands.audit", "compare the bot's books with the exchange's"),
    ("close", "gridbot.commands.close", "cancel the bot's open orders and end its grids"),
    ("pause", "gridbot.commands.pause", "send nothing until resume; open orders stay"),
    ("flatten", "gridbot.commands.flatten", "cancel open orders, sell if told, and stay off"),
    ("resume", "gridbot.commands.resume", "go on after a pause, or after a kill switch"),
    ("backup", "gridbot.commands.backup", "write a copy of the books beside a running bot"),
    ("restore", "gridbot.commands.restore", "put a copy in place of the books"),
    ("tax", "gridbot.commands.tax", "write lots, gains and holding periods of a year as CSV"),
    ("export", "gridbot.commands.export", "write every order and trade as CSV or Parquet"),
    ("report", "gridbot.commands.report", "profit by day or month, fees, drawdown, time in range"),
    ("status", "gridbot.commands.status", "print what a running bot reports"),
    ("tokens", "gridbot.commands.tokens", "create, list and revoke the tokens of the page"),
    ("health", "gridbase.health", "exit 0 when a running bot is healthy, else 1"),
    ("candles", "gridbot.commands.candles", "convert candle files or describe one"),
    ("backtest", "gridbot.commands.backtest", "what one grid would have done on a candle file"),
    ("optimize", "gridbot.commands.optimize", "search for the best grid on a candle file"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    Args:
        argv: arguments after the program's name; None reads them from the process.

    Returns:
        The exit status (see `gridbase.command_line.EXIT_CODES`).
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = program_parser("gridbot", "A grid-trading bot for small machines.")
    parser.add_argument("--version", action="version", version=f"gridbot {__version__}")
    raw = argparse.RawDescriptionHelpFormatter
    commands = add_commands(parser, COMMANDS, arguments, epilog=EXIT_CODES, formatter_class=raw)
    commands.add_parser("version", help="print the version")
    args = parser.parse_args(arguments)
    if args.command == "version":
        print(f"gridbot {__version__}")
        return ExitCode.OK
    return run_chosen("gridbot", args)
