"""What a bot reports about itself: the document behind `/api/status`. Pure."""

from decimal import Decimal
from typing import Any

from gridbase.market import plain

from gridbot import __version__
from gridbot.config.load import AccountConfig, GridConfig
from gridbot.config.summary import policy_lines
from gridbot.core.engine import GridEngine
from gridbot.core.orders import Order, OrderState, Side, number_or_text
from gridbot.core.orders_in_flight import Refusal
from gridbot.trading.trader import Trader

RECENT_FILLS = 20


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
        "market": "testnet" if account.exchange.testnet else "",
        "price": None,
        "open_orders": 0,
        "buys": 0,
        "sells": 0,
        "grid_profit": "0",
        "unrealised_profit": None,
        "equity": None,
        "fees": "0",
        "fees_by_coin": {},
        "foreign_orders": 0,
        "funds_missing": "",
        "paused": "",
        "halt": None,
        "closing": None,
        "range": "fixed" if config.grid.atr is None else "atr",
        "policies": policy_lines(config),
        "started_ms": None,
        "lines": [],
        "orders": [],
        "recent_fills": [],
    }


def status_document(trader: Trader) -> dict[str, Any]:
    """Everything about a bot and its grid."""
    document = base_document(trader.session.account, trader.session.config)
    price = trader.price
    document["market"] = trader.broker.market_label or document["market"]
    document["price"] = _text(price)
    document["foreign_orders"] = trader.foreign_orders
    document["funds_missing"] = trader.funds_missing
    document["paused"] = trader.paused
    document["halt"] = _halt(trader)
    if trader.engine is None:
        document["closing"] = _result(trader)
    engine = trader.engine
    if engine is None or trader.grid_run is None:
        return document
    books, refused = engine.books, trader.refused
    document |= {
        "started_ms": trader.grid_run.started_ms,
        "investment": plain(trader.grid_run.investment),
        "start_price": plain(engine.plan.start_price),
        "quantity": plain(engine.plan.quantity),
        "open_orders": sum(order.state is OrderState.OPEN for order in engine.live.values()),
        "buys": books.buys,
        "sells": books.sells,
        "grid_profit": plain(books.grid_profit),
        "liquidation_profit": plain(books.liquidation_profit),
        "unrealised_profit": None if price is None else plain(books.unrealised_profit(price)),
        "equity": None if price is None else plain(books.equity(price)),
        "fees": plain(books.fees_in_quote),
        "fees_by_coin": {coin: plain(amount) for coin, amount in books.fees.items()},
        "base_held": plain(books.base_held),
        "quote_left": plain(books.investment + books.quote_flow),
        "initial_base": plain(books.initial_base),
        "initial_cost": plain(books.initial_cost),
        "lines": _lines(engine),
        "orders": [
            _order(engine, order, refused.get(order.client_id)) for order in engine.live.values()
        ],
        "recent_fills": [
            {
                "time": fill.time_ms,
                "side": str(fill.side),
                "price": plain(fill.price),
                "quantity": plain(fill.quantity),
                "fee": plain(fill.commission),
                "fee_currency": fill.commission_coin,
                "order": fill.client_id,
            }
            for fill in list(books.recent)[: -RECENT_FILLS - 1 : -1]
        ],
    }
    return document


def _halt(trader: Trader) -> dict[str, Any] | None:
    """The kill switch that has fired; null where none has."""
    if trader.halt is None:
        return None
    halt = trader.halt
    return {
        "reason": halt.reason_code,
        "text": halt.text,
        "price": plain(halt.price),
        "at_ms": halt.at_ms,
        "liquidate": halt.liquidate,
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
