"""Decides which order comes next. Pure: no I/O, no clock; the same events give the same orders.

The engine is told what happened (accepted, traded, closed) and answers with `Changes`: what to
write down in one transaction before anything is sent.
"""

from dataclasses import dataclass, field, replace
from decimal import Decimal

from gridbase.errors import MismatchError
from gridbase.market import EXACT, Market, floor_to_lot, plain

from gridbot.core.books import Books
from gridbot.core.grid import Plan, largest_order, sell_quantity, smallest_order
from gridbot.core.orders import (
    LIVE_STATES,
    Fill,
    Leg,
    Order,
    OrderState,
    Role,
    Side,
    client_order_id,
    client_prefix,
    order_place,
)
from gridbot.core.settled_totals import Totals


@dataclass
class Changes:
    """What one step of the engine changed, to be committed as a whole.

    Attributes:
        now_ms: when the step is taken (Unix milliseconds).
        plan: a new plan, where the grid was planned again before anything traded.
        fills: new fills.
        legs: new legs.
        complete: legs that became complete, with the number of sells that share their cost.
        orders: new intents, to be sent once they are committed.
        updated: orders with a new state or exchange ID.
        trade_cursor: from where the exchange's trades are read on; None where it did not move.
    """

    now_ms: int
    plan: Plan | None = None
    fills: list[Fill] = field(default_factory=list)
    legs: list[Leg] = field(default_factory=list)
    complete: list[tuple[str, int]] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    updated: list[Order] = field(default_factory=list)
    trade_cursor: str | None = None

    def __bool__(self) -> bool:
        return any(
            (
                self.plan is not None,
                self.fills,
                self.legs,
                self.complete,
                self.orders,
                self.updated,
                self.trade_cursor is not None,
            )
        )


@dataclass(frozen=True)
class Carried:
    """What the grid before left to this one.

    Attributes:
        base: how much (base).
        cost: what it counts for in the investment (quote).
    """

    base: Decimal
    cost: Decimal


