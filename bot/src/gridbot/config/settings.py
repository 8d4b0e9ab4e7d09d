"""Every setting of a configuration: how it is read, its default, and what else is allowed.

Secrets are not read here: see `gridbase.secret_files`.
"""

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gridbase.errors import UserError
from gridbase.market import plain
from gridbase.settings import (
    Read,
    WrongValueError,
    absolute_path,
    choice,
    integer,
    known_names,
    matching,
    read_each,
    switch,
    text,
)

from gridbot.core.grid import MAX_GRIDS, FeesIn, Spacing

# Paper mode never talks to these: a paper configuration must not be able to spend money.
PRODUCTION_DOMAINS = ("binance.com", "binance.us")
PRACTICE_HOSTS = ("demo-api.binance.com",)
# Longer averages remember more candles than one request gives: a restart would see others.
MOST_WILDER_PERIOD = 79
MOST_AVERAGE_PERIOD = 210
HOST_LABEL = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
_SYMBOL = (r"[A-Z0-9]{1,20}/[A-Z0-9]{1,20}", 'a symbol such as "BTC/USDT"')
MOST_NAME = 253  # characters of a host's name
INTERVALS = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d")


@dataclass(frozen=True)
class Setting:
    """How one setting is read, and what it is where it is not set."""

    read: Read
    default: Any = None
    required: bool = False


def _choice(*choices: str) -> Read:
    return choice(*choices, quote='"')


def _amount(*, zero: bool = False, below: Decimal | None = None) -> Read:
    """Reader of an exact amount: text or whole number, never a binary fraction."""
    bounds = "0 or more" if zero else "above 0"
    if below is not None:
        bounds += f" and below {plain(below)}"

    def read(value: Any) -> Decimal:
        if isinstance(value, float):
            raise WrongValueError(f'needs quotes to be exact: "{value}"')
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise WrongValueError(f'needs an amount in quotes {bounds}, such as "1.5"')
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,20}(\.[0-9]{1,20})?", value) is None:
            raise WrongValueError(f'needs plain digits {bounds}, such as "1234.56"')
        amount = Decimal(value)
        too_high = below is not None and amount >= below
        if amount < 0 or (amount == 0 and not zero) or too_high:
            raise WrongValueError(f"needs an amount {bounds}")
        return amount

    return read


def _seconds(low: str, high: str) -> Read:
    def read(value: Any) -> Decimal:
        number = isinstance(value, (str, int, float)) and not isinstance(value, bool)
        try:
            seconds = Decimal(str(value)) if number else Decimal(-1)
        except InvalidOperation:
            seconds = Decimal(-1)
        if not (seconds.is_finite() and Decimal(low) <= seconds <= Decimal(high)):
            raise WrongValueError(f"needs seconds from {low} to {high}")
        return seconds

    return read


def _host(value: Any) -> str:
    """An address of this machine, or a name for one. What ends in a number has to be an address."""
    given = value if isinstance(value, str) else ""
    labels = given.rstrip(".").split(".")
    name = len(given) <= MOST_NAME and all(re.fullmatch(HOST_LABEL, label) for label in labels)
    if name and not labels[-1].isdigit():
        return given
    try:
        return str(ip_address(given))
    except ValueError as error:
        raise WrongValueError("needs an address such as 127.0.0.1, or a host's name") from error


def _gateway(value: Any) -> str:
    """The address of IB's Gateway, or a socket; it has no password: whoever reaches it trades."""
    if isinstance(value, str) and value.startswith("/"):
        return value
    host, _, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise WrongValueError("needs host and port, such as 127.0.0.1:4002, or a path from / on")
    return f"{_host(host)}:{int(port)}"


def _url(*schemes: str, example: str) -> Read:
    """Reader of the address of a practice exchange."""
    return lambda value: _practice_url(value, schemes, example)


