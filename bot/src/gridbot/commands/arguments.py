"""Arguments that several subcommands share. Imports nothing that is slow to import."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gridbase.errors import UserError

if TYPE_CHECKING:
    from gridbot.config.load import BotConfig, GridConfig


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add `--config`."""
    parser.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="the bot's TOML file"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def add_symbol(parser: argparse.ArgumentParser) -> None:
    """Add `--symbol`."""
    parser.add_argument(
        "--symbol", metavar="BASE/QUOTE", help="only this grid of the file (default: all)"
    )


def add_reason(parser: argparse.ArgumentParser) -> None:
    """Add `--reason`."""
    parser.add_argument(
        "--reason", default="no reason given", metavar="TEXT", help="what the page and status say"
    )


def chosen(config: BotConfig, symbol: str | None) -> tuple[GridConfig, ...]:
    """The grids of a file that `--symbol` means: one of them, or all.

    Raises:
        UserError: the file has no such grid.
    """
    if symbol is None:
        return config.grids
    found = tuple(one for one in config.grids if one.symbol == symbol)
    if not found:
        known = ", ".join(one.symbol for one in config.grids)
        raise UserError(f"--symbol {symbol} is not in {config.account.path}; it has {known}")
    return found
