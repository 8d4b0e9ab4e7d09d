"""The bot's configuration: one TOML file, read strictly.

Every mistake is one line that names the setting, its value and what is allowed. Secrets are not
read here: see `gridbase.secret_files`.
"""

import tomllib
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from gridbase.errors import UserError
from gridbase.market import coins_of, plain

from gridbot.config.account_guard import AccountGuardConfig, account_guard_of
from gridbot.config.alerts import AlertsConfig, alerts_of
from gridbot.config.gateway import IB, GatewayConfig, check_keys, check_stock, gateway_of
from gridbot.config.settings import flatten, read_settings, split_grids
from gridbot.core.grid import AtrRange, Fees, FeesIn, GridSettings, Spacing
from gridbot.policies.buy_filters import TrendFilter, VolatilityFilter
from gridbot.policies.kill_switches import KillSwitchRules
from gridbot.policies.kill_switches import check as check_stops
from gridbot.policies.range_moves import Reposition

LIVE_CONFIRMATION = "I accept that this bot trades real money"
# The practice exchange speaks their language.
PAPER_EXCHANGES = ("binance", "binanceus")


@dataclass(frozen=True)
class ExchangeConfig:
    """Which exchange, and how to reach it.

    Attributes:
        name: its name in ccxt.
        url: of a practice exchange; None in live mode.
        stream_url: of a practice exchange's streams; None where it is asked instead, and in live
            mode, where the exchange's own is known.
        api_key_file: file with the key; None where an exchange has none.
        api_secret_file: file with the secret; None likewise.
        timeout_seconds: how long an answer may take.
        request_share: percent of the request weight of its address that this bot may use.
        gateway: of Interactive Brokers; None on other exchanges.
        testnet: whether it is the exchange's own test network, where money is play money.
    """

    name: str
    url: str | None
    stream_url: str | None
    api_key_file: Path | None
    api_secret_file: Path | None
    timeout_seconds: Decimal
    testnet: bool = False
    request_share: int = 100
    gateway: GatewayConfig | None = None


@dataclass(frozen=True)
class PageConfig:
    """Where the page, its API and `/health` are served, and who can do what there.

    Attributes:
        host: address to listen on.
        port: to listen on.
        tokens_file: tokens of the API; None: it is off.
        acting: whether a token of scope `act` can act.
        act_from: networks from which plain HTTP is as good as from loopback.
        trusted_proxies: networks of proxies whose word on HTTPS is taken.
        hosts: names that a browser may know the page by, for signing in and acting.
    """

    host: str
    port: int
    tokens_file: Path | None = None
    acting: bool = False
    act_from: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True)
class AccountConfig:
    """Whose account the grids trade on, and under which name.

    Attributes:
        path: the file that says so, for messages.
        mode: live or paper.
        bot_name: its orders bear it.
        exchange: where the account is.
        poll_seconds: how often is asked for what no stream tells.
    """

    path: Path
    mode: str
    bot_name: str
    exchange: ExchangeConfig
    poll_seconds: Decimal


@dataclass(frozen=True)
class GridConfig:
    """One grid of a bot: its symbol, its lines and its rules."""

    symbol: str
    grid: GridSettings
    fees: Fees
    trend: TrendFilter
    volatility: VolatilityFilter
    reposition: Reposition
    stop: KillSwitchRules

    @property
    def base(self) -> str:
        """The coin that is traded."""
        return coins_of(self.symbol)[0]

    @property
    def quote(self) -> str:
        """The coin that prices are in."""
        return coins_of(self.symbol)[1]


@dataclass(frozen=True)
class BotConfig:
    """A whole, valid configuration: one bot on one account, with its grids as the file has them."""

    account: AccountConfig
    state_directory: Path
    page: PageConfig
    log_level: str
    log_format: str
    metrics_token_file: Path | None
    alerts: AlertsConfig
    account_guard: AccountGuardConfig
    grids: tuple[GridConfig, ...]


def load_config(path: Path) -> BotConfig:
    """Read a configuration file.

    Raises:
        UserError: the file cannot be read, or a setting in it is not allowed.
    """
    try:
        return parse_config(tomllib.loads(path.read_bytes().decode()), path)
    except OSError as error:
        raise UserError(f"configuration {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"configuration {path}: is not UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"configuration {path}: is not valid TOML: {error}") from error
    except UserError as error:
        raise UserError(f"configuration {path}: {error}") from error


