"""Matching against trades of others: queue, quantity, and what a taker finds."""

from dataclasses import replace
from decimal import Decimal

import pytest
from gridexchange.errors import ApiError
from gridexchange.live.depth import Depth
from gridexchange.live.engine import LiveEngine
from gridexchange.live.events import Shown, Traded
from gridexchange.matching.orders import Balance, OrderRequest

from .conftest import make_rules

BIDS = [("100", "2"), ("99", "3"), ("98", "5")]
ASKS = [("101", "1"), ("102", "2"), ("104", "4")]


class Market:
    """An engine and the trades of others, numbered by themselves."""

    def __init__(self, fee_in="received") -> None:
        self.engine = LiveEngine(
            make_rules(fee_in=fee_in, min_notional=Decimal(1)),
            balances={"USDT": Balance(Decimal(10_000)), "BTC": Balance(Decimal(50))},
            open_orders=[],
            next_order_id=1,
            next_trade_id=1,
            price=Decimal(100),
        )
        self.depth = Depth()
        self.engine.follow(self.depth)
        self.show()
        self.time = 1_000

    def show(self, bids=BIDS, asks=ASKS) -> None:
        levels = [[(Decimal(p), Decimal(q)) for p, q in side] for side in (bids, asks)]
        self.depth.show(Shown(*levels))
        self.engine.seen()

    def trade(self, price, quantity, took="SELL", time=None) -> list[tuple[str, str]]:
        """What the account's orders get of a trade of others."""
        self.time += 1
        before = len(self.engine.changes.trades)
        number = self.time
        trade = Traded(number, Decimal(price), Decimal(quantity), time or number, took == "SELL")
        self.engine.trade(trade, self.time)
        return [_shown(trade) for trade in self.engine.changes.trades[before:]]

    def order(self, side, price, quantity, *, kind="LIMIT", force="GTC", quote=None):
        request = OrderRequest(
            side=side,
            type=kind,
            time_in_force=force,
            client_order_id=f"c{self.engine.next_order_id}",
            price=None if price is None else Decimal(price),
            quantity=None if quantity is None else Decimal(quantity),
            quote_quantity=None if quote is None else Decimal(quote),
        )
        order, trades = self.engine.place(request, self.time)
        return order, [_shown(trade) for trade in trades]


def _shown(trade) -> tuple[str, str]:
    return (f"{trade.price.normalize():f}", f"{trade.quantity.normalize():f}")


@pytest.fixture
def market():
    return Market()


@pytest.mark.parametrize(
    ("side", "price", "took", "beyond"),
    [("BUY", "99", "SELL", "98.99"), ("SELL", "102", "BUY", "102.01")],
)
def test_a_touched_price_is_no_fill_and_a_price_traded_through_is(
    market, side, price, took, beyond
):
    market.order(side, price, "1")
    assert market.trade(price, "0.5", took) == []
    market.show()
    assert market.trade(beyond, "0.4", took) == [(price, "0.4")]
    assert market.trade(beyond, "0.7", took) == [(price, "0.6")]
    assert market.engine.orders == {}


def test_the_quantity_that_was_there_before_trades_first(market):
    order, _ = market.order("BUY", "99", "1")
    assert market.trade("99", "2.5") == []
    assert market.trade("99", "0.7") == [("99", "0.2")]
    market.show(bids=[("99", "50")])  # whoever came later stands behind
    assert market.trade("99", "0.3") == [("99", "0.3")]
    assert order.remaining == Decimal("0.5")


def test_once_a_price_was_traded_through_nobody_is_before_an_order(market):
    market.order("BUY", "99", "1")
    assert market.trade("98.9", "0.1") == [("99", "0.1")]
    assert market.trade("99", "0.2") == [("99", "0.2")]


def test_at_its_price_only_takers_of_the_other_side_count(market):
    market.order("BUY", "100.5", "1")  # better than every bid: nobody is before it
    assert market.trade("100.5", "3", "BUY") == []
    assert market.trade("100.5", "0.25", "SELL") == [("100.5", "0.25")]


