"""Settings of the practice exchange: a TOML file, flags over it, each value checked strictly."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

from gridbase.errors import UserError
from gridbase.market import plain
from gridbase.public_rest import ADDRESSES
from gridbase.settings import (
    Read,
    WrongValueError,
    any_path,
    choice,
    declared,
    integer,
    known_names,
    read_each,
    read_toml,
    switch,
    text,
)

from gridexchange.faults.plan import FaultSettings
from gridexchange.faults.settings import read_faults, told
from gridexchange.market.feed import HOLD, REPEAT
from gridexchange.matching.orders import NO_PREVENTION, PREVENTION_MODES
from gridexchange.matching.rules import IN_BNB, QUOTE, RECEIVED, PriceBand

AMOUNT = re.compile(r"[0-9]{1,15}(\.[0-9]{1,8})?", re.ASCII)
COIN = re.compile(r"[A-Z0-9]{1,10}", re.ASCII)
HIGHEST_SPEED = 100_000
LONGEST_AVERAGE = 1440  # minutes
LIVE = ADDRESSES  # exchanges whose live prices can be followed
ADDRESS = re.compile(r"(https?|wss?)://[A-Za-z0-9.-]+(:[0-9]{1,5})?", re.ASCII)


def _candles(value: object) -> Path | None:
    return None if value == "" else any_path(value)


def _address(*schemes: str) -> Read:
    def read(value: object) -> str:
        given = "" if value == "" else text(value).rstrip("/")
        if given and not (ADDRESS.fullmatch(given) and given.partition(":")[0] in schemes):
            raise WrongValueError(f"needs {schemes[0]}://HOST or {schemes[1]}://HOST, maybe :PORT")
        return given

    return read


def _amount(*, zero: bool = False) -> Read:
    bound = "of 0 or more" if zero else "above 0"

    def read(value: object) -> Decimal:
        if isinstance(value, float):
            raise WrongValueError('needs quotes, as TOML numbers with a point are not exact: "0.1"')
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if not isinstance(text, str) or not AMOUNT.fullmatch(text):
            raise WrongValueError(f"needs an amount {bound} with at most 8 decimals")
        amount = Decimal(text)
        if amount == 0 and not zero:
            raise WrongValueError(f"needs an amount {bound}")
        return amount

    return read


def _rate(value: object) -> Decimal:
    rate: Decimal = _amount(zero=True)(value)
    if rate >= 1:
        raise WrongValueError('needs a share from "0" to below "1", such as "0.001" for 0.1 %')
    return rate


def _speed(value: object) -> Fraction:
    number = None
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            number = Fraction(str(value))
        except (ValueError, ZeroDivisionError):
            number = None
    if number is None or not Fraction(1, 1000) <= number <= HIGHEST_SPEED:
        raise WrongValueError(f"needs a number from 0.001 to {HIGHEST_SPEED}")
    return number


def _symbol(value: object) -> str:
    base, _, quote = text(value).partition("/")
    if not COIN.fullmatch(base) or not COIN.fullmatch(quote) or base == quote:
        raise WrongValueError("needs two different coins in capitals, such as BTC/USDT")
    return f"{base}/{quote}"


def _balances(value: object) -> dict[str, Decimal]:
    if not isinstance(value, Mapping):
        raise WrongValueError('needs a table of coins and amounts, such as USDT = "10000"')
    for coin in value:
        if not COIN.fullmatch(coin):
            raise WrongValueError(f"needs coins in capitals, not {coin}")
    return read_each(dict.fromkeys(value, _amount(zero=True)), value, told)


def _price_band(value: object) -> PriceBand:
    amounts = ("bid_up", "bid_down", "ask_up", "ask_down")
    known = dict.fromkeys(amounts, _amount()) | {"minutes": integer(0, LONGEST_AVERAGE)}
    if not isinstance(value, Mapping) or not set(value) <= set(known):
        raise WrongValueError(f"needs a table with {', '.join(known)}")
    band = PriceBand(**read_each(known, value, told))
    if not (band.bid_down <= 1 <= band.bid_up and band.ask_down <= 1 <= band.ask_up):
        raise WrongValueError("needs multiples down of at most 1 and up of at least 1")
    return band


NO_FAULTS = FaultSettings()
USUAL_BAND = PriceBand()
OF_A_SYMBOL = "may be different for each of several symbols"


@dataclass(frozen=True, kw_only=True)
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
        withdrawals: whether the API key says of itself that it may withdraw.
        candles: recorded market; None makes a synthetic one.
        live: name of the exchange whose public prices are followed; empty for none.
        live_rest: where it answers; empty for its own address.
        live_streams: where it streams; empty for its own address.
        at_end: what happens after the last recorded candle: repeat or hold.
        speed: market seconds in a real second.
        seed: of the synthetic market.
        start_price: where the synthetic market begins, in quote.
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
        book_levels: what others offer on each side of the book; 1 for the best price alone.
        self_trade_prevention: mode of orders that name none.
        balances: what a new account starts with, by coin.
        weight_per_minute: request weight that one address may use in a minute.
        orders_per_10s: new orders that are accepted in ten seconds.
        faults: what goes wrong on purpose.
        price_band: how far limit prices may be from the last price.
        symbols: the same settings for each symbol where there are several; empty for one.
    """

    host: Annotated[str, text] = "127.0.0.1"
    port: Annotated[int, integer(0, 65535)] = 8000
    stream_port: Annotated[int | None, integer(0, 65535)] = None
    stream_connections: Annotated[int, integer(1, 1000)] = 32
    state_directory: Annotated[Path, any_path]
    api_key_file: Annotated[Path, any_path]
    api_secret_file: Annotated[Path, any_path]
    withdrawals: Annotated[bool, switch] = False
    symbol: Annotated[str, _symbol, OF_A_SYMBOL] = "BTC/USDT"
    candles: Annotated[Path | None, _candles, OF_A_SYMBOL] = None
    live: Annotated[str, choice("", *LIVE, quote='"')] = ""
    live_rest: Annotated[str, _address("https", "http")] = ""
    live_streams: Annotated[str, _address("wss", "ws")] = ""
    at_end: Annotated[str, choice(REPEAT, HOLD), OF_A_SYMBOL] = REPEAT
    speed: Annotated[Fraction, _speed] = Fraction(60)
    seed: Annotated[int, integer(0, 2**63 - 1), OF_A_SYMBOL] = 7
    start_price: Annotated[Decimal, _amount(), OF_A_SYMBOL] = Decimal(50_000)
    tick_size: Annotated[Decimal | None, _amount(), OF_A_SYMBOL] = None
    lot_size: Annotated[Decimal | None, _amount(), OF_A_SYMBOL] = None
    min_quantity: Annotated[Decimal | None, _amount(), OF_A_SYMBOL] = None
    max_quantity: Annotated[Decimal | None, _amount(), OF_A_SYMBOL] = None
    min_notional: Annotated[Decimal, _amount(zero=True), OF_A_SYMBOL] = Decimal(5)
    max_orders: Annotated[int, integer(1, 10_000), OF_A_SYMBOL] = 200
    fee_rate: Annotated[Decimal, _rate] = Decimal("0.001")
    fee_in: Annotated[str, choice(RECEIVED, QUOTE, IN_BNB)] = RECEIVED
    bnb_price: Annotated[Decimal, _amount(), OF_A_SYMBOL] = Decimal(600)
    spread: Annotated[Decimal, _rate, OF_A_SYMBOL] = Decimal(0)
    book_levels: Annotated[int, integer(1, 1_000), OF_A_SYMBOL] = 1
    self_trade_prevention: Annotated[str, choice(*PREVENTION_MODES), OF_A_SYMBOL] = NO_PREVENTION
    balances: Annotated[dict[str, Decimal], _balances]
    weight_per_minute: Annotated[int, integer(1, 10**9)] = 6000
    orders_per_10s: Annotated[int, integer(1, 10**9)] = 100
    faults: Annotated[FaultSettings, read_faults] = NO_FAULTS
    price_band: Annotated[PriceBand, _price_band, OF_A_SYMBOL] = USUAL_BAND
    symbols: tuple["ExchangeConfig", ...] = ()

    @property
    def each_symbol(self) -> tuple["ExchangeConfig", ...]:
        """The settings as they are for each symbol."""
        return self.symbols or (self,)

    @property
    def live_addresses(self) -> tuple[str, str]:
        """Where the exchange that is followed answers, and where it streams."""
        rest, streams = LIVE[self.live]
        return self.live_rest or rest, self.live_streams or streams


