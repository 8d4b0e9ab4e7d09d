"""Reads both configurations as the bot and its exchange would, on the controller.

Input: a JSON list of objects with `names` (of the hosts that have it) and `text`, JSON again: the
texts `bot` and `exchange` (empty in live mode), and `candles`: the recorded markets, path in the
container to path here. Prints one line for each that is wrong, and ends with status 2; says nothing
and ends with 0 where all are right.
"""

import contextlib
import io
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from gridbase.errors import UserError
from gridbase.market import plain
from gridbot.cli import main as gridbot
from gridbot.config.load import BotConfig, GridConfig, load_config
from gridbot.core.grid import make_plan
from gridbot.trading.start_range import check_start
from gridexchange.config import ExchangeConfig
from gridexchange.config import load_config as load_exchange_config
from gridexchange.opening import market_rules, opening_price


def check_bot(path: Path) -> None:
    """Have the bot read its configuration.

    Raises:
        UserError: what the bot says is wrong with it.
    """
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        status = gridbot(["check", "--offline", "--config", str(path)])
    if status:
        raise UserError(said.getvalue().strip() or f"gridbot check ended with {status}")


def listings(path: Path, candles: dict[str, str]) -> Iterator[ExchangeConfig]:
    """Yield the exchange's settings for each symbol, with its candles where they are here."""
    try:
        config = load_exchange_config(path, {})
    except UserError as error:
        raise UserError(f"gridexchange: {error}") from error
    for each in config.each_symbol:
        here = None if each.candles is None else Path(candles[str(each.candles)])
        yield replace(each, candles=here)


def investment(grid: GridConfig, listing: ExchangeConfig) -> Decimal:
    """Plan a grid where its market begins, by the rules of its exchange.

    Returns:
        What it may spend (quote); 0 where only the market can say.

    Raises:
        UserError: it cannot begin there.
    """
    spec = grid.grid.fixed
    if spec is None or listing.live:
        return grid.grid.investment or Decimal(0)
    price = opening_price(listing)
    market = market_rules(listing, price)
    try:
        plan = make_plan(spec, market, grid.fees, price)
        check_start(grid, plan, market)
    except UserError as error:
        raise UserError(f"{grid.symbol} begins at {plain(price)}: {error}") from error
    return plan.investment


def check_together(bot: BotConfig, markets: list[ExchangeConfig]) -> None:
    """Plan each grid where its market begins.

    Raises:
        UserError: a grid cannot begin there, or the account has too little for all of them.
    """
    needed: defaultdict[str, Decimal] = defaultdict(Decimal)
    symbols: defaultdict[str, list[str]] = defaultdict(list)
    for grid, listing in zip(bot.grids, markets, strict=True):
        needed[grid.quote] += investment(grid, listing)
        symbols[grid.quote].append(grid.symbol)
    balances = markets[0].balances
    for coin, amount in needed.items():
        if amount > balances.get(coin, 0):
            raise UserError(
                f"{', '.join(symbols[coin])}: needs {plain(amount)} {coin}, more than the"
                f" {plain(balances.get(coin, Decimal(0)))} {coin} of grid_bot_exchange_balance"
            )


def problem(given: dict[str, Any]) -> str:
    """Return in one line what is wrong with a bot's and its exchange's texts; empty for nothing."""
    with tempfile.TemporaryDirectory() as directory:
        paths = {name: Path(directory, f"{name}.toml") for name in ("bot", "exchange")}
        for name, path in paths.items():
            path.write_text(given[name], encoding="utf-8")
        try:
            check_bot(paths["bot"])
            if given["exchange"]:
                markets = list(listings(paths["exchange"], given["candles"]))
                check_together(load_config(paths["bot"]), markets)
        except UserError as error:
            line = str(error).splitlines()[-1]
            for path in paths.values():
                for prefix in (f"configuration {path}: ", f"{path}: "):
                    line = line.replace(prefix, "")
            return line
    return ""


def main() -> int:
    """Check what standard input holds; returns the exit status."""
    status = 0
    for one in json.load(sys.stdin):
        if line := problem(json.loads(one["text"])):
            print(f"{one['names']}: {line}", file=sys.stderr)
            status = 2
    return status


if __name__ == "__main__":
    sys.exit(main())
