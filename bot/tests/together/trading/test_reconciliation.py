"""When books count as up to date, and what comparing them with the exchange leaves alone."""

from types import SimpleNamespace

import pytest
from gridbot.core.orders_in_flight import State
from gridbot.exchanges.port import BrokerError
from gridbot.trading.reconciliation import CANCELED_SECONDS, CURRENT_SECONDS, Reconciler
from gridbot.trading.session import WindDown

from .conftest import lost
from .test_order_states import Stream, buy, one_sent, started, state, still


@pytest.mark.parametrize(
    ("gap", "streaming", "asked", "current"),
    [
        (False, True, 10 * CURRENT_SECONDS, True),  # the stream would have told
        (False, False, CURRENT_SECONDS, True),
        (False, False, CURRENT_SECONDS + 0.001, False),
        (True, True, 0.0, False),  # what it told has a hole
        (True, False, 0.0, False),
    ],
)
def test_books_are_current_as_far_as_the_exchange_tells(gap, streaming, asked, current):
    session = SimpleNamespace(
        account=SimpleNamespace(bot_name="pi1"),
        config=SimpleNamespace(base="BTC", quote="USDT"),
        clock=SimpleNamespace(monotonic=lambda: 1000.0 + asked),
        broker=SimpleNamespace(streaming=streaming),
    )
    assert Reconciler(session, 1000.0, gap).current is current


def quiet(make_world):
    """A grid that trades by stream, and what the stream and the exchange are made to say."""
    trader = started(still(make_world))
    return trader, Stream(trader)


def compare(trader) -> None:
    trader._reconciler.forget()
    trader._reconciler.follow(trader.engine)


def test_a_hole_in_the_stream_is_read_over_where_all_orders_are_as_they_were(make_world):
    trader, stream = quiet(make_world)
    trader.step()
    stream.trades_after = lambda _cursor: ([], "later")
    trader.step()
    assert trader.session.cursor != "later"
    compare(trader)
    assert trader.session.cursor == "later"


@pytest.mark.parametrize("newer", [{}, {"pi1-BTCUSDT-x": None}])
def test_trades_are_read_again_while_the_orders_of_some_are_not_known(make_world, newer):
    trader, order = one_sent(still(make_world), when="after")
    stream = Stream(trader)
    stream.trades_after = lambda _cursor: ([], "later")
    open_orders = stream._real.open_orders
    stream.open_orders = lambda: [one for one in open_orders() if one.client_id != order.client_id]
    assert trader.session.unsettled == 1
    compare(trader)
    assert trader.session.cursor != "later"
    del stream.open_orders
    trader.session.newer = newer
    compare(trader)
    assert trader.session.unsettled == 0
    assert (trader.session.cursor == "later") == (not newer)


def test_what_is_forgotten_is_not_waited_for(make_world):
    trader, order = one_sent(still(make_world), when="after")
    trader.session.forget()
    assert trader.session.unsettled == 0
    assert order.client_id not in trader.session.orders


def test_a_closed_order_that_is_still_listed_is_no_strangers(make_world):
    trader, stream = quiet(make_world)
    order = buy(trader)
    listed = stream._real.open_orders
    before = listed()
    stream._real.cancel(order.client_id)
    compare(trader)
    assert state(trader, order) is None
    stream.open_orders = lambda: before
    compare(trader)
    trader.step()
    assert state(trader, order) is None


def test_an_order_that_is_canceled_and_not_listed_is_not_said_to_be_open(make_world, caplog):
    world = still(make_world)
    trader = started(world)
    order = buy(trader)
    trader.session.wind_down = WindDown("a test")
    world.wire.before = lambda method, path: lost() if (method, path) == ("GET", "order") else None
    for _ in range(3):
        with pytest.raises(BrokerError):
            trader.step()
        world.clock.sleep(CANCELED_SECONDS)
    assert trader.session.orders[order.client_id].state is State.CANCELING
    assert "is still open" not in caplog.text
    world.wire.before = lambda *_: None
    trader.step()
    assert trader.engine is None
