"""Arguments that several commands have."""

import argparse
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gridbase.errors import ExitCode, UserError

from recorder.files.catalog import Catalog
from recorder.files.layout import CATALOG

USUAL_DIRECTORY = Path("/var/lib/recorder")
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


def add_directory(parser: argparse.ArgumentParser) -> None:
    """Add the data directory."""
    parser.add_argument(
        "--directory",
        type=Path,
        default=USUAL_DIRECTORY,
        metavar="DIR",
        help="the data directory (default: %(default)s)",
    )


def open_catalog(directory: Path, *, read_only: bool = True) -> Catalog:
    """The catalogue of a data directory.

    Raises:
        UserError: it is no data directory.
    """
    if not (directory / CATALOG).is_file():
        raise UserError(f"--directory {directory}: holds no recording", ExitCode.STATE)
    return Catalog(directory, read_only=read_only)


@contextmanager
def disk_told(name: str, directory: Path) -> Iterator[None]:
    """What a disk refuses, such as one that is full, in one line.

    Args:
        name: of the setting or option with the directory.
        directory: its value.
    """
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"{name} {directory}: cannot be written: {reason}", ExitCode.STATE
        ) from error


def date(option: str, value: str) -> str:
    """A day.

    Raises:
        UserError: it is none.
    """
    if not DATE.fullmatch(value):
        raise UserError(f"{option} {value} needs a day such as 2026-01-31")
    return value
