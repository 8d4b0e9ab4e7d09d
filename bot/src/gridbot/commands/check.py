"""`gridbot check`: validate a configuration and print the plan. Places no order."""

import argparse
import dataclasses
import json
from decimal import Decimal, InvalidOperation
from typing import Any

from gridbot.commands.arguments import add_config, add_json
from gridbot.config import Config, load_config
from gridbot.errors import ExitCode, UserError
from gridbot.grid import Plan, make_plan, pair_profit, plan_warnings
from gridbot.market import EXACT, Market, plain
from gridbot.orders import client_prefix

# Offline the exchange's rules are not known. These refuse nothing that it might allow.
OFFLINE_STEP = Decimal("0.00000001")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    add_config(parser)
    add_json(parser)
    parser.add_argument(
        "--offline",
        action="store_true",
        help="do not ask the exchange: no key is read, and its minimums are not checked",
    )
    parser.add_argument(
        "--price",
        metavar="AMOUNT",
        help="plan for this start price (default: the price now; offline, the middle of the range)",
    )


def run(args: argparse.Namespace) -> int:
    """Print the plan; exit 2 where the configuration will not do."""
    config = load_config(args.config)
    price = None if args.price is None else _price(args.price)
    if args.offline:
        market, funds = _assumed_market(config), None
        price = price or (config.grid.lower + config.grid.upper) / 2
    else:
        market, price, funds = _ask_exchange(config, price)
    plan = make_plan(config.grid, market, config.fees, price)
    document = _document(config, market, plan, offline=args.offline)
    document["funds"] = None if funds is None else plain(funds)
    if args.json:
        print(json.dumps(document))
    else:
        print(_text(config, document))
    if funds is not None and funds < config.grid.investment:
        raise UserError(
            f"grid.investment = {plain(config.grid.investment)} is more than the "
            f"{plain(funds)} {config.quote} that the account has free"
        )
    return ExitCode.OK


def _price(text: str) -> Decimal:
    try:
        price = Decimal(text)
    except InvalidOperation:
        price = Decimal(0)
    if not price.is_finite() or price <= 0:
        raise UserError(f"--price = {text} needs an amount above 0")
    return price


def _assumed_market(config: Config) -> Market:
    return Market(
        symbol=config.symbol,
        base=config.base,
        quote=config.quote,
        tick_size=OFFLINE_STEP,
        lot_size=OFFLINE_STEP,
        min_quantity=Decimal(0),
        min_notional=Decimal(0),
    )


def _ask_exchange(config: Config, price: Decimal | None) -> tuple[Market, Decimal, Decimal | None]:
    # Offline, on the controller, the packages that talk to an exchange need not be there.
    from gridbot.clock import SystemClock
    from gridbot.commands.parts import open_broker

    broker = open_broker(config, SystemClock())
    try:
        market = broker.connect()
        broker.balances()
        free: Decimal | None = broker.free_balance(config.quote)
        prefix = client_prefix(config.bot_name, market.exchange_symbol)
        if any(order.client_id.startswith(prefix) for order in broker.open_orders()):
            free = None  # its grid is open: what it may spend is in its orders
        return market, price or broker.ask_price(), free
    finally:
        broker.close()


def _document(config: Config, market: Market, plan: Plan, *, offline: bool) -> dict[str, Any]:
    profits = [pair_profit(plan, line, market, config.fees) for line in range(len(plan.lines) - 1)]
    buys = sum((plan.lines[line] for line in plan.buy_lines), Decimal(0))
    cost = EXACT.add(EXACT.multiply(plan.quantity, buys), plan.initial_cost)
    rules = {
        key: value if value is None or isinstance(value, (str, int)) else plain(value)
        for key, value in dataclasses.asdict(market).items()
    }
    return {
        "mode": config.mode,
        "symbol": config.symbol,
        "offline": offline,
        "market": None if offline else rules,
        "start_price": plain(plan.start_price),
        "lines": [plain(line) for line in plan.lines],
        "empty_line": plan.empty_line,
        "buys": len(plan.buy_lines),
        "sells": len(plan.sell_lines),
        "quantity": plain(plan.quantity),
        "initial_quantity": plain(plan.initial_quantity),
        "initial_cost": plain(plan.initial_cost),
        "cost": plain(cost),
        "warnings": plan_warnings(plan, market, config.fees),
        "profit_per_pair": {"lowest": plain(min(profits)), "highest": plain(max(profits))},
    }


def _text(config: Config, document: dict[str, Any]) -> str:
    base, quote = config.base, config.quote
    profit = document["profit_per_pair"]
    known = "not asked: minimums unchecked" if document["offline"] else config.exchange.name
    lines = document["lines"]
    orders = f"{document['buys']} buys, {document['sells']} sells of {document['quantity']} {base}"
    first = f"{document['initial_quantity']} {base} for {document['initial_cost']} {quote}"
    rows = [
        ("mode", config.mode),
        ("market", f"{config.symbol} ({known})"),
        ("start price", f"{document['start_price']} {quote}"),
        ("lines", f"{len(lines)}, {config.grid.spacing}, {lines[0]} to {lines[-1]}"),
        ("orders", orders),
        ("bought first", first),
        ("cost", f"{document['cost']} of {plain(config.grid.investment)} {quote}"),
        ("profit per pair", f"{profit['lowest']} to {profit['highest']} {quote}, after fees"),
        *(("warning", text) for text in document["warnings"]),
    ]
    return "\n".join(f"{label:<16} {value}" for label, value in rows)
