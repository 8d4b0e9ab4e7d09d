"""Settings of the embedded exchange: a TOML file, flags over it, each value checked strictly."""

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from gridbase.errors import UserError
from gridbase.market import plain

from gridexchange.faults.plan import FaultSettings
from gridexchange.faults.settings import WrongFault, read_faults
from gridexchange.market.feed import HOLD, REPEAT
from gridexchange.matching.orders import NO_PREVENTION, PREVENTION_MODES
from gridexchange.matching.rules import IN_BNB, QUOTE, RECEIVED, PriceBand

AMOUNT = re.compile(r"[0-9]{1,15}(\.[0-9]{1,8})?", re.ASCII)
COIN = re.compile(r"[A-Z0-9]{1,10}", re.ASCII)
HIGHEST_SPEED = 100_000
LONGEST_AVERAGE = 1440  # minutes
SHOWN = 60


@dataclass(frozen=True)
class ExchangeConfig:
    """Everything that `gridexchange` can be told.

    Attributes:
        host: address to listen on.
        port: TCP port to listen on; 0 lets the system choose.
        stream_port: TCP port of the streams and the WebSocket API; None serves none.
        stream_connections: most connections to it.
        state_directory: where the books are kept.
        api_key_file: file with the API key that clients must send.
        api_secret_file: file with the secret that clients must sign with.
        candles: recorded market; None makes a synthetic one.
        at_end: what happens after the last recorded candle: repeat or hold.
        speed: market seconds in a real second.
        seed: of the synthetic market.
        start_price: what the synthetic market moves around, in quote.
        symbol: such as BTC/USDT.
        tick_size: prices are whole multiples of it, in quote; None fits the first price.
        lot_size: quantities are whole multiples of it, in base; None likewise.
        min_quantity: smallest order, in base; None is the lot size.
        max_quantity: largest order, in base; None fits the first price.
        min_notional: smallest price times quantity, in quote.
        max_orders: most open orders.
        fee_rate: commission as a share, such as 0.001.
        fee_in: received, quote or bnb: which coin the commission is taken from.
        bnb_price: what one BNB costs where commissions are paid in it, in quote.
        spread: distance of best bid and best ask, as a share of the price.
        self_trade_prevention: mode of orders that name none.
        balances: what a new account starts with, by coin.
        weight_per_minute: request weight that one address may use in a minute.
        orders_per_10s: new orders that are accepted in ten seconds.
        faults: what goes wrong on purpose.
        price_band: how far limit prices may be from the last price.
        symbols: the same settings for each symbol where there are several; empty for one.
    """

    host: str
    port: int
    stream_port: int | None
    stream_connections: int
    state_directory: Path
    api_key_file: Path
    api_secret_file: Path
    candles: Path | None
    at_end: str
    speed: Fraction
    seed: int
    start_price: Decimal
    symbol: str
    tick_size: Decimal | None
    lot_size: Decimal | None
    min_quantity: Decimal | None
    max_quantity: Decimal | None
    min_notional: Decimal
    max_orders: int
    fee_rate: Decimal
    fee_in: str
    bnb_price: Decimal
    spread: Decimal
    self_trade_prevention: str
    balances: dict[str, Decimal]
    weight_per_minute: int
    orders_per_10s: int
    faults: FaultSettings
    price_band: PriceBand
    symbols: tuple["ExchangeConfig", ...] = ()

    @property
    def each_symbol(self) -> tuple["ExchangeConfig", ...]:
        """The settings as they are for each symbol."""
        return self.symbols or (self,)


class _WrongValue(ValueError):  # noqa: N818  never leaves this module
    """What would do instead."""


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise _WrongValue("needs text")
    return value


def _path(value: object) -> Path:
    return Path(_text(value))


def _candles(value: object) -> Path | None:
    return None if value == "" else _path(value)