def test_beyond_the_shown_book_an_orders_queue_is_not_known_until_it_is_shown(market):
    market.order("BUY", "90", "1")
    assert market.trade("90", "100") == []
    market.show(bids=[("91", "1"), ("90", "4"), ("89", "1")])
    assert market.trade("90", "4") == []
    assert market.trade("90", "0.1") == [("90", "0.1")]


def test_after_a_restart_the_queue_is_not_known(market):
    market.order("BUY", "99", "1")
    market.engine.follow(Depth())
    assert market.trade("99", "100") == []
    assert market.trade("98.5", "100") == [("99", "1")]


def test_what_traded_is_given_once_to_the_better_price_then_to_the_older_order(market):
    for price, quantity in (("97", "1"), ("98", "1"), ("98", "1")):
        market.order("BUY", price, quantity)
    assert market.trade("96", "1.5") == [("98", "1"), ("98", "0.5")]
    assert market.trade("96", "0.6") == [("98", "0.5"), ("97", "0.1")]


def test_orders_at_one_price_share_what_is_left_behind_the_queue(market):
    market.order("BUY", "99", "1")
    market.order("BUY", "99", "1")
    assert market.trade("99", "4.5") == [("99", "1"), ("99", "0.5")]
    assert market.trade("99", "0.2") == [("99", "0.2")]


def test_a_trade_from_before_the_order_does_not_fill_it(market):
    market.order("BUY", "99", "1")
    assert market.trade("95", "9", time=market.time - 500) == []
    assert market.trade("95", "9") == [("99", "1")]


def test_a_taker_walks_the_book_and_gets_no_more_than_it_shows(market):
    order, trades = market.order("BUY", "102", "4")
    assert trades == [("101", "1"), ("102", "2")]
    assert (order.status, order.remaining) == ("PARTIALLY_FILLED", 1)
    assert order.locked == 102
    assert market.engine.balances["USDT"].locked == 102
    # What was taken is gone until the book is shown again.
    assert market.order("BUY", None, "1", kind="MARKET")[1] == [("104", "1")]
    market.show()
    assert market.order("BUY", None, "1", kind="MARKET")[1] == [("101", "1")]


def test_a_market_order_that_the_book_cannot_fill_ends(market):
    order, trades = market.order("SELL", None, "12", kind="MARKET")
    assert trades == [("100", "2"), ("99", "3"), ("98", "5")]
    assert (order.status, order.remaining) == ("EXPIRED", 2)
    assert market.engine.balances["BTC"] == Balance(Decimal(40), Decimal(0))
    order, trades = market.order("SELL", None, "1", kind="MARKET")
    assert (order.status, trades) == ("EXPIRED", [])


@pytest.mark.parametrize("fee_in", ["received", "quote"])
def test_an_amount_of_quote_buys_what_the_levels_cost(fee_in):
    market = Market(fee_in)
    order, trades = market.order("BUY", None, None, kind="MARKET", quote="152")
    assert trades == [("101", "1"), ("102", "0.5")]
    assert (order.status, market.engine.balances["USDT"].locked) == ("FILLED", 0)


@pytest.mark.parametrize(
    ("force", "quantity", "trades", "status"),
    [
        ("FOK", "3", [("101", "1"), ("102", "2")], "FILLED"),
        ("FOK", "3.1", [], "EXPIRED"),
        ("IOC", "3.1", [("101", "1"), ("102", "2")], "EXPIRED"),
    ],
)
def test_orders_that_do_not_rest(market, force, quantity, trades, status):
    order, found = market.order("BUY", "102", quantity, force=force)
    assert (found, order.status) == (trades, status)
    assert market.engine.balances["USDT"].locked == 0


def test_what_traded_since_the_book_was_shown_is_gone_from_it(market):
    market.trade("102", "0.5", "BUY")
    assert market.engine.levels("BUY") == [(Decimal(102), Decimal("1.5")), (Decimal(104), 4)]
    market.trade("99", "3", "SELL")
    assert market.engine.levels("SELL") == [(Decimal(98), Decimal(5))]
    assert market.order("BUY", None, "1", kind="MARKET")[1] == [("102", "1")]


def test_a_market_that_is_not_traded_takes_no_orders(market):
    market.engine.learn(replace(market.engine.rules, status="BREAK"))
    with pytest.raises(ApiError, match="Market is closed"):
        market.order("BUY", "99", "1")