def _practice_url(value: Any, schemes: tuple[str, ...], example: str) -> str:
    meaning = f"needs a URL of scheme, host and port only, such as {example}"
    if not isinstance(value, str):
        raise WrongValueError(meaning)
    try:
        parts = urlsplit(value)
        port_ok = parts.port is None or parts.port > 0
    except ValueError as error:
        raise WrongValueError(meaning) from error
    plain_url = not (parts.path.strip("/") or parts.query or parts.fragment or parts.username)
    if parts.scheme not in schemes or not parts.hostname or not plain_url or not port_ok:
        raise WrongValueError(meaning)
    host = parts.hostname.rstrip(".").lower()
    production = any(host == name or host.endswith("." + name) for name in PRODUCTION_DOMAINS)
    if production and host not in PRACTICE_HOSTS:
        raise WrongValueError(
            'is the real exchange; paper mode needs another host, or set mode = "live"'
        )
    return value.rstrip("/")


def _symbols(value: Any) -> tuple[str, ...]:
    read = matching(*_SYMBOL)
    if not isinstance(value, list) or not value:
        raise WrongValueError('needs a list of symbols, such as ["BTC/USDT", "ETH/USDT"]')
    return tuple(dict.fromkeys(read(one) for one in value))


def _networks(value: Any) -> tuple[str, ...]:
    """Addresses and networks; `gateway` stands for that of the container's default route."""
    meaning = 'needs a list of addresses or networks, such as ["127.0.0.1", "172.18.0.0/24"]'
    if not isinstance(value, list):
        raise WrongValueError(meaning)
    for one in value:
        try:
            if one != "gateway":
                ip_network(one if isinstance(one, str) else "")
        except ValueError as error:
            raise WrongValueError(meaning) from error
    return tuple(value)


def _hosts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise WrongValueError('needs a list of names, such as ["localhost", "pi1.local"]')
    return tuple(_host(one).lower() for one in value)


def _percent(below: int) -> Read:
    return _amount(below=Decimal(below))


