"""How subcommands that only read the books find them."""

import argparse
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from gridbase.errors import ExitCode, UserError

from gridbot.config.load import load_config
from gridbot.store import Store

ALL = "all"


def add_directory(parser: argparse.ArgumentParser) -> None:
    """Add `--config` or `--state`."""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--config", type=Path, metavar="FILE", help="the bot's TOML file")
    where.add_argument("--state", type=Path, metavar="DIR", help="the bot's state.directory")


def directory_of(args: argparse.Namespace) -> Path:
    """The state directory that `--config` or `--state` names."""
    state: Path | None = args.state
    return load_config(args.config).state_directory if state is None else state


def add_state(parser: argparse.ArgumentParser) -> None:
    """Add `--config` or `--state`, and `--symbol`."""
    add_directory(parser)
    parser.add_argument("--symbol", metavar="BASE/QUOTE", help="only this symbol (default: all)")


@contextmanager
def open_books(args: argparse.Namespace) -> Iterator[tuple[Store, list[str]]]:
    """The books, open for reading beside a running bot, and the symbols that are meant.

    Raises:
        UserError: there are none.
    """
    with closing(Store(directory_of(args), read_only=True)) as store:
        yield store, _meant(store, args.symbol)


def _meant(store: Store, symbol: str | None) -> list[str]:
    symbols = store.symbols()
    if not symbols:
        raise UserError(f"{store.path} holds no grid yet", ExitCode.STATE)
    if symbol is None:
        return symbols
    if symbol not in symbols:
        known = ", ".join(symbols)
        raise UserError(f"--symbol {symbol}: {store.path} holds {known} only", ExitCode.STATE)
    return [symbol]


def read_year(text: str) -> int | None:
    """A year; None for all of them.

    Raises:
        UserError: it is neither.
    """
    if text == ALL:
        return None
    if not (text.isascii() and text.isdigit() and 2000 <= int(text) <= 2999):
        raise UserError(f'--year {text} needs a year such as 2026, or "{ALL}"')
    return int(text)
