"""The `gridbot` command: reads arguments, hands over to one subcommand, reports errors.

Subcommands are imported only when they are asked for: Docker runs `gridbot health` twice a
minute on a small machine, and it must not pay for importing the rest.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence
from types import ModuleType

from gridbase.command_line import EXIT_CODES, OneLineParser, run_command
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
        The exit status (see `EXIT_CODES`).
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = _parser(arguments).parse_args(arguments)
    if args.command == "version":
        print(f"gridbot {__version__}")
        return ExitCode.OK
    command = importlib.import_module(args.module)
    return run_command(f"gridbot {args.command}", lambda: command.run(args))


def _import(module: str, parser: argparse.ArgumentParser) -> ModuleType:
    """A subcommand; those that are for a computer are not part of the image for Pis."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        name = module.rpartition(".")[2]
        parser.error(f"{name} is not part of this image: run it where the checkout is")


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser, filled in only for the subcommand that `arguments` name."""
    parser = OneLineParser(
        prog="gridbot",
        description="A grid-trading bot for small machines.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"gridbot {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((text for text in arguments if not text.startswith("-")), None)
    for name, module, summary in COMMANDS:
        command = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog=EXIT_CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name == chosen:
            command.set_defaults(module=module)
            _import(module, parser).add_arguments(command)
    commands.add_parser("version", help="print the version")
    return parser
