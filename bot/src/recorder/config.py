"""Settings of the recorder: a TOML file, each value checked strictly."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gridbase.ccxt_package import streaming_exchanges
from gridbase.errors import UserError
from gridbase.public_rest import ADDRESSES
from gridbase.settings import (
    Read,
    WrongValueError,
    any_path,
    integer,
    matching,
    read_toml,
    read_values,
    switch,
    text,
)

from recorder.core.rows import Kind
from recorder.files.layout import checked_name
from recorder.sync_settings import SyncSettings, read_sync

ADDRESS = re.compile(r"(https?|wss?)://[A-Za-z0-9.-]+(:[0-9]{1,5})?", re.ASCII)
LISTEN = re.compile(r"([0-9.]+|\[[0-9a-f:]+\]):[0-9]{1,5}", re.ASCII)
MEGABYTE = 1_000_000
LOOPBACK = ("127.", "[::1]")


@dataclass(frozen=True)
class Market:
    """One exchange, and what is recorded of it.

    Attributes:
        exchange: binance, binanceus, or another one by its name in ccxt.
        symbols: the exchange's own names, such as BTCUSDT; by ccxt such as BTC-USD.
        kinds: what is recorded of each.
        rest: where the exchange answers; empty where ccxt knows.
        streams: where it streams; the same.
        weight_per_minute: request weight that the recorder may use; ccxt has bounds of its own.
        by_ccxt: whether ccxt.pro records it.
        contiguous_ids: whether the IDs of its trades are whole numbers without holes.
    """

    exchange: str
    symbols: tuple[str, ...]
    kinds: tuple[Kind, ...]
    rest: str
    streams: str
    weight_per_minute: int
    by_ccxt: bool = False
    contiguous_ids: bool = True


@dataclass(frozen=True)
class Config:
    """Everything that the recorder can be told.

    Attributes:
        directory: where data is kept.
        markets: what is recorded.
        listen: address and port of status and metrics.
        token_file: file with the token that readers from elsewhere must send; None on loopback.
        rotate_bytes: a file is closed when its rows take more in memory.
        queue: most messages that wait.
        silent_s: a stream that says nothing for so long is told of, and its connection replaced.
        warn_bytes: memory of the process from which on it warns.
        restart_bytes: memory of the process at which it stops in an orderly way.
        budget_bytes: how much of the disk data may take; 0 for no bound.
        compact: whether the files of a day become one at night.
        sync: where copies go; None for nowhere.
    """

    directory: Path
    markets: tuple[Market, ...]
    listen: str = "127.0.0.1:8090"
    token_file: Path | None = None
    rotate_bytes: int = 100 * MEGABYTE
    queue: int = 10_000
    silent_s: int = 300
    warn_bytes: int = 1_200 * MEGABYTE
    restart_bytes: int = 1_800 * MEGABYTE
    budget_bytes: int = 0
    compact: bool = True
    sync: SyncSettings | None = None


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or len(set(map(str, value))) != len(value):
        raise WrongValueError('needs different names in brackets, such as ["BTCUSDT", "ETHUSDT"]')
    return tuple(checked_name("symbol", str(name)) for name in value)


def _exchange(value: Any) -> str:
    name = text(value)
    known = streaming_exchanges()
    if name not in ADDRESSES and name not in known:
        close = difflib.get_close_matches(name, [*ADDRESSES, *known], 1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise WrongValueError(f"needs binance, binanceus or a name that ccxt.pro knows{hint}")
    return name


def _kinds(value: Any) -> tuple[Kind, ...]:
    known = [str(kind) for kind in Kind]
    if not isinstance(value, list) or not value or not set(map(str, value)) <= set(known):
        raise WrongValueError(f"needs some of {', '.join(known)}, in brackets")
    return tuple(kind for kind in Kind if kind in value)


def _scaled(low: int, high: int, unit: int) -> Read:
    read = integer(low, high)
    return lambda value: read(value) * unit


SETTINGS: dict[str, Read] = {
    "directory": any_path,
    "listen": matching(LISTEN, 'an address and a port, such as "127.0.0.1:8090"'),
    "token_file": any_path,
    "rotate_mb": _scaled(1, 1_000, MEGABYTE),
    "queue": integer(100, 1_000_000),
    "silent_seconds": integer(10, 86_400),
    "memory_warn_mb": _scaled(10, 100_000, MEGABYTE),
    "memory_restart_mb": _scaled(10, 100_000, MEGABYTE),
    "disk_budget_gb": _scaled(0, 100_000, 1_000 * MEGABYTE),
    "compact": switch,
}
NAMES = {
    "rotate_mb": "rotate_bytes",
    "silent_seconds": "silent_s",
    "memory_warn_mb": "warn_bytes",
    "memory_restart_mb": "restart_bytes",
    "disk_budget_gb": "budget_bytes",
}
MARKET_SETTINGS: dict[str, Read] = {
    "exchange": _exchange,
    "by_ccxt": switch,
    "contiguous_ids": switch,
    "symbols": _names,
    "kinds": _kinds,
    "rest": matching(ADDRESS, "http://HOST or https://HOST, maybe :PORT"),
    "streams": matching(ADDRESS, "ws://HOST or wss://HOST, maybe :PORT"),
    "weight_per_minute": integer(60, 6_000),
}


def load_config(path: Path) -> Config:
    """Read the settings.

    Args:
        path: the TOML file.

    Raises:
        UserError: one line that names the file, the setting, its value and what is allowed.
    """
    document = read_toml(path, wrong="is no TOML")
    try:
        return _read(document)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _read(document: Mapping[str, Any]) -> Config:
    markets = document.get("markets")
    if not isinstance(markets, list) or not markets:
        raise WrongValueError("needs at least one table [[markets]] with exchange and symbols")
    given = {name: value for name, value in document.items() if name not in ("markets", "sync")}
    values = read_values(SETTINGS, given, "", ("directory",))
    values = {NAMES.get(name, name): value for name, value in values.items()}
    if "sync" in document:
        values["sync"] = read_sync(document["sync"])
    config = Config(markets=tuple(_market(each) for each in markets), **values)
    exchanges = [market.exchange for market in config.markets]
    if len(set(exchanges)) != len(exchanges):
        raise WrongValueError("markets: needs each exchange once")
    if not config.listen.startswith(LOOPBACK) and config.token_file is None:
        raise WrongValueError(f"listen = {config.listen} is not loopback, so it needs token_file")
    if config.warn_bytes >= config.restart_bytes:
        raise WrongValueError("memory_warn_mb needs to be below memory_restart_mb")
    return config


def _market(given: Any) -> Market:
    if not isinstance(given, Mapping):
        raise WrongValueError("markets: needs tables [[markets]]")
    values = read_values(MARKET_SETTINGS, given, "markets: ", ("exchange", "symbols"))
    exchange = values["exchange"]
    by_ccxt = values.setdefault("by_ccxt", exchange not in ADDRESSES)
    if by_ccxt:
        return _by_ccxt(values)
    if exchange not in ADDRESSES:
        raise WrongValueError(f"markets: by_ccxt = false: {exchange} is recorded by ccxt alone")
    if "contiguous_ids" in values:
        raise WrongValueError("markets: contiguous_ids is for an exchange by ccxt; leave it out")
    rest, streams = ADDRESSES[exchange]
    usual = {
        "kinds": tuple(Kind),
        "rest": rest,
        "streams": streams,
        # Binance.US allows 1,200 a minute for everything behind one address.
        "weight_per_minute": 600 if exchange == "binanceus" else 1_200,
    }
    return Market(**(usual | values))


def _by_ccxt(values: dict[str, Any]) -> Market:
    for name in values["symbols"]:
        if not re.fullmatch(r"[A-Z0-9]+-[A-Z0-9]+", name):
            raise WrongValueError(f'markets: symbols: {name} needs the form "BTC-USD" for ccxt')
    if "weight_per_minute" in values:
        raise WrongValueError("markets: weight_per_minute is not for ccxt, which has bounds itself")
    usual: dict[str, Any] = {"kinds": tuple(Kind), "rest": "", "streams": ""}
    # Of Binance it is certain; of others who records has to say.
    contiguous = values["exchange"] in ADDRESSES
    return Market(**(usual | {"weight_per_minute": 0, "contiguous_ids": contiguous} | values))
