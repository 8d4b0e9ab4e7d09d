"""Watches from outside what a grid buys at once where it starts outside its range."""

from decimal import Decimal
from typing import TYPE_CHECKING

from gridbot.core.orders import Order, Role, Side
from gridbot.store import GridRun, Store
from gridbot.trading.trader import Trader

if TYPE_CHECKING:
    from .world import World

SYMBOL = "BTC/USDT"
SETTING = "outside_range_purchase"


class StartPurchase:
    """What the user of one world has confirmed, and what its bot buys.

    Args:
        world: whose bot.
    """

    def __init__(self, world: "World") -> None:
        self._world = world

    @property
    def _confirmed(self) -> Decimal | None:
        """The most that may be spent at once (quote); None where nothing was said."""
        text = self._world.grid.get(SETTING)
        return None if text is None else Decimal(str(text))

    def leaving(self, client_id: str) -> None:
        """An order is about to leave. The start of a grid that a policy has moved is not judged."""
        reader = Store(self._world.state, read_only=True)
        try:
            *before, run = reader.grid_runs(SYMBOL)
            orders = {order.client_id: order for order in reader.orders(run.id)}
        finally:
            reader.close()
        order = orders.get(client_id)
        if order is None or order.role is not Role.INITIAL or order.side is not Side.BUY:
            return
        moved = bool(before) and before[-1].result is not None and before[-1].result.next_range
        if order.attempt == 1 and moved:
            return
        self._judge(run, order, orders)

    def _judge(self, run: GridRun, order: Order, orders: dict[str, Order]) -> None:
        if run.plan.lines[0] <= order.price <= run.plan.lines[-1]:
            return
        world = self._world
        spent = sum(
            (
                one.executed_quote
                for one in world.exchange.store.orders(world.listing.symbol, 0, 0, None, 1_000_000)
                if one.client_order_id in orders
                and orders[one.client_order_id].role is Role.INITIAL
                and one.side == "BUY"
            ),
            Decimal(0),
        )
        total = spent + order.price * order.quantity
        if total > (self._confirmed or 0):
            world.violations.append(
                f"{order.client_id} buys for {total} at {order.price}, outside the range "
                f"{run.plan.lines[0]} to {run.plan.lines[-1]}; confirmed: {self._confirmed}"
            )

    def waits(self, trader: Trader) -> bool:
        """Whether a grid may have to wait for its range: the market is outside of it."""
        world, confirmed = self._world, self._confirmed
        lower, upper, investment = (
            Decimal(str(world.grid[name])) for name in ("lower", "upper", "investment")
        )
        price = world.engine.last_price
        if lower <= price <= upper:
            return False
        # Above it a grid buys nothing, unless the price has left while it was buying.
        buys = price < lower or trader.engine is not None
        return confirmed is None or (buys and confirmed < investment)
