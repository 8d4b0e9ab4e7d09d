"""What `./gridberry try` trades: made-up, recorded or live prices, and a grid that fits them."""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import tomllib
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from fleet.live_price import EXCHANGES, live_price
from inventory.demo_market import DEFAULT_SYMBOL, demo_grid, demo_settings

ROOT = Path(__file__).resolve().parents[1]
# Where the made-up market begins: in the middle of the role's own grid.
START_PRICE = Decimal(46000)


@dataclass(frozen=True)
class Market:
    """What is traded.

    Attributes:
        symbol: Such as BTC/USDT.
        grid: The grid's settings: lower, upper (quote) and grids.
        candles: The recorded prices; None where they are live or made up.
        live: Settings of the practice exchange that follows another; empty where it does not.
    """

    symbol: str
    grid: dict[str, str]
    candles: Path | None
    live: dict[str, str]

    @property
    def name(self) -> str:
        """Its directory's name: the same market finds its books again."""
        if self.candles is None:
            return name_of(self.symbol, self.live.get("live", "made-up"))
        place = hashlib.sha256(os.fsencode(self.candles)).hexdigest()[:8]
        stem = re.sub(r"[^A-Za-z0-9.-]", "-", self.candles.name)
        return name_of(self.symbol, f"{stem}-{place}")

    @property
    def prices(self) -> str:
        """Where its prices come from, in words."""
        if self.live:
            return f"live prices of {self.live['live']}"
        if self.candles is None:
            return "made-up prices (profit here means nothing)"
        return f"recorded prices ({self.candles.name})"


def name_of(symbol: str, prices: str) -> str:
    """Return the name of a market's directory.

    Args:
        symbol: Such as BTC/USDT.
        prices: Which prices.
    """
    return f"{symbol.replace('/', '-')}-{prices}"


def books() -> Path:
    """Return the directory with those of each market."""
    return Path(os.environ.get("GRIDBERRY_STATE", ROOT / ".gridberry")) / "try"


def live_market(options: argparse.Namespace) -> Market:
    """Return the market of an exchange that is followed, with the grid of its books or a new one.

    Args:
        options: The command line's.

    Raises:
        UserError: The exchange cannot be reached, does not list it, or no grid fits its price.
    """
    symbol, exchange = options.symbol or DEFAULT_SYMBOL, options.exchange or EXCHANGES[0]
    price = live_price(exchange, symbol, options.live_rest)
    live = {"live": exchange, "live_rest": options.live_rest, "live_streams": options.live_streams}
    before = books() / name_of(symbol, exchange) / "bot.toml"
    if before.exists():
        grid = tomllib.loads(before.read_text())["grid"]
    else:
        grid = {key.removeprefix("grid_bot_"): text for key, text in demo_grid(price).items()}
    return Market(symbol, grid, None, {key: value for key, value in live.items() if value})


def choose_market(candles: Path | None, symbol: str) -> Market:
    """Return the market and a grid that fits it.

    Args:
        candles: The recorded prices; None for made-up ones.
        symbol: What is traded; empty for what the file's name says, or BTC/USDT.

    Raises:
        UserError: The file cannot be read, or no grid fits its first price.
    """
    if candles is None:
        settings = demo_grid(START_PRICE)
    else:
        candles = candles.absolute()
        settings = demo_settings(candles, symbol)
        symbol = settings.pop("grid_bot_symbol")
    grid = {key.removeprefix("grid_bot_"): value for key, value in settings.items()}
    return Market(symbol or DEFAULT_SYMBOL, grid, candles, {})
