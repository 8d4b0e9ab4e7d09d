"""What a night's jobs are: a TOML file, each value checked strictly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from gridbase.errors import UserError
from gridbase.settings import (
    WrongValueError,
    absolute_path,
    integer,
    read_table,
    read_toml,
    text,
)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,60}", re.ASCII)


def _name(value: Any) -> str:
    """Reads a name that becomes part of a file's."""
    if NAME.fullmatch(text(value)) is None:
        raise WrongValueError("needs letters, digits, dots and dashes")
    return str(value)


def _words(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise WrongValueError('needs a list of words, such as ["--fee-rate", "0.001"]')
    return tuple(value)


_path = absolute_path("a path from / on")


@dataclass(frozen=True)
class Bot:
    """A bot that is held against a backtest.

    Attributes:
        name: goes into the names of results.
        state: its state directory.
        exchange: whose recorded prices.
        options: of `analytics compare`, such as its fees.
    """

    name: Annotated[str, _name]
    state: Annotated[Path, _path]
    exchange: Annotated[str, _name] = "binance"
    options: Annotated[tuple[str, ...], _words] = ()


@dataclass(frozen=True)
class Search:
    """A search on recorded candles.

    Attributes:
        symbol: the exchange's own name, such as BTCUSDT.
        options: of `analytics optimize`, without `--data`.
        exchange: whose recorded prices.
    """

    symbol: Annotated[str, _name]
    options: Annotated[tuple[str, ...], _words]
    exchange: Annotated[str, _name] = "binance"


@dataclass(frozen=True)
class Nightly:
    """Everything that a night's jobs need.

    Attributes:
        results: directory of what came of them.
        recording: the recorder's data directory.
        bots: whose books are looked at.
        searches: what is searched for.
        keep_days: results that are older are removed.
        job_minutes: a job that takes longer is ended.
        scheduler: of a pool that does the searches; empty for this machine alone.
        tls: directory of the pool's certificate and key; None without a pool.
    """

    results: Annotated[Path, _path]
    recording: Annotated[Path, _path]
    bots: tuple[Bot, ...]
    searches: tuple[Search, ...]
    keep_days: Annotated[int, integer(1, 36_500)] = 90
    job_minutes: Annotated[int, integer(1, 1_440)] = 120
    scheduler: Annotated[str, text] = ""
    tls: Annotated[Path | None, _path] = None


def load(path: Path) -> Nightly:
    """Read the file.

    Raises:
        UserError: it cannot be read, or a value is not allowed; names it.
    """
    document = read_toml(path)
    where = f"{path}: "
    tables = {name: _tables(where, name, document.pop(name, [])) for name in ("bots", "searches")}
    bots = [read_table(Bot, one, f"{where}bots: ") for one in tables["bots"]]
    searches = [read_table(Search, one, f"{where}searches: ") for one in tables["searches"]]
    nightly = read_table(Nightly, document, where, bots=tuple(bots), searches=tuple(searches))
    if not bots and not searches:
        raise UserError(f"{where}bots and searches are empty; name one")
    for what, names in (
        ("bots", [each.name for each in bots]),
        ("searches", [each.symbol for each in searches]),
    ):
        if len(set(names)) < len(names):
            raise UserError(f"{where}{what}: {', '.join(names)}: needs each name once")
    if bool(nightly.scheduler) != (nightly.tls is not None):
        raise UserError(f"{where}scheduler and tls need each other")
    return nightly


def _tables(where: str, name: str, given: Any) -> list[Mapping[str, Any]]:
    if not isinstance(given, list) or not all(isinstance(each, Mapping) for each in given):
        raise UserError(f"{where}{name}: needs tables, such as [[{name}]]")
    return given
