"""`gridbot check`: validate a configuration and print the plan. Places no order."""

import argparse
import dataclasses
import json
import time
from collections import defaultdict
from contextlib import closing
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridbase.errors import ExitCode, UserError, of_grid
from gridbase.market import EXACT, Market, coins_of, plain

from gridbot.commands.arguments import add_config, add_json, add_symbol, chosen
from gridbot.config.load import AccountConfig, BotConfig, GridConfig, load_config
from gridbot.config.summary import policy_lines
from gridbot.core.grid import GridSpec, Plan, make_plan, pair_profit, plan_warnings
from gridbot.core.orders import client_prefix
from gridbot.policies.kill_switches import check as check_stops
from gridbot.trading.start_range import check_start

if TYPE_CHECKING:
    from gridbot.exchanges.port import Broker

# Offline the exchange's rules are not known. These refuse nothing that it might allow.
OFFLINE_STEP = Decimal("0.00000001")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    add_config(parser)
    add_json(parser)
    add_symbol(parser)
    parser.add_argument(
        "--offline",
        action="store_true",
        help="do not ask the exchange: no key is read, and its minimums are not checked",
    )
    parser.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help="also compare with the grids that run in this state directory: exit 1 where a bot "
        "with this configuration would not go on with them",
    )
    parser.add_argument(
        "--price",
        metavar="AMOUNT",
        help="plan for this start price (default: the price now; offline, the middle of the range)",
    )


def run(args: argparse.Namespace) -> int:
    """Print the plans; exit 2 where the configuration is wrong."""
    config = load_config(args.config)
    if args.state is not None:
        _check_running(config, args.state)
    price = None if args.price is None else _price(args.price)
    documents = []
    for one in chosen(config, args.symbol):
        with of_grid(one.symbol):
            document = _offline(one, price) if args.offline else _online(config.account, one, price)
        documents.append({"mode": config.account.mode, **document})
        if not args.json:
            print(_text(config.account.exchange.name, one, documents[-1]))
    if args.json:
        print(json.dumps({**documents[0], "grids": documents}))
    _check_funds(config.grids[0], documents)
    return ExitCode.OK


def _check_running(config: BotConfig, directory: Path) -> None:
    """Refuse a configuration that is not that of the grids which run. The bot may run meanwhile."""
    from gridbot.store import Store
    from gridbot.store.database import FILE_NAME
    from gridbot.trading.run_settings import check_running

    if directory.is_dir() and not (directory / FILE_NAME).exists():
        return  # no bot has begun there
    store = Store(directory.absolute(), read_only=True)
    try:
        check_running(config, store)
    except UserError as error:
        if error.exit_code is not ExitCode.USAGE:
            raise
        raise UserError(str(error), ExitCode.DIFFERS) from error
    finally:
        store.close()


def _offline(config: GridConfig, price: Decimal | None) -> dict[str, Any]:
    market = _assumed_market(config)
    spec = config.grid.fixed
    if spec is None:
        return _document(config, market, None, offline=True)
    plan = make_plan(spec, market, config.fees, price or (spec.lower + spec.upper) / 2)
    check_start(config, plan, market)
    return _document(config, market, plan, offline=True)


def _check_funds(first: GridConfig, documents: list[dict[str, Any]]) -> None:
    """Refuse grids that together need more of a coin than the account has free."""
    needed: defaultdict[str, Decimal] = defaultdict(Decimal)
    symbols: defaultdict[str, list[str]] = defaultdict(list)
    free: dict[str, Decimal] = {}
    for document in documents:
        if document["funds"] is not None:
            _, coin = coins_of(document["symbol"])
            needed[coin] += Decimal(document["investment"])
            symbols[coin].append(document["symbol"])
            free[coin] = Decimal(document["funds"])
    for coin, amount in needed.items():
        if free[coin] < amount:
            setting = "grid.investment" if first.grid.quantity is None else "grid.quantity"
            raise UserError(
                f"{', '.join(symbols[coin])}: {setting}: {plain(amount)} {coin} is more than the "
                f"{plain(free[coin])} {coin} that the account has free; deposit more or invest less"
            )


def _price(text: str) -> Decimal:
    try:
        price = Decimal(text)
    except InvalidOperation:
        price = Decimal(0)
    if not price.is_finite() or price <= 0:
        raise UserError(f"--price = {text} needs an amount above 0")
    return price


def _assumed_market(config: GridConfig) -> Market:
    return Market(
        symbol=config.symbol,
        base=config.base,
        quote=config.quote,
        tick_size=OFFLINE_STEP,
        lot_size=OFFLINE_STEP,
        min_quantity=Decimal(0),
        min_notional=Decimal(0),
    )


