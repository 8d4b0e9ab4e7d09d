"""What a bot reports about itself: the document behind `/api/status`. Pure."""

import os
from collections.abc import Iterable
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

from gridbase.market import EXACT, plain

from gridbot import __version__
from gridbot.accounting.grid_figures import (
    average_cost,
    distance_percent,
    next_orders,
    profit,
)
from gridbot.accounting.trade_history import Traded
from gridbot.config.load import AccountConfig, GridConfig
from gridbot.config.summary import policy_lines
from gridbot.core.engine import GridEngine
from gridbot.core.orders import Order, OrderState, Side, number_or_text
from gridbot.core.orders_in_flight import Refusal
from gridbot.store import GridRun
from gridbot.trading.session import Answers
from gridbot.trading.trader import Trader

RECENT_FILLS = 20
# What `market` begins with, and what that says of the prices; another word is an exchange's own.
_PRICES = {
    "synthetic": "made-up",
    "recorded": "recorded",
    "live": "live-on-paper",
    "testnet": "testnet",
}


def market_of(label: str, exchange_symbol: str) -> str:
    """One symbol's part of what the exchange says about its market.

    Args:
        label: of one symbol, or of several: ``BTCUSDT synthetic ..., ETHUSDT recorded ...``.
        exchange_symbol: such as ``BTCUSDT``.
    """
    parts = (part.removeprefix(exchange_symbol + " ") for part in label.split(", "))
    own = [part for part, whole in zip(parts, label.split(", "), strict=True) if part != whole]
    return own[0] if own else label


def prices_of(mode: str, market: str, *, connected: bool) -> str:
    """Where a grid's prices come from: what the badge of every view says.

    Args:
        mode: live or paper.
        market: see `market_of`; empty on a real exchange, and before the exchange has answered.
        connected: whether the exchange has answered.

    Returns:
        made-up, recorded, live-on-paper, testnet, exchange, or unknown.
    """
    if market:
        return _PRICES.get(market.split(maxsplit=1)[0], "unknown")
    return "exchange" if mode == "live" or connected else "unknown"


def _testnet(account: AccountConfig) -> str:
    """What `market` says of an exchange's own test network, which is not asked what it is."""
    return "testnet" if account.exchange.testnet else ""


def base_document(account: AccountConfig, config: GridConfig) -> dict[str, Any]:
    """What is known before there is a grid. Amounts are text, times Unix milliseconds."""
    return {
        "version": __version__,
        "bot_name": account.bot_name,
        "mode": account.mode,
        "exchange": account.exchange.name,
        "symbol": config.symbol,
        "base": config.base,
        "quote": config.quote,
        "investment": None if config.grid.investment is None else plain(config.grid.investment),
        "spacing": str(config.grid.spacing),
        "market": _testnet(account),
        "prices": prices_of(account.mode, _testnet(account), connected=False),
        "price": None,
        "open_orders": 0,
        "buys": 0,
        "sells": 0,
        "grid_profit": "0",
        "unrealised_profit": None,
        "profit": None,
        "next": {},
        "equity": None,
        "fees": "0",
        "fees_by_coin": {},
        "foreign_orders": 0,
        "unsettled": 0,
        "answers": Answers().document(),
        "archived": 0,
        "funds_missing": "",
        "paused": "",
        "paused_by_hand": False,
        "halt": None,
        "halting": "",
        "closing": None,
        "range": "fixed" if config.grid.atr is None else "atr",
        "policies": policy_lines(config),
        "started_ms": None,
        "lines": [],
        "orders": [],
        "recent_fills": [],
    }


def status_document(trader: Trader, latest: list[Traded]) -> dict[str, Any]:
    """Everything about a bot and its grid.

    Args:
        trader: the grid.
        latest: its latest trades, newest first; also of a grid that has ended.
    """
    account, config = trader.session.account, trader.session.config
    document = base_document(account, config)
    price = trader.price
    market = market_of(trader.broker.market_label, config.base + config.quote) or _testnet(account)
    document["market"] = market
    document["prices"] = prices_of(account.mode, market, connected=price is not None)
    document["recent_fills"] = [fill_document(one) for one in latest]
    document["price"] = _text(price)
    document["foreign_orders"] = trader.foreign_orders
    document["unsettled"] = trader.unsettled
    document["answers"] = trader.session.answers.document()
    document["archived"] = trader.session.archived
    document["funds_missing"] = trader.funds_missing
    document["paused"] = trader.paused
    document["paused_by_hand"] = trader.paused_by_hand
    document["halt"] = _halt(trader)
    document["halting"] = _halting(trader)
    if trader.engine is None:
        document["closing"] = _result(trader)
    engine = trader.engine
    if engine is None or trader.grid_run is None:
        return document
    return document | _running(trader, engine, trader.grid_run)