_ANNOTATED = declared(ExchangeConfig)
SETTINGS: dict[str, Read] = {name: said[0] for name, said in _ANNOTATED.items()}
SYMBOLS = "symbols"
REQUIRED = ("state_directory", "api_key_file", "api_secret_file")
NUMBERS = ("port", "stream_port", "seed")  # of the flags
DEFAULT_QUOTE = Decimal(10_000)
REAL_TIME = Fraction(1)


def load_config(path: Path | None, flags: Mapping[str, object]) -> ExchangeConfig:
    """Read the settings.

    Args:
        path: a TOML file, or None.
        flags: settings given on the command line, which win.

    Raises:
        UserError: one line that names the setting, its value and what is allowed.
    """
    where = "" if path is None else f"{path}: "
    given = {} if path is None else read_toml(path)
    tables = given.pop(SYMBOLS, None)
    if tables is None:
        return _read(given, flags, where)
    if not isinstance(tables, list) or not tables:
        raise UserError(f"{where}{told(SYMBOLS, tables)} needs tables, such as [[symbols]]")
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
    own = [name for name, said in _ANNOTATED.items() if OF_A_SYMBOL in said]
    for name in table:
        if name not in own:
            raise UserError(f"{where}{name} is no setting of a symbol; these are {', '.join(own)}")
    return dict(table)


def _read(given: Mapping[str, object], flags: Mapping[str, object], where: str) -> ExchangeConfig:
    """The settings of one symbol, and those of the exchange."""
    for name in given:
        if name not in SETTINGS:
            raise UserError(f"{where}unknown setting {name}; {known_names(name, SETTINGS)}")
    # A flag is always text, a number in TOML is a number.
    said = {
        name: int(str(value)) if name in NUMBERS and str(value).isdecimal() else value
        for name, value in flags.items()
        if value is not None
    }
    in_file = {name: value for name, value in given.items() if name not in said}
    for name in REQUIRED:
        if name not in said and name not in in_file:
            raise UserError(
                f"{where}{name} is missing: set it in the file or give --{name.replace('_', '-')}"
            )
    values = read_each(SETTINGS, in_file, lambda name, value: where + told(name, value))
    values |= read_each(SETTINGS, said, told)
    quote = values.get("symbol", ExchangeConfig.symbol).partition("/")[2]
    usual: dict[str, Any] = {"balances": {quote: DEFAULT_QUOTE}}
    if values.get("live"):
        usual["speed"] = REAL_TIME
    config = ExchangeConfig(**usual | values)
    _check_together(config, where)
    return config


def _check_together(config: ExchangeConfig, where: str) -> None:
    if config.live and config.candles is not None:
        raise UserError(
            f"{where}candles = {config.candles}: not allowed with live = {config.live}, whose"
            " prices are its own"
        )
    if config.live and config.speed != REAL_TIME:
        raise UserError(
            f"{where}speed = {float(config.speed):g}: needs 1 with live = {config.live}"
        )
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
