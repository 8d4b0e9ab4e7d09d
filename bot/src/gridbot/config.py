"""The bot's configuration: one TOML file, read strictly.

Every mistake is one line that names the setting, its value and what would do. Secrets are not
read here: see `gridbot.credentials`.
"""

import difflib
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gridbot.errors import UserError
from gridbot.grid import MAX_GRIDS, Fees, FeesIn, GridSpec, Spacing
from gridbot.market import plain

LIVE_CONFIRMATION = "I accept that this bot trades real money"
EXCHANGES = ("binance", "binanceus")
# Paper mode never talks to these: a paper configuration must not be able to spend money.
PRODUCTION_DOMAINS = ("binance.com", "binance.us")
PRACTICE_HOSTS = ("demo-api.binance.com",)


@dataclass(frozen=True)
class ExchangeConfig:
    """Which exchange, and how to reach it. `url` is None in live mode."""

    name: str
    url: str | None
    api_key_file: Path
    api_secret_file: Path
    timeout_seconds: Decimal


@dataclass(frozen=True)
class PageConfig:
    """Where the page, `/api/status` and `/health` are served."""

    host: str
    port: int


@dataclass(frozen=True)
class Config:
    """A whole, valid configuration."""

    path: Path
    mode: str
    bot_name: str
    exchange: ExchangeConfig
    symbol: str
    grid: GridSpec
    fees: Fees
    state_directory: Path
    page: PageConfig
    poll_seconds: Decimal
    log_level: str

    @property
    def base(self) -> str:
        """The coin that is traded."""
        return self.symbol.split("/")[0]

    @property
    def quote(self) -> str:
        """The coin that prices are in."""
        return self.symbol.split("/")[1]


class _InvalidError(ValueError):
    """A value that will not do; the text says what would."""


@dataclass(frozen=True)
class _Setting:
    read: Callable[[Any], Any]
    default: Any = None
    required: bool = False


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise _InvalidError('needs a text in quotes, such as "text"')
    return value