_path = absolute_path("an absolute path, such as /run/secrets/name")
# Which table of a file each belongs to: the account and the process, or one grid.
_BOT: dict[str, Setting] = {
    "mode": Setting(_choice("paper", "live"), "paper"),
    "live_confirmation": Setting(text),
    "bot_name": Setting(
        matching(r"[A-Za-z0-9-]{1,12}", "1 to 12 letters, digits or hyphens"), required=True
    ),
    "exchange.name": Setting(
        matching(r"[a-z0-9_]{2,30}", 'the name of an exchange in ccxt, such as "binance"'),
        required=True,
    ),
    "exchange.url": Setting(_url("http", "https", example="http://exchange:8000")),
    "exchange.stream_url": Setting(_url("ws", "wss", example="ws://exchange:8001")),
    "exchange.testnet": Setting(switch, default=False),
    "exchange.api_key_file": Setting(_path),
    "exchange.api_secret_file": Setting(_path),
    "exchange.gateway": Setting(_gateway),
    "exchange.account": Setting(matching(r"[A-Z]{1,3}[0-9]{5,9}", "a name such as DU1234567")),
    "exchange.client_id": Setting(integer(1, 999_999)),
    "exchange.restart": Setting(
        matching(r"([01][0-9]|2[0-3]):[0-5][0-9]", 'a time of the day (UTC) such as "04:45"')
    ),
    "exchange.pacing_directory": Setting(_path),
    "exchange.request_share": Setting(integer(5, 100), 100),
    "exchange.timeout_seconds": Setting(_seconds("1", "60"), Decimal(10)),
    "state.directory": Setting(_path, Path("/var/lib/gridbot")),
    "page.host": Setting(_host, "0.0.0.0"),  # noqa: S104 - inside its container
    "page.port": Setting(integer(1, 65535), 8080),
    "page.tokens_file": Setting(_path),
    "page.acting": Setting(switch, default=False),
    "page.act_from": Setting(_networks, ("127.0.0.0/8", "::1")),
    "page.trusted_proxies": Setting(_networks, ()),
    "page.hosts": Setting(_hosts, ("localhost", "127.0.0.1", "::1")),
    "loop.poll_seconds": Setting(_seconds("0.05", "3600"), Decimal(2)),
    "account_guard.role": Setting(_choice("off", "judge", "follower"), "off"),
    "account_guard.start_equity": Setting(_amount()),
    "account_guard.loss_limit": Setting(_amount()),
    "account_guard.symbols": Setting(_symbols),
    "account_guard.host": Setting(_host, "0.0.0.0"),  # noqa: S104 - as the page's
    "account_guard.port": Setting(integer(1, 65535), 8090),
    "account_guard.url": Setting(_url("http", "https", example="http://192.168.1.21:8090")),
    "account_guard.token_file": Setting(_path),
    "account_guard.silence_seconds": Setting(integer(30, 3600), 120),
    "metrics.token_file": Setting(_path),
    "alerts.host": Setting(matching(r"[A-Za-z0-9._-]{1,253}", "a host's name, such as pi1")),
    "alerts.runbooks": Setting(text, "docs/runbooks"),
    "alerts.alertmanager_url": Setting(_url("http", "https", example="http://192.168.1.21:9093")),
    "alerts.alertmanager_token_file": Setting(_path),
    "alerts.ca_file": Setting(_path),
    "alerts.tls_name": Setting(_host),
    "alerts.discord_url_file": Setting(_path),
    "alerts.ntfy_url_file": Setting(_path),
    "alerts.webhook_url_file": Setting(_path),
    "log.level": Setting(_choice("debug", "info", "warning", "error"), "info"),
    "log.format": Setting(_choice("text", "json"), "text"),
}
_GRID: dict[str, Setting] = {
    "market.symbol": Setting(matching(*_SYMBOL), required=True),
    "grid.range": Setting(_choice("fixed", "atr"), "fixed"),
    "grid.lower": Setting(_amount()),
    "grid.upper": Setting(_amount()),
    "grid.atr_interval": Setting(_choice(*INTERVALS), "1h"),
    "grid.atr_period": Setting(integer(2, MOST_WILDER_PERIOD), 14),
    "grid.atr_multiple": Setting(_amount(below=Decimal(1000)), Decimal(3)),
    "grid.grids": Setting(integer(1, MAX_GRIDS), required=True),
    "grid.spacing": Setting(_choice(*Spacing), Spacing.ARITHMETIC),
    "grid.investment": Setting(_amount()),
    "grid.quantity": Setting(_amount()),
    "grid.post_only": Setting(switch, default=False),
    "grid.outside_range_purchase": Setting(_amount(zero=True)),
    "grid.allow_losing_pairs": Setting(switch, default=False),
    "fees.rate": Setting(_amount(zero=True, below=Decimal("0.5")), Decimal("0.001")),
    "fees.in": Setting(_choice(*FeesIn), FeesIn.RECEIVED),
    "trend.enabled": Setting(switch, default=False),
    "trend.interval": Setting(_choice(*INTERVALS), "1h"),
    "trend.adx_period": Setting(integer(2, MOST_WILDER_PERIOD), 14),
    "trend.adx_above": Setting(_amount(zero=True, below=Decimal(100)), Decimal(25)),
    "trend.average": Setting(_choice("ema", "sma"), "ema"),
    "trend.fast": Setting(integer(1, MOST_AVERAGE_PERIOD), 20),
    "trend.slow": Setting(integer(2, MOST_AVERAGE_PERIOD), 50),
    "volatility.enabled": Setting(switch, default=False),
    "volatility.interval": Setting(_choice(*INTERVALS), "15m"),
    "volatility.atr_period": Setting(integer(2, MOST_WILDER_PERIOD), 14),
    "volatility.atr_above_percent": Setting(_percent(100), Decimal(3)),
    "reposition.direction": Setting(_choice("off", "up", "down", "both"), "off"),
    "reposition.margin_percent": Setting(_amount(zero=True, below=Decimal(100)), Decimal("0.5")),
    "reposition.cooldown_minutes": Setting(integer(0, 100_000), 60),
    "reposition.at": Setting(_choice("price", "levels"), "price"),
    "reposition.levels_interval": Setting(_choice(*INTERVALS), "1h"),
    "reposition.levels_candles": Setting(integer(20, 1000), 200),
    "stop.loss_price": Setting(_amount()),
    "stop.profit_price": Setting(_amount()),
    "stop.max_drawdown_percent": Setting(_percent(100)),
    "stop.daily_loss_percent": Setting(_percent(100)),
    "stop.profit_percent": Setting(_percent(100_000)),
    "stop.liquidate": Setting(switch, default=False),
}
SETTINGS = _BOT | _GRID
SECTIONS = sorted({key.partition(".")[0] for key in SETTINGS if "." in key})
_GRID_SECTIONS = sorted({key.partition(".")[0] for key in _GRID} - {"market", "grid"})


