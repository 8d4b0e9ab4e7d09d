"""The bot's configuration: one TOML file, read strictly.

Every mistake is one line that names the setting, its value and what would do. Secrets are not
read here: see `gridbase.secret_files`.
"""

import tomllib
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from gridbase.errors import UserError
from gridbase.market import coins_of, plain

from gridbot.config.settings import flatten, read_settings, split_grids
from gridbot.core.grid import AtrRange, Fees, FeesIn, GridSettings, Spacing
from gridbot.policies.buy_filters import TrendFilter, VolatilityFilter
from gridbot.policies.kill_switches import StopRules
from gridbot.policies.kill_switches import check as check_stops
from gridbot.policies.range_moves import Reposition

LIVE_CONFIRMATION = "I accept that this bot trades real money"
# The embedded exchange speaks their language.
PAPER_EXCHANGES = ("binance", "binanceus")


@dataclass(frozen=True)
class ExchangeConfig:
    """Which exchange, and how to reach it.

    Attributes:
        name: its name in ccxt.
        url: of a practice exchange; None in live mode.
        stream_url: of a practice exchange's streams; None where it is asked instead, and in live
            mode, where the exchange's own is known.
        api_key_file: file with the key.
        api_secret_file: file with the secret.
        timeout_seconds: how long an answer may take.
    """

    name: str
    url: str | None
    stream_url: str | None
    api_key_file: Path
    api_secret_file: Path
    timeout_seconds: Decimal


@dataclass(frozen=True)
class PageConfig:
    """Where the page, `/api/status` and `/health` are served."""

    host: str
    port: int


@dataclass(frozen=True)
class ArchiveConfig:
    """When books move from the database to the archive.

    Attributes:
        positions: closed positions of a grid that stay in the database.
        format: csv or parquet.
        days: after so many, what is left of an ended grid moves as well.
    """

    positions: int
    format: str
    days: int


@dataclass(frozen=True)
class Config:
    """A whole, valid configuration of one grid; `others` are further grids of the same bot."""

    path: Path
    mode: str
    bot_name: str
    exchange: ExchangeConfig
    symbol: str
    grid: GridSettings
    fees: Fees
    trend: TrendFilter
    volatility: VolatilityFilter
    reposition: Reposition
    stop: StopRules
    state_directory: Path
    archive: ArchiveConfig
    page: PageConfig
    poll_seconds: Decimal
    log_level: str
    others: tuple["Config", ...] = ()

    @property
    def each(self) -> tuple["Config", ...]:
        """One configuration for each grid, in the order of the file."""
        return (self, *self.others)

    @property
    def base(self) -> str:
        """The coin that is traded."""
        return coins_of(self.symbol)[0]

    @property
    def quote(self) -> str:
        """The coin that prices are in."""
        return coins_of(self.symbol)[1]


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
    documents = split_grids(document)
    if len(documents) == 1 and "grids" not in document:
        return _parse_grid(documents[0], path)
    configs: list[Config] = []
    for number, one in enumerate(documents, 1):
        symbol = one["market"]["symbol"]
        try:
            configs.append(_parse_grid(one, path))
        except UserError as error:
            raise UserError(f"grids, entry {number} ({symbol}): {error}") from error
    symbols = [config.symbol for config in configs]
    for symbol in symbols:
        if symbols.count(symbol) > 1:
            raise UserError(f'grids: symbol = "{symbol}" is there twice; one grid for each symbol')
    return replace(configs[0], others=tuple(configs[1:]))


def _parse_grid(document: dict[str, Any], path: Path) -> Config:
    values = read_settings(flatten(document))
    _check_mode(values)
    _check_range(values)
    if (values["grid.investment"] is None) == (values["grid.quantity"] is None):
        state = "both set" if values["grid.quantity"] else "both missing"
        raise UserError(
            f"grid.investment and grid.quantity are {state}: set one, the investment (quote) or "
            "the quantity of each order (base)"
        )
    base, quote = coins_of(values["market.symbol"])
    if base == quote:
        raise UserError(f'market.symbol = "{base}/{quote}" needs two different coins')
    if values["trend.fast"] >= values["trend.slow"]:
        raise UserError(
            f"trend.fast = {values['trend.fast']} must be below trend.slow = {values['trend.slow']}"
        )
    config = _assemble(values, path)
    if config.grid.fixed is not None:
        check_stops(config.stop, config.grid.fixed.lower, config.grid.fixed.upper)
    return config


