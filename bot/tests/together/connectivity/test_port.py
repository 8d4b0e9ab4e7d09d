"""The contract of `gridbot.exchanges.port`, held by every adapter that there is."""

from dataclasses import replace
from decimal import Decimal

import pytest
from gridbot.core.orders import Side
from gridbot.exchanges.port import BrokerError, Failure, StreamGap

from .conftest import trading
from .test_streams import order
from .worlds import WORLDS


@pytest.fixture(params=WORLDS)
def world(tmp_path, request):
    one = WORLDS[request.param](tmp_path, trading.zigzag(), at_end="hold")
    yield one
    one.close()


@pytest.fixture
def broker(world):
    broker = world.broker()
    broker.connect()
    return broker


def trade(broker, *names):
    """Orders that trade at once; their IDs at the exchange."""
    return [
        broker.place(order(name, price="60000", quantity="0.001")).exchange_id for name in names
    ]


def ids(trades):
    return [one.trade_id for one in trades]


def test_a_market_names_its_coins_and_steps(world, broker):
    market = broker.connect()
    assert (market.symbol, market.base, market.quote) == ("BTC/USDT", "BTC", "USDT")
    assert market.tick_size > 0
    assert market.lot_size > 0
    assert broker.market_label.startswith("recorded ")
    assert abs(broker.now_ms() - world.clock.now_ms()) < 1000
    assert broker.receive_window_ms > 0


def test_a_market_of_coins_never_closes(world, broker):
    for _ in range(8):
        assert broker.closed_until is None
        world.clock.sleep(6 * 3600.0)


def test_an_order_is_what_was_asked_for_under_its_name(broker):
    wanted = order("pi9-a")
    placed = broker.place(wanted)
    assert placed == broker.find("pi9-a")
    assert [placed] == broker.open_orders()
    assert isinstance(placed.exchange_id, str)
    assert placed.exchange_id
    terms = (placed.client_id, placed.side, placed.price, placed.quantity, placed.executed)
    assert terms == ("pi9-a", "buy", wanted.price, wanted.quantity, 0)
    assert not placed.closed
    broker.cancel("pi9-a")
    assert broker.open_orders() == []
    assert broker.find("pi9-a") == replace(placed, closed=True)


def test_a_name_is_taken_once(broker):
    broker.place(order("pi9-a"))
    with pytest.raises(BrokerError) as error:
        broker.place(order("pi9-a"))
    assert error.value.failure in {Failure.AMBIGUOUS, Failure.REJECTED}
    assert len(broker.open_orders()) == 1


@pytest.mark.parametrize("ask", ["find", "cancel"])
def test_an_order_that_is_not_there_is_not_found(broker, ask):
    with pytest.raises(BrokerError) as error:
        getattr(broker, ask)("pi9-none")
    assert error.value.failure is Failure.NOT_FOUND


def test_a_post_only_order_that_would_take_is_refused(broker):
    with pytest.raises(BrokerError) as error:
        broker.place(order("pi9-a", price="60000"), post_only=True)
    assert error.value.failure is Failure.WOULD_TAKE
    assert broker.trades_after(broker.latest_cursor())[0] == []


def test_a_cursor_begins_where_an_account_without_trades_is(broker):
    cursor = broker.latest_cursor()
    assert isinstance(cursor, str)
    assert broker.trades_after(cursor) == ([], cursor)
    trade(broker, "pi9-a", "pi9-b")
    trades, after = broker.trades_after(cursor)
    assert len(trades) == 2
    assert after == broker.latest_cursor() != cursor


def test_each_trade_comes_after_a_cursor_once_and_the_oldest_first(broker):
    cursor = start = broker.latest_cursor()
    seen = []
    for number in range(4):
        trade(broker, f"pi9-{number}a", f"pi9-{number}b")
        news, after = broker.trades_after(cursor)
        assert len(news) == 2
        # Asked again, as after a crash before the cursor was written down: the same ones.
        assert broker.trades_after(cursor) == (news, after)
        assert broker.trades_after(after) == ([], after)
        seen += news
        cursor = after
    assert broker.trades_after(start) == (seen, cursor)
    assert len(set(ids(seen))) == len(seen) == 8
    times = [one.time_ms for one in seen]
    assert times == sorted(times)


def test_a_cursor_outlives_the_process(world, broker):
    cursor = broker.latest_cursor()
    trade(broker, "pi9-a")
    first, between = broker.trades_after(cursor)
    trade(broker, "pi9-b")
    again = world.broker()
    again.connect()
    second, _ = again.trades_after(between)
    assert ids(second)[-1:] != ids(first)
    assert ids(again.trades_after(cursor)[0]) == ids(first) + ids(second)


def test_a_trade_names_its_order_and_has_an_id_of_its_own(broker):
    cursor = broker.latest_cursor()
    numbers = trade(broker, "pi9-a", "pi9-b")
    trades, _ = broker.trades_after(cursor)
    assert [one.exchange_id for one in trades] == numbers
    for one in trades:
        assert isinstance(one.trade_id, str)
        assert broker.trades_of(one.exchange_id) == [one]
        assert (one.side, one.quantity) == (Side.BUY, Decimal("0.001"))
        assert one.quote == one.price * one.quantity
        assert one.commission_coin in {"BTC", "USDT"}
        assert not one.maker


def test_orders_since_some_are_at_least_those_and_all_that_came_later(broker):
    names = [f"pi9-{number}" for number in range(12)]
    numbers = [broker.place(order(name)).exchange_id for name in names]
    broker.cancel(names[5])
    for first in (0, 4, 11):
        # In no order: which one is the oldest is for the adapter to know.
        known = sorted(numbers[first:], key=lambda text: text[::-1])
        found = {one.client_id for one in broker.orders_since(known)}
        assert found >= set(names[first:])
    assert {one.client_id for one in broker.orders_since(())} == set(names)


def test_balances_are_free_and_locked(broker):
    before = broker.balances()
    broker.place(order("pi9-a"))
    assert broker.balances() == before
    assert broker.free_balance("USDT") == before["USDT"] - Decimal(490)
    assert broker.free_balance("none") == 0


def test_prices_are_of_one_market(world, broker):
    world.clock.sleep(60.0)
    prices = (broker.bid_price(), broker.ask_price(), broker.last_price())
    assert all(40_000 < price < 60_000 for price in prices)
    broker.look_anew()
    seen = broker.look()
    assert seen.low <= seen.last <= seen.high
    candles = broker.candles("1m", 5)
    assert 0 < len(candles) <= 5
    assert [one.time for one in candles] == sorted(one.time for one in candles)


def test_what_is_heard_is_what_is_asked_for(broker):
    if not broker.streaming:
        assert (broker.events(), broker.news, broker.told()) == ([], False, None)
        return
    assert broker.events() == [StreamGap()]
    cursor = broker.latest_cursor()
    trade(broker, "pi9-a")
    told = [event.trade for event in broker.events() if event.trade is not None]
    assert told == broker.trades_after(cursor)[0]
