"""Hypothesis drives the trading core and its memory: markets, partial fills, cancels, restarts.

The exchange is a plain model beside it that keeps its own ledger; after every step the books equal
it to the last digit, and at any point the core can be thrown away and restored from the file.
"""

import itertools
import tempfile
from decimal import ROUND_DOWN, Decimal
from pathlib import Path

from gridbase.market import Market, floor_to_lot
from gridbot.core.engine import Changes, GridEngine
from gridbot.core.grid import Fees, FeesIn, GridSpec, Spacing, make_plan
from gridbot.core.orders import Fill, OrderState, Role, Side
from gridbot.store import GridRun, Store
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

SYMBOL = "BTC/USDT"
PRICES = st.integers(42_000, 68_000).map(Decimal)
SHARES = st.sampled_from([Decimal("0.1"), Decimal("0.5"), Decimal("0.9")])
PICKS = st.integers(0, 10_000)


class Core(RuleBasedStateMachine):
    """One grid, its file, and an exchange that fills in parts and cancels as it likes."""

    @initialize(
        grids=st.integers(2, 9),
        spacing=st.sampled_from(list(Spacing)),
        investment=st.sampled_from([400, 5_000, 40_000]).map(Decimal),
        rate=st.sampled_from(["0", "0.00075", "0.001", "0.0025"]).map(Decimal),
        taken_in=st.sampled_from(list(FeesIn)),
        lot=st.sampled_from(["0.00000001", "0.00001"]).map(Decimal),
        price=PRICES,
    )
    def begin(self, grids, spacing, investment, rate, taken_in, lot, price):  # noqa: PLR0917  drawn by name
        self.fees = Fees(rate, taken_in)
        self.market = Market(
            SYMBOL, "BTC", "USDT", Decimal("0.01"), lot, min_quantity=lot, min_notional=Decimal(5)
        )
        spec = GridSpec(Decimal(45_000), Decimal(65_000), grids, spacing, investment)
        self.price = price
        self.plan = make_plan(spec, self.market, self.fees, price)
        self.investment = investment
        self.coins = {"BTC": Decimal(0), "USDT": investment, "BNB": Decimal(0)}
        self.fee_coin = None
        self.numbers = itertools.count(1)
        self.names = set()
        self.directory = tempfile.TemporaryDirectory(
            dir="/dev/shm" if Path("/dev/shm").is_dir() else None
        )
        self.store = Store(Path(self.directory.name))
        self.grid_run = GridRun(
            id=1,
            symbol=SYMBOL,
            tag="abc123",
            settings={},
            market=self.market,
            plan=self.plan,
            investment=investment,
            opening={},
            first_cursor="0",
            trade_cursor="0",
            started_ms=0,
        )
        self.engine = self.new_engine()
        changes = Changes(0)
        self.engine.begin(changes)
        self.store.start_grid_run(self.grid_run, changes)
        self.note_names(changes)

    def new_engine(self):
        return GridEngine(
            bot_name="pi1",
            tag="abc123",
            market=self.market,
            plan=self.plan,
            investment=self.investment,
        )

    def step(self, event, *arguments):
        changes = Changes(0)
        event(changes, *arguments)
        self.store.commit(1, changes)
        self.note_names(changes)

    def note_names(self, changes):
        names = {order.client_id for order in changes.orders}
        assert len(names) == len(changes.orders)
        assert not names & self.names  # each client order ID is used once
        self.names |= names
        if changes.plan is not None:
            self.plan = changes.plan

    def in_state(self, state):
        live = self.engine.live.values()
        return sorted((o for o in live if o.state is state), key=lambda order: order.client_id)

    def fill(self, order, price, quantity):
        """Trade so much of an order, with fees as this exchange takes them."""
        buying = order.side is Side.BUY
        quote = quantity * price
        in_base = buying and self.fees.taken_in is FeesIn.RECEIVED
        coin = self.fee_coin or ("BTC" if in_base else "USDT")
        commission = (quantity if coin == "BTC" else quote) * self.fees.rate
        if coin == "BNB":
            commission = Decimal("0.00012")
        sign = 1 if buying else -1
        self.coins["BTC"] += sign * quantity
        self.coins["USDT"] -= sign * quote
        self.coins[coin] -= commission
        number = next(self.numbers)
        details = (order.side, price, quantity, quote, commission, coin, number, True)
        self.step(self.engine.record_fill, Fill(str(number), order.client_id, *details))

    def rest_of(self, order):
        return order.quantity - self.engine.executed(order.client_id)

    @rule(pick=PICKS)
    def accept_one(self, pick):
        """The exchange takes one intent; what crosses the price trades at once, at the price."""
        intended = self.in_state(OrderState.INTENDED)
        if not intended:
            return
        order = intended[pick % len(intended)]
        self.step(self.engine.accept, order.client_id, str(next(self.numbers)))
        buying = order.side is Side.BUY
        if order.price >= self.price if buying else order.price <= self.price:
            self.fill(order, self.price, order.quantity)

    @rule()
    def accept_all(self):
        while self.in_state(OrderState.INTENDED):
            self.accept_one(0)

    @rule(target_price=PRICES)
    def go(self, target_price):
        """The price walks; resting orders fill in the order in which it meets them."""
        down = target_price < self.price
        side = Side.BUY if down else Side.SELL
        met = [o for o in self.in_state(OrderState.OPEN) if o.side is side]
        met = [o for o in met if (o.price >= target_price if down else o.price <= target_price)]
        for order in sorted(met, key=lambda order: abs(order.price - self.price)):
            self.fill(order, order.price, self.rest_of(order))
        self.price = target_price

    @rule(pick=PICKS, share=SHARES)
    def trade_a_part(self, pick, share):
        resting = self.in_state(OrderState.OPEN)
        if not resting:
            return
        order = resting[pick % len(resting)]
        rest = self.rest_of(order)
        part = floor_to_lot(
            (rest * share).quantize(self.market.lot_size, ROUND_DOWN), self.market.lot_size
        )
        if 0 < part < rest:
            self.fill(order, order.price, part)

    @rule(pick=PICKS)
    def cancel(self, pick):
        resting = self.in_state(OrderState.OPEN)
        if resting:
            self.step(self.engine.record_canceled, resting[pick % len(resting)].client_id)

    @precondition(lambda self: self.engine.waiting_for_price)
    @rule()
    def reprice(self):
        spec = GridSpec(
            self.plan.lines[0],
            self.plan.lines[-1],
            len(self.plan.lines) - 1,
            Spacing.ARITHMETIC,
            self.investment,
        )
        self.step(self.engine.reprice, make_plan(spec, self.market, self.fees, self.price))

    @rule(coin=st.sampled_from(["BNB", None]))
    def pay_fees_in(self, coin):
        self.fee_coin = coin

    @rule()
    def restart(self):
        """Memory is lost; the file brings all of it back."""
        before = self.engine
        self.store.close()
        self.store = Store(Path(self.directory.name))
        self.plan = self.store.grid_run(SYMBOL).plan
        self.engine = self.new_engine()
        self.store.restore(1, self.engine)
        assert self.engine.live == before.live
        assert self.engine.plan == before.plan
        assert self.engine.grid_started == before.grid_started
        assert self.engine.waiting_for_price == before.waiting_for_price
        for name in ("_attempts", "_executed", "_by_exchange_id"):
            assert getattr(self.engine, name) == getattr(before, name)
        assert vars(self.engine.books).items() >= {
            (key, value) for key, value in vars(before.books).items() if key in ("buys", "sells")
        }
        for name in ("flows", "fees", "fees_in_quote", "grid_profit", "legs", "recent"):
            assert getattr(self.engine.books, name) == getattr(before.books, name)

    @invariant()
    def books_equal_the_ledger(self):
        books = self.engine.books
        assert books.base_held == self.coins["BTC"]
        assert books.investment + books.quote_flow == self.coins["USDT"]
        assert books.flows.get("BNB", Decimal(0)) == self.coins["BNB"]
        equity = self.coins["USDT"] + self.coins["BTC"] * self.price
        assert books.equity(self.price) == equity
        unrealised = books.unrealised_profit(self.price)
        assert equity - self.investment == books.grid_profit + unrealised

    @invariant()
    def no_place_is_taken_twice(self):
        live = self.engine.live.values()
        places = [(order.role, order.line, order.side) for order in live]
        assert len(places) == len(set(places))
        legs = [order.leg for order in live]
        assert len(legs) == len(set(legs))
        if self.engine.grid_started:
            assert len(places) == len(self.plan.lines) - 1

    @invariant()
    def what_is_for_sale_is_there(self):
        sells = [o for o in self.engine.live.values() if o.side is Side.SELL]
        if all(order.role is Role.GRID for order in sells):
            assert sum(map(self.rest_of, sells)) <= self.coins["BTC"]

    def teardown(self):
        if hasattr(self, "store"):
            self.restart()
            self.books_equal_the_ledger()
            self.store.close()
            self.directory.cleanup()


Core.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
TestCore = Core.TestCase
