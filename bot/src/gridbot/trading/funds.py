"""Whether the account still has the quote that a grid's next buys need: its owner may take it."""

import logging
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from decimal import Decimal

from gridbase.market import EXACT, plain

from gridbot.core.engine import GridEngine
from gridbot.core.grid import Fees, FeesIn
from gridbot.core.orders import Order, OrderState, Role, Side
from gridbot.core.orders_in_flight import State
from gridbot.trading.session import Session

log = logging.getLogger(__name__)

# While buys wait, the account is asked this often.
LOOK_SECONDS = 60.0


def next_buys_need(engine: GridEngine, unsent: AbstractSet[str], fees: Fees) -> Decimal:
    """Free quote that the buys to come need (quote).

    These are the buys that are not on the exchange, and those that answer a sell that has traded
    in part, less what the rest of it will bring. Any other sell brings more than its buy costs.

    Args:
        engine: the grid.
        unsent: client order IDs that are certainly not on the exchange.
        fees: what a trade costs.
    """
    need = Decimal(0)
    for order in engine.live.values():
        if order.role is not Role.GRID:
            continue
        if order.side is Side.BUY and order.client_id in unsent:
            need = EXACT.add(need, _cost(order.quantity, order.price, fees))
        elif order.side is Side.SELL and order.state is OrderState.OPEN:
            need = EXACT.add(need, _lacking(engine, order, fees))
    return need


def _lacking(engine: GridEngine, sell: Order, fees: Fees) -> Decimal:
    """What the buy after a sell will cost above what is still to come of the sell (quote)."""
    executed = engine.executed(sell.client_id)
    if executed == 0:
        return Decimal(0)
    kept = EXACT.subtract(Decimal(1), fees.rate)
    rest = EXACT.multiply(EXACT.subtract(sell.quantity, executed), sell.price)
    cost = _cost(engine.plan.quantity, engine.plan.lines[sell.line - 1], fees)
    return max(Decimal(0), EXACT.subtract(cost, EXACT.multiply(rest, kept)))


def _cost(quantity: Decimal, price: Decimal, fees: Fees) -> Decimal:
    cost = EXACT.multiply(quantity, price)
    if fees.taken_in is FeesIn.QUOTE:
        cost = EXACT.multiply(cost, EXACT.add(Decimal(1), fees.rate))
    return cost


@dataclass
class Funds:
    """Looks at the account while buys wait, and says where its free quote does not cover them.

    Args:
        session: the grid.
    """

    session: Session
    _missing: str = ""
    _looked_at: float = float("-inf")

    @property
    def missing(self) -> str:
        """What is missing, in one line; empty where nothing is, or where no grid needs it."""
        trades = self.session.engine is not None and self.session.wind_down is None
        return self._missing if trades else ""

    def look(self, engine: GridEngine) -> None:
        """Compare what the next buys need with what the account has, once in a while.

        Raises:
            BrokerError: the exchange failed.
        """
        session, coin = self.session, self.session.config.quote
        unsent = frozenset(session.orders.in_state(State.UNSENT))
        need = next_buys_need(engine, unsent, session.config.fees)
        if need == 0:
            self._say("")
            return
        if session.clock.monotonic() - self._looked_at < LOOK_SECONDS:
            return
        session.broker.balances()
        self._looked_at = session.clock.monotonic()
        free = session.broker.free_balance(coin)
        if free >= need:
            self._say("")
            return
        self._say(
            f"the account has {plain(free)} {coin} free, and the grid's next buys need "
            f"{plain(need)}: deposit {plain(EXACT.subtract(need, free))} {coin}, or those buys are "
            "not placed"
        )

    def _say(self, missing: str) -> None:
        if missing and not self._missing:
            log.warning("%s: %s", self.session.config.symbol, missing)
        elif self._missing and not missing:
            log.info("%s: the next buys are covered again", self.session.config.symbol)
        self._missing = missing
