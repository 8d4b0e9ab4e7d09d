"""What the Gateway's answers mean. Pure.

ib_async reads numbers as floats; their shortest texts are the numbers that the Gateway wrote.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from gridbase.gateway.hours import Hours
from gridbase.gateway.limits import ACTIVE_ORDERS
from gridbase.market import EXACT, Market

from gridbot.exchanges.port import Failure, RemoteOrder, RemoteTrade

# Order states of which nothing more will trade.
CLOSED = {"Filled", "Cancelled", "ApiCancelled", "Inactive"}
PAPER_PREFIXES = ("DU", "DF", "DI")
CANCELED = 202
LINK_LOST, LINK_BACK_WITHOUT_DATA, LINK_BACK = 1100, 1101, 1102
IN_USE = 326
COMPETING = (10197,)
# Errors about an order that say that it is not accepted.
_REFUSED = {104, 105, 109, 110, 111, 116, 120, 200, 201, 203, 321, 382, 383, 387, 388, 10318}
_NOT_OPEN = {135, 161, 10147, 10148}
_TOO_MANY = {100, 162}
# What looks like an error and is none: farms, "not before the market opens", "is canceled".
_NOTICES = {*range(2100, 2170), CANCELED, 399, 10167, 10349}
UNSET = 1e300
WHOLE = Decimal(1)


def is_notice(code: int) -> bool:
    """Whether an error is only for information."""
    return code in _NOTICES


def failure_kind(code: int) -> Failure:
    """Kind of a failure by the Gateway's code; what is unknown may have had an effect."""
    if code in _REFUSED:
        return Failure.REJECTED
    if code in _NOT_OPEN:
        return Failure.NOT_FOUND
    if code in _TOO_MANY:
        return Failure.RATE_LIMITED
    if code in {LINK_LOST, *COMPETING}:
        return Failure.UNREACHABLE
    return Failure.AMBIGUOUS


def amount(value: float) -> Decimal:
    """An amount. ValueError where the Gateway has not set it."""
    if not abs(value) < UNSET:
        raise ValueError("an amount that is not set")
    return Decimal(str(value))


def is_paper(account: str) -> bool:
    """Whether an account's name is one of a paper account."""
    return account.startswith(PAPER_PREFIXES)


def read_market(symbol: str, details: Any) -> tuple[Market, Hours]:
    """A stock's rules and hours, from contract details."""
    base, _, quote = symbol.partition("/")
    tick = amount(details.minTick)
    if not tick > 0:
        raise ValueError(f"price step {tick}")
    market = Market(
        symbol=symbol,
        base=base,
        quote=quote,
        tick_size=tick,
        lot_size=WHOLE,
        min_quantity=WHOLE,
        min_notional=Decimal(0),
        max_orders=ACTIVE_ORDERS,
        min_price=WHOLE if tick == Decimal("0.01") else None,  # below it, steps are smaller
    )
    return market, Hours(details.liquidHours, details.timeZoneId)


def read_order(order: Any, state: str, filled: float) -> RemoteOrder:
    """An order.

    Args:
        order: ib_async's.
        state: the Gateway's word.
        filled: shares.
    """
    if not order.permId:
        raise ValueError("an order without its permanent ID")
    return RemoteOrder(
        exchange_id=str(order.permId),
        client_id=order.orderRef,
        side=order.action.lower(),
        price=amount(order.lmtPrice),
        # Of a completed order that was filled, 0 is told.
        quantity=amount(order.totalQuantity) or amount(filled),
        executed=amount(filled),
        closed=state in CLOSED,
    )


@dataclass(frozen=True)
class Trade:
    """An execution with what it cost.

    Attributes:
        stem: its ID without the number of its correction.
        revision: that number.
        order_ref: the order's client order ID.
        trade: the port's.
    """

    stem: str
    revision: str
    order_ref: str
    trade: RemoteTrade


def read_trade(execution: Any, report: Any) -> Trade:
    """An execution and its commission report."""
    stem, _, revision = execution.execId.rpartition(".")
    if not stem or not execution.permId:
        raise ValueError(f"execution {execution.execId}")
    price, shares = amount(execution.price), amount(execution.shares)
    commission = amount(report.commission)
    trade = RemoteTrade(
        trade_id=stem,
        exchange_id=str(execution.permId),
        side={"BOT": "buy", "SLD": "sell"}[execution.side],
        price=price,
        quantity=shares,
        quote=EXACT.multiply(price, shares),
        commission=commission,
        commission_coin=report.currency,
        time_ms=round(execution.time.timestamp() * 1000),
        maker=execution.lastLiquidity == 1,
    )
    return Trade(stem, revision, execution.orderRef, trade)


def latest_revisions(trades: Iterable[Trade]) -> list[Trade]:
    """Each execution as it was last corrected, oldest first."""
    latest: dict[str, Trade] = {}
    for trade in trades:
        known = latest.get(trade.stem)
        if known is None or known.revision < trade.revision:
            latest[trade.stem] = trade
    return sorted(latest.values(), key=lambda one: (one.trade.time_ms, one.stem))


@dataclass(frozen=True)
class Cursor:
    """Up to where executions are known.

    The Gateway tells those of today alone. That none is missing is shown by the shares held: what
    was held at the cursor and what has traded since make what is held now.

    Attributes:
        day: of the list.
        held: shares that the account had then.
        known: short hashes of the executions of that day.
    """

    day: str
    held: Decimal
    known: frozenset[str]

    @staticmethod
    def of(day: str, held: Decimal, trades: Iterable[Trade]) -> "Cursor":
        """The cursor after all executions of a day's list."""
        return Cursor(day, held, frozenset(_short(trade.stem) for trade in trades))

    @staticmethod
    def read(text: str) -> "Cursor":
        """A cursor from its text."""
        day, held, *known = text.split(" ")
        return Cursor(day, Decimal(held), frozenset(known))

    def __str__(self) -> str:
        return " ".join((self.day, str(self.held), *sorted(self.known)))

    def news(self, day: str, trades: Iterable[Trade]) -> list[Trade]:
        """Executions of a day's list that are after the cursor."""
        known = self.known if day == self.day else frozenset()
        return [trade for trade in trades if _short(trade.stem) not in known]

    def explains(self, news: Iterable[Trade], held: Decimal) -> bool:
        """Whether executions after the cursor make what is held now."""
        changes = (
            trade.trade.quantity if trade.trade.side == "buy" else -trade.trade.quantity
            for trade in news
        )
        return self.held + sum(changes, Decimal(0)) == held


def _short(stem: str) -> str:
    return hashlib.sha256(stem.encode()).hexdigest()[:8]
