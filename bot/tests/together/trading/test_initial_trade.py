"""An initial trade that did not come off is tried again, at the price of then, within its means."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import pytest
from gridbot.core.engine import Carried, Changes, GridEngine
from gridbot.core.grid import Plan
from gridbot.core.orders import Fill, Role, Side
from gridbot.trading import start_grid
from gridbot.trading.start_range import first_purchase

from .test_policies import path

ASK, BID = Decimal(49_000), Decimal(48_990)
FALLEN = Decimal(47_500)
START = Decimal(50_000)


@dataclass
class Again:
    """A try, of which the exchange has what is asked for here noted."""

    engine: GridEngine
    plan: Plan
    purchases: Sequence[tuple[Decimal, Decimal, Decimal]]
    funds: Sequence[Decimal]

    @property
    def order(self):
        (order,) = self.engine.live.values()
        return order


@pytest.fixture
def again(make_world, monkeypatch):
    """Begins a grid with what is carried, trades some of its first order, and tries it again."""
    world = make_world(path(50_000, 50_000), at_end="hold")
    trader = world.trader()
    trader.step()
    session = trader.session

    def make(carried: str, traded: str | None, ask=ASK, bid=BID) -> Again:
        base = Decimal(carried)
        run = replace(session.grid_run, carried=base, carried_cost=base * START)
        session.grid_run = run
        engine = GridEngine(
            bot_name="pi1",
            tag="abc",
            market=session.market,
            plan=run.plan,
            investment=run.investment,
            carried=Carried(base, run.carried_cost),
        )
        changes = Changes(0)
        if traded is not None:
            engine.begin(changes)
            (order,) = engine.live.values()
            assert order.role is Role.INITIAL
            engine.accept(changes, order.client_id, "1")
            if quantity := Decimal(traded):
                cost = quantity * order.price
                fee = (Decimal(0), "USDT", 0, True)
                fill = Fill(
                    *("1", order.client_id, order.side, order.price, quantity, cost),
                    *fee,
                )
                engine.record_fill(changes, fill)
            engine.record_canceled(changes, order.client_id)
        assert engine.waiting_for_price
        tried = Again(engine, run.plan, [], [])
        monkeypatch.setattr(session.broker, "ask_price", lambda: ask)
        monkeypatch.setattr(session.broker, "bid_price", lambda: bid)
        monkeypatch.setattr(
            start_grid,
            "wait_for_range",
            lambda _, plan, __, *bought: tried.purchases.append((plan.start_price, *bought)),
        )
        monkeypatch.setattr(start_grid, "check_funds", lambda *asked: tried.funds.append(asked[2]))
        monkeypatch.setattr(session, "commit", lambda _: None)
        start_grid.reprice(session, engine)
        return tried

    return make


@pytest.mark.parametrize("traded", [None, "0"], ids=["not begun", "not traded"])
def test_a_purchase_of_which_nothing_has_traded_is_planned_again(again, traded):
    tried = again("0", traded)
    bought = first_purchase(tried.engine.plan, tried.engine.market, Decimal(0))
    assert bought > tried.plan.initial_quantity
    assert tried.purchases == [(ASK, bought, Decimal(0))]
    assert tried.funds == [Decimal(9000)]
    assert (tried.order.side, tried.order.price, tried.order.quantity) == (Side.BUY, ASK, bought)


def test_a_purchase_that_needs_nothing_any_more_has_to_be_in_the_range_too(again):
    tried = again("0", "0", ask=Decimal(60_000))
    assert tried.purchases == [(Decimal(60_000), Decimal(0), Decimal(0))]


def test_of_a_purchase_that_has_traded_in_part_the_rest_is_bought(again):
    tried = again("0", "0.04")
    rest = tried.plan.initial_quantity - Decimal("0.04")
    assert tried.purchases == [(ASK, rest, Decimal(2000))]
    assert tried.funds == [Decimal(7000)]
    assert (tried.order.price, tried.order.quantity) == (ASK, rest)


def test_what_was_carried_is_paid_already(again):
    tried = again("0.05", "0")
    assert [spent for *_, spent in tried.purchases] == [Decimal(0)]
    assert tried.funds == [Decimal(9000) - Decimal(2500)]


@pytest.mark.parametrize("traded", ["0", "0.01"])
def test_a_sale_is_tried_at_what_buyers_pay_and_needs_no_money(again, traded):
    tried = again("0.2", traded)
    assert tried.purchases == tried.funds == []
    assert (tried.order.side, tried.order.price) == (Side.SELL, BID)


def test_a_sale_that_the_price_has_made_a_purchase_has_to_be_in_the_range(again):
    tried = again("0.1", "0", bid=FALLEN)
    bought = first_purchase(tried.engine.plan, tried.engine.market, Decimal("0.1"))
    assert tried.purchases == [(FALLEN, bought, Decimal(0))]
    assert bought > 0
    assert tried.order.side is Side.BUY