def parse_config(document: dict[str, Any], path: Path) -> BotConfig:
    """Check a parsed document and turn it into a configuration.

    Raises:
        UserError: one line that names the setting, its value and what is allowed.
    """
    values: dict[str, Any] = {}
    grids: list[GridConfig] = []
    for number, one in enumerate(split_grids(document), 1):
        try:
            values = read_settings(flatten(one))
            grids.append(_parse_grid(values))
        except UserError as error:
            if "grids" not in document:
                raise
            symbol = one["market"]["symbol"]
            raise UserError(f"grids, entry {number} ({symbol}): {error}") from error
    symbols = [grid.symbol for grid in grids]
    for symbol in symbols:
        if symbols.count(symbol) > 1:
            raise UserError(f'grids: symbol = "{symbol}" is there twice; one grid for each symbol')
    # What holds for all of them was read with each.
    return BotConfig(
        account=AccountConfig(
            path=path,
            mode=values["mode"],
            bot_name=values["bot_name"],
            exchange=_exchange(values),
            poll_seconds=values["loop.poll_seconds"],
        ),
        state_directory=values["state.directory"],
        page=_page(values),
        log_level=values["log.level"],
        log_format=values["log.format"],
        metrics_token_file=values["metrics.token_file"],
        alerts=alerts_of(_section(values, "alerts"), values["bot_name"]),
        account_guard=account_guard_of(_section(values, "account_guard"), symbols),
        grids=tuple(grids),
    )


def _page(values: dict[str, Any]) -> PageConfig:
    page = PageConfig(**_section(values, "page"))
    if page.acting and page.tokens_file is None:
        raise UserError("page.acting = true needs page.tokens_file, the file of the tokens")
    return page


def _exchange(values: dict[str, Any]) -> ExchangeConfig:
    section = _section(values, "exchange")
    gateway = gateway_of(section)
    return ExchangeConfig(**section, gateway=gateway)


def _parse_grid(values: dict[str, Any]) -> GridConfig:
    check_keys(values)
    check_stock(values)
    _check_mode(values)
    _check_share(values)
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
    grid, stop = _grid(values), KillSwitchRules(**_section(values, "stop"))
    if grid.fixed is not None:
        check_stops(stop, grid.fixed.lower, grid.fixed.upper)
    return GridConfig(
        symbol=values["market.symbol"],
        grid=grid,
        fees=Fees(rate=values["fees.rate"], taken_in=FeesIn(values["fees.in"])),
        trend=TrendFilter(**_section(values, "trend")),
        volatility=VolatilityFilter(**_section(values, "volatility")),
        reposition=Reposition(**_section(values, "reposition")),
        stop=stop,
    )


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
    head = f"{name}."
    return {key[len(head) :]: value for key, value in values.items() if key.startswith(head)}


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
        outside_range_purchase=values["grid.outside_range_purchase"],
        allow_losing_pairs=values["grid.allow_losing_pairs"],
    )


def _check_share(values: dict[str, Any]) -> None:
    share = values["exchange.request_share"]
    if share != 100 and values["exchange.name"] not in PAPER_EXCHANGES:
        raise UserError(
            f"exchange.request_share = {share} is for {' and '.join(PAPER_EXCHANGES)}, whose "
            "request weights are known; leave it out"
        )


def _check_testnet(values: dict[str, Any]) -> None:
    if values["mode"] != "paper":
        raise UserError('exchange.testnet = true is play money: use it with mode = "paper"')
    if values["exchange.name"] == "binanceus":
        raise UserError("exchange.testnet = true: Binance.US has no test network; leave it out")
    for key in ("exchange.url", "exchange.stream_url"):
        if values[key] is not None:
            raise UserError(
                f'{key} = "{values[key]}" must be left out with exchange.testnet = true: the '
                "bot knows the test network's address"
            )


def _check_mode(values: dict[str, Any]) -> None:
    if values["exchange.testnet"]:
        _check_testnet(values)
        return
    if values["mode"] == "paper" and values["exchange.name"] == IB:
        return  # the account is one of play money: the adapter checks it
    if values["mode"] == "paper":
        if values["exchange.name"] not in PAPER_EXCHANGES:
            raise UserError(
                f'exchange.name = "{values["exchange.name"]}" is for mode = "live"; paper mode '
                f"knows {' and '.join(PAPER_EXCHANGES)}, whose API the practice exchange speaks"
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
