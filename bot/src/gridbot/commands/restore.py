"""`gridbot restore`: put a copy in place of the books, where no bot runs on them."""

import argparse
from pathlib import Path

from gridbase.errors import ExitCode

from gridbot.commands.books_arguments import add_directory, directory_of
from gridbot.store import restore


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    add_directory(parser)
    parser.add_argument("file", type=Path, metavar="FILE", help="what `gridbot backup` wrote")


def run(args: argparse.Namespace) -> int:
    """Keep the books that are there, and replace them."""
    replaced = restore(directory_of(args), args.file)
    print(f"restored from {args.file}")
    if replaced is not None:
        print(f"the books that were there: {replaced}")
    return ExitCode.OK
