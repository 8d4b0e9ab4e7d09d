"""What makes the bot ask the exchange at once, and what does not."""

from dataclasses import replace

import pytest
from gridbase.errors import MismatchError
from gridbot.exchanges.port import OrderEvent

from .test_order_states import STILL, Stream, buy, foreign, started


def told(trader, name: str) -> Stream:
    stream = Stream(trader)
    trader.step()
    stream.lists = 0
    stream.say(OrderEvent(stream.find(name), None))
    return stream


def test_an_order_of_this_name_that_is_in_no_books_is_asked_for_at_once(make_world):
    trader = foreign(make_world(STILL), "pi1-BTCUSDT-zzzzzz-1b1")
    told(trader, "pi1-BTCUSDT-zzzzzz-1b1")
    with pytest.raises(MismatchError, match="not in its books"):
        trader.step()


def test_orders_of_others_are_not_asked_for(make_world):
    trader = foreign(make_world(STILL), "by-hand-1")
    stream = told(trader, "by-hand-1")
    trader.step()
    assert stream.lists == 0


def test_an_order_of_this_name_that_is_closed_already_is_not_asked_for(make_world):
    trader = foreign(make_world(STILL), "pi1-BTCUSDT-zzzzzz-1b1")
    trader.session.broker.cancel("pi1-BTCUSDT-zzzzzz-1b1")
    stream = told(trader, "pi1-BTCUSDT-zzzzzz-1b1")
    trader.step()
    assert stream.lists == 0


def test_an_order_that_the_books_know_is_not_asked_for(make_world):
    """What was told of it before it closed may arrive after the books have closed it."""
    trader = foreign(make_world(STILL), "by-hand-1")
    order = buy(trader)
    late = OrderEvent(trader.session.broker.find(order.client_id), None)
    trader.session.broker.cancel(order.client_id)
    trader.step()
    assert order.client_id not in trader.engine.live
    stream = told(trader, "by-hand-1")
    stream.say(late)
    trader.step()
    assert stream.lists == 0


def test_an_order_that_traded_as_it_arrived_is_looked_at_again_at_once(make_world):
    trader = started(make_world(STILL))
    assert not trader.step()
    broker = trader.session.broker
    place = broker.place

    def place_and_trade(order, **more):
        return replace(place(order, **more), executed=order.quantity / 2)

    broker.place = place_and_trade
    broker.cancel(buy(trader).client_id)
    assert trader.step()
    assert not trader.step()