def _integer(low: int, high: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise _WrongValue(f"needs a whole number from {low} to {high}")
        return value

    return read


def _amount(*, zero: bool = False) -> Callable[[object], Decimal]:
    bound = "of 0 or more" if zero else "above 0"

    def read(value: object) -> Decimal:
        if isinstance(value, float):
            raise _WrongValue('needs quotes, as TOML numbers with a point are not exact: "0.1"')
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if not isinstance(text, str) or not AMOUNT.fullmatch(text):
            raise _WrongValue(f"needs an amount {bound} with at most 8 decimals")
        amount = Decimal(text)
        if amount == 0 and not zero:
            raise _WrongValue(f"needs an amount {bound}")
        return amount

    return read


def _rate(value: object) -> Decimal:
    rate = _amount(zero=True)(value)
    if rate >= 1:
        raise _WrongValue('needs a share from "0" to below "1", such as "0.001" for 0.1 %')
    return rate


def _speed(value: object) -> Fraction:
    number = None
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            number = Fraction(str(value))
        except (ValueError, ZeroDivisionError):
            number = None
    if number is None or not Fraction(1, 1000) <= number <= HIGHEST_SPEED:
        raise _WrongValue(f"needs a number from 0.001 to {HIGHEST_SPEED}")
    return number


def _choice(*choices: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if not isinstance(value, str) or value not in choices:
            raise _WrongValue(f"needs {' or '.join(choices)}")
        return value

    return read


def _symbol(value: object) -> str:
    base, _, quote = _text(value).partition("/")
    if not COIN.fullmatch(base) or not COIN.fullmatch(quote) or base == quote:
        raise _WrongValue("needs two different coins in capitals, such as BTC/USDT")
    return f"{base}/{quote}"


def _balances(value: object) -> dict[str, Decimal]:
    if not isinstance(value, Mapping):
        raise _WrongValue('needs a table of coins and amounts, such as USDT = "10000"')
    for coin, amount in value.items():
        if not COIN.fullmatch(coin):
            raise _WrongValue(f"needs coins in capitals, not {coin}")
        try:
            _amount(zero=True)(amount)
        except _WrongValue as error:
            raise _WrongValue(f"{coin} = {_shown(amount)}: {error}") from error
    return {coin: _amount(zero=True)(amount) for coin, amount in value.items()}


def _faults(value: object) -> FaultSettings:
    try:
        return read_faults(value)
    except WrongFault as error:
        raise _WrongValue(str(error)) from error


def _price_band(value: object) -> PriceBand:
    names = [field.name for field in fields(PriceBand)]
    if not isinstance(value, Mapping) or not set(value) <= set(names):
        raise _WrongValue(f"needs a table with {', '.join(names)}")
    read: dict[str, Any] = {}
    for name, given in value.items():
        reader = _integer(0, LONGEST_AVERAGE) if name == "minutes" else _amount()
        try:
            read[name] = reader(given)
        except _WrongValue as error:
            raise _WrongValue(f"{name} = {_shown(given)}: {error}") from error
    band = PriceBand(**read)
    if not (band.bid_down <= 1 <= band.bid_up and band.ask_down <= 1 <= band.ask_up):
        raise _WrongValue("needs multiples down of at most 1 and up of at least 1")
    return band


REQUIRED = object()
# Each setting: how it is read, and its default.
SETTINGS: dict[str, tuple[Callable[[object], object], object]] = {
    "host": (_text, "127.0.0.1"),
    "port": (_integer(0, 65535), 8000),
    "stream_port": (_integer(0, 65535), None),
    "stream_connections": (_integer(1, 1000), 32),
    "state_directory": (_path, REQUIRED),
    "api_key_file": (_path, REQUIRED),
    "api_secret_file": (_path, REQUIRED),
    "candles": (_candles, ""),
    "at_end": (_choice(REPEAT, HOLD), REPEAT),
    "speed": (_speed, 60),
    "seed": (_integer(0, 2**63 - 1), 7),
    "start_price": (_amount(), "50000"),
    "symbol": (_symbol, "BTC/USDT"),
    "tick_size": (_amount(), None),
    "lot_size": (_amount(), None),
    "min_quantity": (_amount(), None),
    "max_quantity": (_amount(), None),
    "min_notional": (_amount(zero=True), "5"),
    "max_orders": (_integer(1, 10_000), 200),
    "fee_rate": (_rate, "0.001"),
    "fee_in": (_choice(RECEIVED, QUOTE, IN_BNB), RECEIVED),
    "bnb_price": (_amount(), "600"),
    "spread": (_rate, "0"),
    "self_trade_prevention": (_choice(*PREVENTION_MODES), NO_PREVENTION),
    "balances": (_balances, None),
    "weight_per_minute": (_integer(1, 10**9), 6000),
    "orders_per_10s": (_integer(1, 10**9), 100),
    "faults": (_faults, {}),
    "price_band": (_price_band, {}),
}
# What may be different for each of several symbols; the rest is the exchange's.
OF_A_SYMBOL = (
    "symbol",
    "candles",
    "at_end",
    "seed",
    "start_price",
    "tick_size",
    "lot_size",
    "min_quantity",
    "max_quantity",
    "min_notional",
    "max_orders",
    "price_band",
    "bnb_price",
    "spread",
    "self_trade_prevention",
)
SYMBOLS = "symbols"
PORTS = ("port", "stream_port")
DEFAULT_QUOTE = "10000"


def load_config(path: Path | None, flags: Mapping[str, object]) -> ExchangeConfig:
    """Read the settings.

    Args:
        path: a TOML file, or None.
        flags: settings given on the command line, which win.

    Raises:
        UserError: one line that names the setting, its value and what would do.
    """
    where = "" if path is None else f"{path}: "
    given = {} if path is None else _read_toml(path)
    tables = given.pop(SYMBOLS, None)
    if tables is None:
        return _read(given, flags, where)
    if not isinstance(tables, list) or not tables:
        raise UserError(f"{where}symbols = {_shown(tables)}: needs tables, such as [[symbols]]")
    if "symbol" in given or flags.get("symbol") is not None:
        raise UserError(f"{where}symbol stands in each of [[symbols]], and nowhere else")
    each = []
    for number, table in enumerate(tables, start=1):
        place = f"{where}symbols, table {number}: "
        each.append(_read(given | _of_a_symbol(table, place), flags, place))
    names = [config.symbol for config in each]
    if len({name.replace("/", "") for name in names}) < len(names):
        raise UserError(f"{where}symbols = {', '.join(names)}: needs each symbol once")
    return replace(each[0], symbols=tuple(each))


def _of_a_symbol(table: object, where: str) -> dict[str, object]:
    """A table of [[symbols]], which names its symbol and what is its own."""
    if not isinstance(table, Mapping) or "symbol" not in table:
        raise UserError(f'{where}needs a table with symbol, such as symbol = "BTC/USDT"')
    for name in table:
        if name not in OF_A_SYMBOL:
            raise UserError(
                f"{where}{name} is no setting of a symbol; these are {', '.join(OF_A_SYMBOL)}"
            )
    return dict(table)


def _read(given: Mapping[str, object], flags: Mapping[str, object], where: str) -> ExchangeConfig:
    """The settings of one symbol, and those of the exchange."""
    for name in given:
        if name not in SETTINGS:
            raise UserError(f"{where}unknown setting {name}{_suggestion(name)}")
    values: dict[str, object] = {}
    for name, (read, default) in SETTINGS.items():
        from_flag = flags.get(name) is not None
        value = flags[name] if from_flag else given.get(name, default)
        number = isinstance(default, int) or name in PORTS
        if from_flag and number and str(value).isdecimal():
            value = int(str(value))  # a flag is always text, a number in TOML is a number
        if value is REQUIRED:
            raise UserError(
                f"{where}{name} is missing: set it in the file or give --{name.replace('_', '-')}"
            )
        if value is None:
            values[name] = None
            continue
        try:
            values[name] = read(value)
        except _WrongValue as error:
            origin = "" if from_flag else where
            raise UserError(f"{origin}{name} = {_shown(value)}: {error}") from error
    return _complete(values, where)


def _complete(values: dict[str, object], where: str) -> ExchangeConfig:
    """Fill in what follows from other settings, and check what must fit together."""
    quote = str(values["symbol"]).partition("/")[2]
    if values["balances"] is None:
        values["balances"] = {quote: Decimal(DEFAULT_QUOTE)}
    config = ExchangeConfig(**values)  # type: ignore[arg-type]  # each was read by its reader
    smallest = config.min_quantity or config.lot_size
    if smallest and config.max_quantity and smallest > config.max_quantity:
        raise UserError(
            f"{where}min_quantity = {plain(smallest)}: needs at most max_quantity ="
            f" {plain(config.max_quantity)}"
        )
    if config.tick_size is not None and config.start_price < config.tick_size:
        raise UserError(
            f"{where}start_price = {plain(config.start_price)}: needs at least tick_size ="
            f" {plain(config.tick_size)}"
        )
    return config


def _read_toml(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is not TOML: {error}") from error


def _suggestion(name: str) -> str:
    close = difflib.get_close_matches(name, SETTINGS, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(SETTINGS)}"


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    text = " ".join(text.split())
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."