def _running(trader: Trader, engine: GridEngine, grid_run: GridRun) -> dict[str, Any]:
    """What there is to say of a grid that runs."""
    books, refused, price = engine.books, trader.refused, trader.price
    cost = average_cost(books.base_held, books.held_cost)
    orders = sorted(engine.live.values(), key=lambda order: (order.line, order.client_id))
    return {
        "started_ms": grid_run.started_ms,
        "investment": plain(grid_run.investment),
        "start_price": plain(engine.plan.start_price),
        "quantity": plain(engine.plan.quantity),
        "open_orders": sum(order.state is OrderState.OPEN for order in orders),
        "buys": books.buys,
        "sells": books.sells,
        "grid_profit": plain(books.grid_profit),
        "liquidation_profit": plain(books.liquidation_profit),
        "unrealised_profit": None if price is None else plain(books.unrealised_profit(price)),
        "equity": None if price is None else plain(books.equity(price)),
        "profit": None if price is None else _profit(trader, grid_run, books.equity(price)),
        "fees": plain(books.fees_in_quote),
        "fees_by_coin": {coin: plain(amount) for coin, amount in books.fees.items()},
        "base_held": plain(books.base_held),
        "average_cost": _text(cost),
        "quote_left": plain(EXACT.add(books.investment, books.quote_flow)),
        "initial_base": plain(books.initial_base),
        "initial_cost": plain(books.initial_cost),
        "next": {} if price is None else _next(orders, price),
        "lines": _lines(engine),
        # In the order of the lines: a page is told the changes alone, and so they are few.
        "orders": [_order(engine, order, refused.get(order.client_id)) for order in orders],
    }


def _profit(trader: Trader, grid_run: GridRun, equity: Decimal) -> dict[str, Any]:
    passed_ms = trader.session.clock.now_ms() - grid_run.started_ms
    earned = profit(grid_run.investment, equity, passed_ms)
    return {name: _text(amount) for name, amount in asdict(earned).items()}


def _next(orders: list[Order], price: Decimal) -> dict[str, Any]:
    """The next buy and the next sell, with the way of the price to each."""
    return {
        str(side): {
            "price": plain(order.price),
            "quantity": plain(order.quantity),
            "distance_percent": _text(distance_percent(price, order.price)),
        }
        for side, order in sorted(next_orders(orders).items())
    }


def fill_document(traded: Traded) -> dict[str, Any]:
    """A trade for people and programs."""
    fill = traded.fill
    return {
        "time": fill.time_ms,
        "side": str(fill.side),
        "role": str(traded.role),
        "price": plain(fill.price),
        "quantity": plain(fill.quantity),
        "fee": plain(fill.commission),
        "fee_currency": fill.commission_coin,
        "order": fill.client_id,
        "profit": _text(traded.profit),
    }


def totals(grids: list[dict[str, Any]]) -> dict[str, Any]:
    """What the grids that run came to together, by the coin that they are priced in.

    Args:
        grids: their documents.
    """
    sums: dict[str, dict[str, Any]] = {}
    for quote in sorted({grid["quote"] for grid in grids}):
        running = [one for one in grids if one["quote"] == quote and one["equity"] is not None]
        investment = _sum(one["investment"] for one in running)
        equity = _sum(one["equity"] for one in running)
        earned = profit(investment, equity, 0)
        sums[quote] = {
            "grids": len(running),
            "investment": plain(investment),
            "equity": plain(equity),
            "profit": plain(earned.total),
            "percent": _text(earned.percent),
        }
    return sums


def _sum(amounts: Iterable[str]) -> Decimal:
    total = Decimal(0)
    for amount in amounts:
        total = EXACT.add(total, Decimal(amount))
    return total


def resume_command(config: Path, symbol: str) -> str:
    """What a person runs where the bot runs, to clear a kill switch."""
    program = os.environ.get("GRIDBOT_COMMAND", "gridbot")
    return f"{program} resume --config {config} --symbol {symbol}"


def _halting(trader: Trader) -> str:
    """Why a grid ends for good, while it does; empty where it does not."""
    ends = trader.wind_down
    return "" if ends is None or ends.next_range is not None else ends.reason


def _halt(trader: Trader) -> dict[str, Any] | None:
    """The kill switch that has fired; null where none has."""
    if trader.halt is None:
        return None
    halt = trader.halt
    return {
        "reason": halt.reason_code,
        "text": halt.text,
        "price": plain(halt.price) if halt.price else None,
        "at_ms": halt.at_ms,
        "liquidate": halt.liquidate,
        "resume": resume_command(trader.session.account.path, halt.symbol),
    }


def _result(trader: Trader) -> dict[str, Any] | None:
    """What the latest grid came to; null where none has ended."""
    if trader.result is None:
        return None
    result = trader.result
    return {
        "equity": plain(result.equity),
        "grid_profit": plain(result.grid_profit),
        "liquidation_profit": plain(result.liquidation_profit),
        "base": plain(result.base),
        "price": plain(result.price),
        "reason": result.reason,
    }


def _lines(engine: GridEngine) -> list[dict[str, Any]]:
    """Every line with the side of the order that works on it; null where it is empty."""
    sides: dict[int, Side] = {}
    if engine.grid_started:
        sides = {order.line: order.side for order in engine.live.values()}
    return [
        {"line": index, "price": plain(price), "side": sides.get(index)}
        for index, price in enumerate(engine.plan.lines)
    ]


def _order(engine: GridEngine, order: Order, refusal: Refusal | None) -> dict[str, Any]:
    return {
        "client_id": order.client_id,
        "exchange_id": None if order.exchange_id is None else number_or_text(order.exchange_id),
        "side": str(order.side),
        "line": order.line,
        "price": plain(order.price),
        "quantity": plain(order.quantity),
        "executed": plain(engine.executed(order.client_id)),
        "state": str(order.state),
        "refused": None if refusal is None or refusal.expected else refusal.reason,
        "waits_for_price": refusal is not None and refusal.expected,
    }


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else plain(amount)
