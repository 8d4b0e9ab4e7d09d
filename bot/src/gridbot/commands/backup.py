"""`gridbot backup`: write a copy of the books; the bot may run meanwhile."""

import argparse
from pathlib import Path

from gridbase.errors import ExitCode

from gridbot.commands.books_arguments import add_directory, directory_of
from gridbot.store import back_up


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    add_directory(parser)
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="the copy; it replaces an older one"
    )


def run(args: argparse.Namespace) -> int:
    """Write the copy, checked, with mode 0600."""
    back_up(directory_of(args), args.file)
    print(f"{args.file}: {args.file.stat().st_size} bytes, checked")
    return ExitCode.OK
