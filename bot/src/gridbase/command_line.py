"""What the command lines of all programs have in common."""

import argparse
import importlib
import sys
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any, NoReturn

from gridbase.errors import ExitCode, UserError

EXIT_CODES = """exit status:
  0  everything is as it should be
  1  the answer is no: books differ, bot unhealthy
  2  usage or configuration is wrong
  3  exchange unreachable, or it refused
  4  state: disk, database or its lock
"""


class OneLineParser(argparse.ArgumentParser):
    """A parser that reports a mistake in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """End with the line and status 2."""
        self.exit(ExitCode.USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


def program_parser(program: str, description: str, epilog: str = EXIT_CODES) -> OneLineParser:
    """A parser whose help ends with the exit statuses.

    Args:
        program: its name.
        description: of the program, in a sentence.
        epilog: the exit statuses.
    """
    return OneLineParser(
        prog=program,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_commands(
    parser: OneLineParser,
    table: Iterable[tuple[str, str, str]],
    arguments: Sequence[str],
    **each: Any,
) -> "argparse._SubParsersAction[OneLineParser]":
    """Add subcommands; only the one that `arguments` name is imported.

    Args:
        parser: of the program.
        table: of each its name, its module with `add_arguments(parser)` and `run(args) -> int`,
            and one line of help.
        arguments: after the program's name.
        each: arguments of each subcommand's parser.
    """
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((text for text in arguments if not text.startswith("-")), None)
    for name, module, summary in table:
        described = summary[0].upper() + summary[1:] + "."
        command = commands.add_parser(name, help=summary, description=described, **each)
        if name == chosen:
            command.set_defaults(module=module)
            _import(module, parser).add_arguments(command)
    return commands


def _import(module: str, parser: OneLineParser) -> ModuleType:
    """A subcommand; those that are for a computer are not part of the image for Pis."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        name = module.rpartition(".")[2]
        parser.error(f"{name} is not part of this image: run it where the checkout is")


def columns(rows: Sequence[Sequence[str]], right_from: int = sys.maxsize) -> str:
    """A table whose cells stand below each other.

    Args:
        rows: of as many cells each.
        right_from: the first column whose cells end, rather than begin, below each other.
    """
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if number >= right_from else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def run_chosen(program: str, args: argparse.Namespace) -> int:
    """Run the subcommand that `add_commands` found; returns the exit status."""
    module = importlib.import_module(args.module)
    return run_command(f"{program} {args.command}", lambda: module.run(args))


def run_command(name: str, run: Callable[[], int]) -> int:
    """Run a command to its end; an error of the user's is one line.

    Args:
        name: of the command, for that line.
        run: returns the exit status.

    Returns:
        The exit status (see `EXIT_CODES`).
    """
    try:
        return int(run())
    except UserError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (`head`) has gone; nothing is left to say to it.
        sys.stderr.close()
        return ExitCode.OK