class GridEngine:
    """One grid on one symbol.

    Args:
        bot_name: goes into client order IDs.
        tag: the grid run's tag, goes into client order IDs.
        market: the exchange's rules.
        plan: lines, empty line and quantity.
        investment: what the grid may spend, what it carries included (quote).
        carried: base that the grid before left to this one.

    Attributes:
        live: orders that the exchange has or may have, by client order ID.
        grid_started: the initial trade, if any, is behind it.
        winding_down: no further step is taken; fills and closed orders are only booked.
    """

    def __init__(
        self,
        *,
        bot_name: str,
        tag: str,
        market: Market,
        plan: Plan,
        investment: Decimal,
        carried: Carried | None = None,
    ) -> None:
        self.market = market
        self.plan = plan
        self.books = Books(market.base, market.quote, investment)
        self.live: dict[str, Order] = {}
        self.grid_started = False
        self.winding_down = False
        self._carried = carried or Carried(Decimal(0), Decimal(0))
        self._carrier: str | None = None  # leg that has what was carried
        self._prefix = client_prefix(bot_name, market.exchange_symbol)
        self._tag = tag
        self._executed: dict[str, Decimal] = {}
        self._by_exchange_id: dict[str, str] = {}
        self._attempts: dict[str, int] = {}

    # What was stored, in the order in which it was stored.

    def restore_totals(self, totals: Totals) -> None:
        """Take back what settled pairs add to the books. Comes first."""
        self.books.restore_totals(totals)
        self._attempts = dict(totals.attempts)

    def restore_leg(self, leg: Leg) -> None:
        """Take back a stored leg."""
        self._begin_leg(leg)
        self.grid_started = self.grid_started or leg.role is Role.GRID

    def restore_order(self, order: Order, executed: Decimal) -> None:
        """Take back a stored order of which `executed` has traded (base)."""
        place = order_place(order.role, order.line, order.side)
        self._attempts[place] = max(order.attempt, self._attempts.get(place, 0))
        if order.state in LIVE_STATES:
            self._track(order, executed)

    def restore_fill(self, leg_id: str, fill: Fill) -> None:
        """Take back a stored fill of a leg."""
        self.books.apply(leg_id, fill)

    def restore_complete(self, leg_id: str, shares: int) -> None:
        """Take back that a stored leg is complete."""
        self._end_leg(leg_id, shares)

    # What is known.

    @property
    def waiting_for_price(self) -> bool:
        """Whether the initial trade or the liquidation needs an order, and so a price."""
        if self.live:
            return False
        return self.liquidation_leg() is not None if self.winding_down else not self.grid_started

    def executed(self, client_id: str) -> Decimal:
        """How much of a live order has traded (base)."""
        return self._executed[client_id]

    def client_id_of(self, exchange_id: str) -> str | None:
        """Live order with this exchange ID; None where it is not one of this grid's."""
        return self._by_exchange_id.get(exchange_id)

    def initial_leg(self) -> Leg | None:
        """The initial trade under way; None where there is none."""
        return self._leg_under_way(Role.INITIAL)

    def liquidation_leg(self) -> Leg | None:
        """The liquidation under way; None where there is none."""
        return self._leg_under_way(Role.LIQUIDATION)

    def _leg_under_way(self, role: Role) -> Leg | None:
        for book in self.books.legs.values():
            if book.leg.role is role and not book.complete:
                return book.leg
        return None

    # What happens.

    def begin(self, changes: Changes) -> None:
        """Take the first step: bring the base held to what the sells need, or place the grid.

        The initial trade is a limit order at the plan's start price, so that it cannot cost
        more than was planned. Where it would be too small to trade, the sells share what is
        carried, or, where the shares would be too small, the least is bought that can be.
        """
        missing = EXACT.subtract(self.plan.initial_quantity, self._carried.base)
        side = Side.BUY if missing > 0 else Side.SELL
        quantity = floor_to_lot(abs(missing), self.market.lot_size)
        carries = self._carried.base > 0
        if not carries and quantity == 0:
            self._place_grid(changes, None)
            return
        least = smallest_order(self.market, self.plan.start_price)
        too_small = carries and quantity < least
        if too_small and side is Side.BUY and not self._can_sell_shares(self._carried.base):
            quantity, too_small = least, False
        leg = self._open_leg(
            changes,
            Role.INITIAL,
            side,
            line=self.plan.empty_line,
            quantity=Decimal(0) if too_small else quantity,
        )
        if too_small:
            self._place_grid(changes, leg)

    def _can_sell_shares(self, held: Decimal) -> bool:
        """Whether the sells of the start could share what is held."""
        sells = self.plan.sell_lines
        share = sell_quantity(EXACT.divide(held, Decimal(len(sells))), self.market.lot_size)
        return share >= smallest_order(self.market, self.plan.lines[sells[0]])

    def reprice(self, changes: Changes, plan: Plan) -> None:
        """Try the initial trade again at a new price, given as a new plan.

        Where nothing has traded yet the grid is planned again; else the plan stands and only the
        rest is traded at the new price.
        """
        leg = self.initial_leg()
        if leg is not None and self.books.legs[leg.id].executed > 0:
            self._order_rest(changes, leg, plan.start_price)
            return
        if leg is not None:
            self._complete(changes, leg.id, 0)
        self.plan = changes.plan = plan
        self.begin(changes)

    def _order_rest(self, changes: Changes, leg: Leg, price: Decimal) -> None:
        rest = EXACT.subtract(leg.quantity, self.books.legs[leg.id].executed)
        self._new_order(changes, leg, price, max(rest, smallest_order(self.market, price)))

    def liquidate(self, changes: Changes, price: Decimal) -> bool:
        """Sell what is held, or the rest of it, by a limit order; the grid has ended.

        Args:
            changes: collects what to write down.
            price: limit price (quote), one that a buyer pays now.

        Returns:
            Whether there is an order; none where less is held than the exchange takes.
        """
        leg = self.liquidation_leg()
        quantity = floor_to_lot(max(self.books.base_held, Decimal(0)), self.market.lot_size)
        if quantity < smallest_order(self.market, price):
            if leg is not None:
                self._complete(changes, leg.id, 0)
            return False
        if leg is not None:
            self._new_order(changes, leg, price, quantity)
            return True
        self._open_leg(
            changes,
            Role.LIQUIDATION,
            Side.SELL,
            line=self.plan.empty_line,
            quantity=quantity,
            price=price,
        )
        return True

    def accept(self, changes: Changes, client_id: str, exchange_id: str) -> None:
        """The exchange has an order under this ID."""
        order = replace(self.live[client_id], state=OrderState.OPEN, exchange_id=exchange_id)
        changes.updated.append(order)
        self._track(order, self._executed[client_id])

    def record_fill(self, changes: Changes, fill: Fill) -> None:
        """A live order has traded; once all of it has, the next step is taken."""
        order = self.live[fill.client_id]
        changes.fills.append(fill)
        self.books.apply(order.leg, fill)
        executed = EXACT.add(self._executed[order.client_id], fill.quantity)
        self._executed[order.client_id] = executed
        if executed > order.quantity:
            raise MismatchError(
                f"order {order.client_id} of {plain(order.quantity)} traded {plain(executed)}"
            )
        if executed == order.quantity:
            self._close(changes, order, OrderState.FILLED)

    def record_canceled(self, changes: Changes, client_id: str) -> None:
        """A live order was closed before all of it traded, and all its fills are recorded."""
        self._close(changes, self.live[client_id], OrderState.CANCELED)

    def _close(self, changes: Changes, order: Order, state: OrderState) -> None:
        changes.updated.append(replace(order, state=state))
        del self.live[order.client_id]
        del self._executed[order.client_id]
        if order.exchange_id is not None:
            del self._by_exchange_id[order.exchange_id]
        self._next_step(changes, order)

    def _next_step(self, changes: Changes, order: Order) -> None:
        """Work on a leg whose order has closed: try the rest again, or answer it."""
        book = self.books.legs[order.leg]
        leg = book.leg
        rest = EXACT.subtract(leg.quantity, book.executed)
        if leg.role is Role.LIQUIDATION and rest <= 0:
            self._complete(changes, leg.id, 0)
        if self.winding_down:
            return
        if leg.role is Role.INITIAL:
            if rest <= 0:
                self._place_grid(changes, leg)
            # Else `waiting_for_price`: the rest is bought at a price that is still to be asked.
            return
        if rest > 0:
            quantity = self._retry_quantity(leg, rest, order.price)
            if quantity > 0:
                self._new_order(changes, leg, order.price, quantity)
                return
        self._answer(changes, leg)

    def _retry_quantity(self, leg: Leg, rest: Decimal, price: Decimal) -> Decimal:
        """How much to order again for a leg; 0 where what has traded must do.

        A rest below the exchange's minimum cannot be ordered. A sell ends there: what is left
        of its base stays in the books. A buy ends there too if it brought enough to sell, else
        it buys the minimum.
        """
        least = smallest_order(self.market, price)
        if rest >= least:
            return rest
        if leg.side is Side.SELL:
            return Decimal(0)
        above = self.plan.lines[leg.line + 1]
        sellable = sell_quantity(self.books.legs[leg.id].base, self.market.lot_size)
        return Decimal(0) if sellable >= smallest_order(self.market, above) else least

    def _answer(self, changes: Changes, leg: Leg) -> None:
        """A leg of the grid is complete: put the counter order on the neighbouring line."""
        brought = self.books.legs[leg.id].base
        self._complete(changes, leg.id, 0)
        if leg.side is Side.BUY:
            line, side = leg.line + 1, Side.SELL
            quantity = sell_quantity(brought, self.market.lot_size)
        else:
            line, side = leg.line - 1, Side.BUY
            quantity = self.plan.quantity
        self._open_leg(changes, Role.GRID, side, line=line, quantity=quantity, parent=leg.id)

    def _place_grid(self, changes: Changes, initial: Leg | None) -> None:
        """All orders of the start: buys below the empty line, sells above it."""
        self.grid_started = True
        quantity = self.plan.quantity
        for line in reversed(self.plan.buy_lines):
            self._open_leg(changes, Role.GRID, Side.BUY, line=line, quantity=quantity)
        if initial is None:
            return
        sells = self.plan.sell_lines
        held = self.books.legs[initial.id].base
        self._complete(changes, initial.id, len(sells))
        if not sells:
            return
        quantity = sell_quantity(EXACT.divide(held, Decimal(len(sells))), self.market.lot_size)
        for line in sells:
            self._open_leg(
                changes, Role.GRID, Side.SELL, line=line, quantity=quantity, parent=initial.id
            )

    def _complete(self, changes: Changes, leg_id: str, shares: int) -> None:
        self._end_leg(leg_id, shares)
        changes.complete.append((leg_id, shares))

    def _open_leg(
        self,
        changes: Changes,
        role: Role,
        side: Side,
        *,
        line: int,
        quantity: Decimal,
        parent: str | None = None,
        price: Decimal | None = None,
    ) -> Leg:
        """Begin a leg, and its first order, which gives it its name.

        One that carries enough already has no order, and a quantity of 0.
        """
        if price is None:
            price = self.plan.start_price if role is Role.INITIAL else self.plan.lines[line]
        client_id, attempt = self._next_id(role, line, side)
        leg = Leg(client_id, role, side, line, quantity, parent)
        changes.legs.append(leg)
        self._begin_leg(leg)
        if quantity > 0:
            self._new_order(changes, leg, price, quantity)
        else:
            self._attempts[order_place(role, line, side)] = attempt
        return leg

    def _begin_leg(self, leg: Leg) -> None:
        """Open a leg in the books; the first initial one takes over what is carried."""
        self.books.open_leg(leg)
        if leg.role is Role.INITIAL and self._carrier is None and self._carried.base > 0:
            self._carrier = leg.id
            self.books.carry(leg.id, self._carried.base, self._carried.cost)

    def _end_leg(self, leg_id: str, shares: int) -> None:
        """Complete a leg in the books; one given up before it traded gives back what it carries.

        It has no sells then: those of the next initial leg share what is carried.
        """
        book = self.books.legs[leg_id]
        given_up = book.leg.quantity > 0 and book.executed == 0
        if self._carrier == leg_id and given_up:
            self._carrier = None
            self.books.carry(leg_id, -self._carried.base, -self._carried.cost)
        self.books.complete(leg_id, shares)

    def _next_id(self, role: Role, line: int, side: Side) -> tuple[str, int]:
        place = order_place(role, line, side)
        attempt = self._attempts.get(place, 0) + 1
        return client_order_id(self._prefix, self._tag, place, attempt), attempt

    def _new_order(self, changes: Changes, leg: Leg, price: Decimal, quantity: Decimal) -> None:
        """Write down an order for a leg; one order has no more than the exchange takes at once."""
        most = largest_order(self.market, price)
        if most is not None:
            quantity = min(quantity, most)
        client_id, attempt = self._next_id(leg.role, leg.line, leg.side)
        self._attempts[order_place(leg.role, leg.line, leg.side)] = attempt
        order = Order(
            client_id=client_id,
            leg=leg.id,
            role=leg.role,
            side=leg.side,
            line=leg.line,
            attempt=attempt,
            price=price,
            quantity=quantity,
            state=OrderState.INTENDED,
            exchange_id=None,
            created_ms=changes.now_ms,
        )
        changes.orders.append(order)
        self._track(order, Decimal(0))

    def _track(self, order: Order, executed: Decimal) -> None:
        self.live[order.client_id] = order
        self._executed[order.client_id] = executed
        if order.exchange_id is not None:
            self._by_exchange_id[order.exchange_id] = order.client_id