def _check_range(values: dict[str, Any]) -> None:
    lower, upper = values["grid.lower"], values["grid.upper"]
    if values["grid.range"] == "atr":
        for key in ("grid.lower", "grid.upper"):
            if values[key] is not None:
                raise UserError(
                    f'{key} = {plain(values[key])} must be left out with grid.range = "atr", '
                    "which sets it at the start"
                )
        return
    for key in ("grid.lower", "grid.upper"):
        if values[key] is None:
            raise UserError(f"{key} is missing and has no default")
    if lower >= upper:
        raise UserError(f"grid.lower = {plain(lower)} must be below grid.upper = {plain(upper)}")


def _section(values: dict[str, Any], name: str) -> dict[str, Any]:
    """The settings of one section, by their names in it."""
    return {
        key.partition(".")[2]: value
        for key, value in values.items()
        if key.partition(".")[0] == name and "." in key
    }


def _assemble(values: dict[str, Any], path: Path) -> Config:
    return Config(
        path=path,
        mode=values["mode"],
        bot_name=values["bot_name"],
        exchange=ExchangeConfig(**_section(values, "exchange")),
        symbol=values["market.symbol"],
        grid=_grid(values),
        fees=Fees(rate=values["fees.rate"], taken_in=FeesIn(values["fees.in"])),
        trend=TrendFilter(**_section(values, "trend")),
        volatility=VolatilityFilter(**_section(values, "volatility")),
        reposition=Reposition(**_section(values, "reposition")),
        stop=StopRules(**_section(values, "stop")),
        state_directory=values["state.directory"],
        archive=ArchiveConfig(
            positions=values["archive.positions"],
            format=values["archive.format"],
            days=values["prune.days"],
        ),
        page=PageConfig(host=values["page.host"], port=values["page.port"]),
        poll_seconds=values["loop.poll_seconds"],
        log_level=values["log.level"],
    )


def _grid(values: dict[str, Any]) -> GridSettings:
    atr = None
    if values["grid.range"] == "atr":
        atr = AtrRange(
            interval=values["grid.atr_interval"],
            period=values["grid.atr_period"],
            multiple=values["grid.atr_multiple"],
        )
    return GridSettings(
        lower=values["grid.lower"],
        upper=values["grid.upper"],
        grids=values["grid.grids"],
        spacing=Spacing(values["grid.spacing"]),
        investment=values["grid.investment"],
        quantity=values["grid.quantity"],
        atr=atr,
        post_only=values["grid.post_only"],
        start_outside_range=values["grid.start_outside_range"],
    )


def _check_mode(values: dict[str, Any]) -> None:
    if values["mode"] == "paper":
        if values["exchange.name"] not in PAPER_EXCHANGES:
            raise UserError(
                f'exchange.name = "{values["exchange.name"]}" is for mode = "live"; paper mode '
                f"knows {' and '.join(PAPER_EXCHANGES)}, whose API the embedded exchange speaks"
            )
        if values["exchange.url"] is None:
            raise UserError(
                "exchange.url is missing: paper mode needs the address of a practice exchange, "
                "such as http://exchange:8000"
            )
        return
    for key in ("exchange.url", "exchange.stream_url"):
        if values[key] is not None:
            raise UserError(
                f'{key} = "{values[key]}" must be left out in live mode: the bot '
                "then talks to the exchange itself"
            )
    if values["live_confirmation"] != LIVE_CONFIRMATION:
        raise UserError(f'mode = "live" also needs live_confirmation = "{LIVE_CONFIRMATION}"')