def _pattern(pattern: str, meaning: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not isinstance(value, str) or re.fullmatch(pattern, value) is None:
            raise _InvalidError(f"needs {meaning}")
        return value

    return read


def _choice(*choices: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in choices or not isinstance(value, str):
            raise _InvalidError("needs " + " or ".join(f'"{choice}"' for choice in choices))
        return value

    return read


def _integer(low: int, high: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise _InvalidError(f"needs a whole number from {low} to {high}, without quotes")
        return value

    return read


def _amount(*, zero: bool = False, below: Decimal | None = None) -> Callable[[Any], Decimal]:
    """Reader of an exact amount: text or whole number, never a binary fraction."""
    bounds = "0 or more" if zero else "above 0"
    if below is not None:
        bounds += f" and below {plain(below)}"

    def read(value: Any) -> Decimal:
        if isinstance(value, float):
            raise _InvalidError(f'needs quotes to be exact: "{value}"')
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise _InvalidError(f'needs an amount in quotes {bounds}, such as "1.5"')
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,20}(\.[0-9]{1,20})?", value) is None:
            raise _InvalidError(f'needs plain digits {bounds}, such as "1234.56"')
        amount = Decimal(value)
        too_high = below is not None and amount >= below
        if amount < 0 or (amount == 0 and not zero) or too_high:
            raise _InvalidError(f"needs an amount {bounds}")
        return amount

    return read


def _seconds(low: str, high: str) -> Callable[[Any], Decimal]:
    def read(value: Any) -> Decimal:
        number = isinstance(value, (str, int, float)) and not isinstance(value, bool)
        try:
            seconds = Decimal(str(value)) if number else Decimal(-1)
        except InvalidOperation:
            seconds = Decimal(-1)
        if not (seconds.is_finite() and Decimal(low) <= seconds <= Decimal(high)):
            raise _InvalidError(f"needs seconds from {low} to {high}")
        return seconds

    return read


def _path(value: Any) -> Path:
    path = Path(_text(value))
    if not path.is_absolute():
        raise _InvalidError("needs an absolute path, such as /run/secrets/name")
    return path


def _url(value: Any) -> str:
    meaning = "needs a URL of scheme, host and port only, such as http://exchange:8000"
    if not isinstance(value, str):
        raise _InvalidError(meaning)
    try:
        parts = urlsplit(value)
        port_ok = parts.port is None or parts.port > 0
    except ValueError as error:
        raise _InvalidError(meaning) from error
    plain_url = not (parts.path.strip("/") or parts.query or parts.fragment or parts.username)
    if parts.scheme not in {"http", "https"} or not parts.hostname or not plain_url or not port_ok:
        raise _InvalidError(meaning)
    host = parts.hostname.rstrip(".").lower()
    production = any(host == name or host.endswith("." + name) for name in PRODUCTION_DOMAINS)
    if production and host not in PRACTICE_HOSTS:
        raise _InvalidError(
            'is the real exchange; paper mode needs another host, or set mode = "live"'
        )
    return value.rstrip("/")


_SETTINGS: dict[str, _Setting] = {
    "mode": _Setting(_choice("paper", "live"), "paper"),
    "live_confirmation": _Setting(_text),
    "bot_name": _Setting(
        _pattern(r"[A-Za-z0-9-]{1,12}", "1 to 12 letters, digits or hyphens"), required=True
    ),
    "exchange.name": _Setting(_choice(*EXCHANGES), required=True),
    "exchange.url": _Setting(_url),
    "exchange.api_key_file": _Setting(_path, required=True),
    "exchange.api_secret_file": _Setting(_path, required=True),
    "exchange.timeout_seconds": _Setting(_seconds("1", "60"), Decimal(10)),
    "market.symbol": _Setting(
        _pattern(r"[A-Z0-9]{1,20}/[A-Z0-9]{1,20}", 'a symbol such as "BTC/USDT"'), required=True
    ),
    "grid.lower": _Setting(_amount(), required=True),
    "grid.upper": _Setting(_amount(), required=True),
    "grid.grids": _Setting(_integer(1, MAX_GRIDS), required=True),
    "grid.spacing": _Setting(_choice(*Spacing), Spacing.ARITHMETIC),
    "grid.investment": _Setting(_amount(), required=True),
    "fees.rate": _Setting(_amount(zero=True, below=Decimal("0.5")), Decimal("0.001")),
    "fees.in": _Setting(_choice(*FeesIn), FeesIn.RECEIVED),
    "state.directory": _Setting(_path, Path("/var/lib/gridbot")),
    "page.host": _Setting(_text, "0.0.0.0"),  # noqa: S104 - inside its container
    "page.port": _Setting(_integer(1, 65535), 8080),
    "loop.poll_seconds": _Setting(_seconds("0.05", "3600"), Decimal(2)),
    "log.level": _Setting(_choice("debug", "info", "warning", "error"), "info"),
}
_SECTIONS = sorted({key.partition(".")[0] for key in _SETTINGS if "." in key})


def load_config(path: Path) -> Config:
    """Read a configuration file.

    Raises:
        UserError: the file cannot be read, or a setting in it will not do.
    """
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise UserError(f"configuration {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"configuration {path}: is not UTF-8 text") from error
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"configuration {path}: is not valid TOML: {error}") from error
    try:
        return parse_config(document, path)
    except UserError as error:
        raise UserError(f"configuration {path}: {error}") from error


def parse_config(document: dict[str, Any], path: Path) -> Config:
    """Check a parsed document and turn it into a configuration.

    Raises:
        UserError: one line that names the setting, its value and what would do.
    """
    values = _read_settings(_flatten(document))
    _check_mode(values)
    if values["grid.lower"] >= values["grid.upper"]:
        raise UserError(
            f"grid.lower = {plain(values['grid.lower'])} must be below "
            f"grid.upper = {plain(values['grid.upper'])}"
        )
    base, quote = values["market.symbol"].split("/")
    if base == quote:
        raise UserError(f'market.symbol = "{base}/{quote}" needs two different coins')
    return _assemble(values, path)


def _assemble(values: dict[str, Any], path: Path) -> Config:
    return Config(
        path=path,
        mode=values["mode"],
        bot_name=values["bot_name"],
        exchange=ExchangeConfig(
            name=values["exchange.name"],
            url=values["exchange.url"],
            api_key_file=values["exchange.api_key_file"],
            api_secret_file=values["exchange.api_secret_file"],
            timeout_seconds=values["exchange.timeout_seconds"],
        ),
        symbol=values["market.symbol"],
        grid=GridSpec(
            lower=values["grid.lower"],
            upper=values["grid.upper"],
            grids=values["grid.grids"],
            spacing=Spacing(values["grid.spacing"]),
            investment=values["grid.investment"],
        ),
        fees=Fees(rate=values["fees.rate"], taken_in=FeesIn(values["fees.in"])),
        state_directory=values["state.directory"],
        page=PageConfig(host=values["page.host"], port=values["page.port"]),
        poll_seconds=values["loop.poll_seconds"],
        log_level=values["log.level"],
    )


def _flatten(document: dict[str, Any]) -> dict[str, Any]:
    """`{"grid": {"lower": 1}}` as `{"grid.lower": 1}`."""
    flat: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, dict):
            if key not in _SECTIONS:
                raise UserError(_unknown(key, _SECTIONS, "section"))
            flat.update({f"{key}.{name}": inner for name, inner in value.items()})
        elif key in _SECTIONS:
            raise UserError(f"{key} = {_shown(value)} needs to be a section: [{key}]")
        else:
            flat[key] = value
    return flat


def _read_settings(flat: dict[str, Any]) -> dict[str, Any]:
    for key in flat:
        if key not in _SETTINGS:
            raise UserError(_unknown(key, list(_SETTINGS), "setting"))
    values: dict[str, Any] = {}
    for key, setting in _SETTINGS.items():
        if key not in flat:
            if setting.required:
                raise UserError(f"{key} is missing and has no default")
            values[key] = setting.default
            continue
        try:
            values[key] = setting.read(flat[key])
        except _InvalidError as error:
            raise UserError(f"{key} = {_shown(flat[key])} {error}") from error
    return values


def _unknown(key: str, known: list[str], what: str) -> str:
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.8)
    if not close:
        # A setting in the wrong section: `lower` for `grid.lower`.
        close = [name for name in known if name.rpartition(".")[2] == key.rpartition(".")[2]]
    section = key.rpartition(".")[0]
    hint = (
        f"did you mean {close[0]}?"
        if close
        else "known are " + ", ".join(name for name in known if name.rpartition(".")[0] == section)
    )
    return f"{key} is not a known {what}; {hint}"


def _shown(value: Any) -> str:
    """A value as its writer wrote it, more or less, and not longer than fits in a line."""
    text = f'"{value}"' if isinstance(value, str) else str(value)
    if isinstance(value, bool):
        text = text.lower()
    text = text.replace("\n", "\\n")
    return text if len(text) <= 80 else text[:77] + "..."


def _check_mode(values: dict[str, Any]) -> None:
    if values["mode"] == "paper":
        if values["exchange.url"] is None:
            raise UserError(
                "exchange.url is missing: paper mode needs the address of a practice exchange, "
                "such as http://exchange:8000"
            )
        return
    if values["exchange.url"] is not None:
        raise UserError(
            f'exchange.url = "{values["exchange.url"]}" must be left out in live mode: the bot '
            "then talks to the exchange itself"
        )
    if values["live_confirmation"] != LIVE_CONFIRMATION:
        raise UserError(f'mode = "live" also needs live_confirmation = "{LIVE_CONFIRMATION}"')
