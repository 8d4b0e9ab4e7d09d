"""A market for the core's tests: one price, resting orders fill at their own price."""

import itertools
from decimal import Decimal

import pytest
from gridbase.market import Market
from gridbot.core.engine import Changes, GridEngine
from gridbot.core.grid import Fees, FeesIn, GridSpec, Spacing, make_plan
from gridbot.core.orders import Fill, OrderState, Side

BTC = Market(
    symbol="BTC/USDT",
    base="BTC",
    quote="USDT",
    tick_size=Decimal("0.01"),
    lot_size=Decimal("0.00000001"),
    min_quantity=Decimal("0.00000001"),
    min_notional=Decimal(5),
)


def spec(**changes) -> GridSpec:
    values = {
        "lower": "45000",
        "upper": "65000",
        "grids": 5,
        "spacing": "arithmetic",
        "investment": "23000",
    } | changes
    return GridSpec(
        lower=Decimal(values["lower"]),
        upper=Decimal(values["upper"]),
        grids=int(values["grids"]),
        spacing=Spacing(values["spacing"]),
        investment=Decimal(values["investment"]),
    )


def fees(rate="0.001", taken_in="received") -> Fees:
    return Fees(Decimal(rate), FeesIn(taken_in))


class Walk:
    """Drives one engine along a price, as an exchange would. Keeps a plain ledger beside it."""

    def __init__(self, grid: GridSpec, charge: Fees, price: str, market: Market = BTC) -> None:
        self.fees = charge
        self.market = market
        self.price = Decimal(price)
        self.plan = make_plan(grid, market, charge, self.price)
        self.engine = GridEngine(
            bot_name="pi1", tag="abc123", market=market, plan=self.plan, investment=grid.investment
        )
        self.investment = grid.investment
        self.coins = {"BTC": Decimal(0), "USDT": grid.investment, "BNB": Decimal(0)}
        self.commission_coin: str | None = None
        self.fills: list[Fill] = []
        self.changes: list[Changes] = []
        self._numbers = itertools.count(1)
        self.step(self.engine.begin)
        self.accept_all()

    def step(self, event, *arguments) -> Changes:
        changes = Changes(len(self.changes))
        event(changes, *arguments)
        self.changes.append(changes)
        return changes

    def accept_all(self) -> None:
        """The exchange takes every intent; what crosses the price fills at once."""
        while pending := [
            order for order in self.engine.live.values() if order.state is OrderState.INTENDED
        ]:
            for order in pending:
                self.step(self.engine.accept, order.client_id, str(next(self._numbers)))
            for order in pending:
                crosses = (order.price >= self.price) == (order.side is Side.BUY)
                if crosses or order.price == self.price:
                    self.fill(order.client_id, self.price)

    def fill(self, client_id: str, price: Decimal, quantity: Decimal | None = None) -> None:
        """Trade an order, wholly or in part, with fees as the exchange takes them."""
        order = self.engine.live[client_id]
        rest = order.quantity - self.engine.executed(client_id)
        quantity = rest if quantity is None else quantity
        quote = quantity * price
        buying = order.side is Side.BUY
        in_base = buying and self.fees.taken_in is FeesIn.RECEIVED
        coin = self.commission_coin or ("BTC" if in_base else "USDT")
        commission = (quantity if coin == "BTC" else quote) * self.fees.rate
        if coin == "BNB":
            commission = Decimal("0.0001")
        sign = 1 if buying else -1
        self.coins["BTC"] += sign * quantity
        self.coins["USDT"] -= sign * quote
        self.coins[coin] -= commission
        fill = Fill(
            trade_id=str(next(self._numbers)),
            client_id=client_id,
            side=order.side,
            price=price,
            quantity=quantity,
            quote=quote,
            commission=commission,
            commission_coin=coin,
            time_ms=0,
            maker=True,
        )
        self.fills.append(fill)
        self.step(self.engine.record_fill, fill)

    def go(self, price: str) -> None:
        """Move the price; resting orders fill in the order in which it meets them."""
        target = Decimal(price)
        while True:
            low, high = min(self.price, target), max(self.price, target)
            met = [
                order
                for order in self.engine.live.values()
                if order.state is OrderState.OPEN and low <= order.price <= high
            ]
            met = [o for o in met if (o.side is Side.BUY) == (target < self.price)]
            if not met:
                break
            order = min(met, key=lambda order: abs(order.price - self.price))
            self.price = order.price
            self.fill(order.client_id, order.price)
            self.accept_all()
        self.price = target

    def live(self) -> dict[int, str]:
        """Side by line of every live order."""
        return {order.line: str(order.side) for order in self.engine.live.values()}

    def check(self) -> None:
        """Books, ledger and equation agree to the last digit."""
        books = self.engine.books
        assert books.base_held == self.coins["BTC"]
        assert books.investment + books.quote_flow == self.coins["USDT"]
        assert books.flows.get("BNB", Decimal(0)) == self.coins["BNB"]
        equity = self.coins["USDT"] + self.coins["BTC"] * self.price
        assert books.equity(self.price) == equity
        unrealised = books.unrealised_profit(self.price)
        assert equity - self.investment == books.grid_profit + unrealised


@pytest.fixture
def make_walk():
    def make(price: str, charge: Fees | None = None, market: Market = BTC, **changes) -> Walk:
        return Walk(spec(**changes), charge or fees(), price, market)

    return make


@pytest.fixture
def make_spec():
    return spec


@pytest.fixture
def make_fees():
    return fees


@pytest.fixture
def btc():
    return BTC