def split_grids(document: dict[str, Any]) -> list[dict[str, Any]]:
    """One document for each grid of a file: its own table over what holds for all of them.

    Args:
        document: the parsed file; each entry of its list `grids` has a `symbol`, keys of [grid]
            and tables such as [grids.stop].

    Raises:
        UserError: the list or an entry of it is not such a table.
    """
    entries = document.get("grids")
    if entries is None:
        return [document]
    if isinstance(entries, dict):
        raise UserError("grids is not a known section; did you mean grid?")
    common = {key: value for key, value in document.items() if key != "grids"}
    if not isinstance(entries, list) or not entries or "market" in common:
        raise UserError(
            'grids needs entries, each written as [[grids]] with symbol = "BTC/USDT" and the keys '
            "of [grid]; [market] is left out then"
        )
    return [_with_entry(common, entry) for entry in entries]


def _with_entry(common: dict[str, Any], entry: Any) -> dict[str, Any]:
    if not isinstance(entry, dict) or not isinstance(entry.get("symbol"), str):
        raise UserError('grids: each entry needs symbol, such as symbol = "BTC/USDT"')
    tables = {name: entry[name] for name in _GRID_SECTIONS if isinstance(entry.get(name), dict)}
    own = {key: value for key, value in entry.items() if key != "symbol" and key not in tables}
    merged = dict(common)
    for name, table in {"grid": own, **tables}.items():
        shared = common.get(name, {})
        merged[name] = {**(shared if isinstance(shared, dict) else {}), **table}
    merged["market"] = {"symbol": entry["symbol"]}
    return merged


def flatten(document: dict[str, Any]) -> dict[str, Any]:
    """`{"grid": {"lower": 1}}` as `{"grid.lower": 1}`."""
    flat: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, dict):
            if key not in SECTIONS:
                raise UserError(f"{key} is not a known section; {known_names(key, SECTIONS)}")
            flat.update({f"{key}.{name}": inner for name, inner in value.items()})
        elif key in SECTIONS:
            raise UserError(f"{key} = {shown(value)} needs to be a section: [{key}]")
        else:
            flat[key] = value
    return flat


def read_settings(flat: dict[str, Any]) -> dict[str, Any]:
    """All settings by name, defaults filled in.

    Raises:
        UserError: one line that names the setting, its value and what is allowed.
    """
    for key in flat:
        if key not in SETTINGS:
            raise UserError(f"{key} is not a known setting; {known_names(key, SETTINGS)}")
    for key, setting in SETTINGS.items():
        if setting.required and key not in flat:
            raise UserError(f"{key} is missing and has no default")
    readers = {key: setting.read for key, setting in SETTINGS.items()}
    defaults = {key: setting.default for key, setting in SETTINGS.items()}
    return defaults | read_each(readers, flat, lambda key, value: f"{key} = {shown(value)}")


def shown(value: Any) -> str:
    """A value as its writer wrote it, more or less, and not longer than fits in a line."""
    text = f'"{value}"' if isinstance(value, str) else str(value)
    if isinstance(value, bool):
        text = text.lower()
    text = text.replace("\n", "\\n")
    return text if len(text) <= 80 else text[:77] + "..."