def _online(account: AccountConfig, config: GridConfig, price: Decimal | None) -> dict[str, Any]:
    # Offline, on the controller, the packages that talk to an exchange need not be there.
    from gridbase.clock import SystemClock

    from gridbot.exchanges.open_account import open_account

    with closing(open_account(account, SystemClock(), beside=True)) as connected:
        broker = connected.broker(config.symbol)
        market = broker.connect()
        broker.check_key()
        broker.balances()
        free: Decimal | None = broker.free_balance(config.quote)
        prefix = client_prefix(account.bot_name, market.exchange_symbol)
        if any(order.client_id.startswith(prefix) for order in broker.open_orders()):
            free = None  # its grid is open: what it may spend is in its orders
        price = price or broker.ask_price()
        spec = config.grid.fixed or _range_of_now(config, broker, price)
    check_stops(config.stop, spec.lower, spec.upper)
    plan = make_plan(spec, market, config.fees, price)
    if free is not None:  # a grid that runs may be outside its range by now
        check_start(config, plan, market)
    document = _document(config, market, plan, offline=False)
    document["funds"] = None if free is None else plain(free)
    return document


def _range_of_now(config: GridConfig, broker: "Broker", price: Decimal) -> GridSpec:
    """The range that a grid would get if it began now."""
    from gridbot.indicators.candle_cache import CandleCache
    from gridbot.policies.atr_range import atr_range, candles_for_range

    atr = config.grid.atr
    if atr is None:
        raise AssertionError("a range is fixed or taken from the market")
    cache = CandleCache(broker.candles)
    window = cache.series(atr.interval, candles_for_range(atr.period), time.time_ns() // 1_000_000)
    return config.grid.spec(*atr_range(window, price, atr.period, atr.multiple))


def _document(
    config: GridConfig, market: Market, plan: Plan | None, *, offline: bool
) -> dict[str, Any]:
    document: dict[str, Any] = {
        "symbol": config.symbol,
        "offline": offline,
        "market": None if offline else _rules(market),
        "policies": policy_lines(config),
        "funds": None,
    }
    if plan is None:
        return document | {"lines": [], "warnings": []}
    profits = [pair_profit(plan, line, market, config.fees) for line in range(len(plan.lines) - 1)]
    buys = sum((plan.lines[line] for line in plan.buy_lines), Decimal(0))
    cost = EXACT.add(EXACT.multiply(plan.quantity, buys), plan.initial_cost)
    return document | {
        "start_price": plain(plan.start_price),
        "lines": [plain(line) for line in plan.lines],
        "empty_line": plan.empty_line,
        "buys": len(plan.buy_lines),
        "sells": len(plan.sell_lines),
        "quantity": plain(plan.quantity),
        "investment": plain(plan.investment),
        "initial_quantity": plain(plan.initial_quantity),
        "initial_cost": plain(plan.initial_cost),
        "cost": plain(cost),
        "warnings": plan_warnings(plan, market, config.fees),
        "profit_per_pair": {"lowest": plain(min(profits)), "highest": plain(max(profits))},
    }


def _rules(market: Market) -> dict[str, Any]:
    def shown(value: Any) -> Any:
        if isinstance(value, tuple):
            return [plain(one) for one in value]
        return plain(value) if isinstance(value, Decimal) else value

    return {key: shown(value) for key, value in dataclasses.asdict(market).items()}


def _text(exchange: str, config: GridConfig, document: dict[str, Any]) -> str:
    known = "not asked: minimums unchecked" if document["offline"] else exchange
    rows = [("mode", document["mode"]), ("market", f"{config.symbol} ({known})")]
    if document["lines"]:
        rows += _plan_rows(config, document)
    else:
        rows.append(("lines", f"{config.grid.grids + 1}, range taken from the market at the start"))
    rows += [("policy", text) for text in document["policies"]]
    rows += [("warning", text) for text in document["warnings"]]
    return "\n".join(f"{label:<16} {value}" for label, value in rows)


def _plan_rows(config: GridConfig, document: dict[str, Any]) -> list[tuple[str, str]]:
    base, quote = config.base, config.quote
    profit, lines = document["profit_per_pair"], document["lines"]
    orders = f"{document['buys']} buys, {document['sells']} sells of {document['quantity']} {base}"
    costs = "after fees"
    if document["offline"]:
        costs += "; less what the exchange's lot size leaves unsold"
    first = f"{document['initial_quantity']} {base} for {document['initial_cost']} {quote}"
    return [
        ("start price", f"{document['start_price']} {quote}"),
        ("lines", f"{len(lines)}, {config.grid.spacing}, {lines[0]} to {lines[-1]}"),
        ("orders", orders),
        ("bought first", first),
        ("cost", f"{document['cost']} of {document['investment']} {quote}"),
        ("profit per pair", f"{profit['lowest']} to {profit['highest']} {quote}, {costs}"),
    ]
