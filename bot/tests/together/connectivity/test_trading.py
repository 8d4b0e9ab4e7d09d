"""The whole bot over streams: few requests, and books that equal the exchange's, come what may."""

import random

import pytest

from .conftest import trading

HOUR = 3600.0


def finish(world):
    """Let the bot catch up with a market that stands still, and compare."""
    world.network.on_send = lambda _text: None
    world.network.on_message = lambda text: text
    world.network.refusing = False
    world.wire.after = lambda *_: None
    world.clock.sleep(10_000)
    trader = world.trader()
    for _ in range(10):
        trader.step()
        world.clock.sleep(8.0)
    world.settle(trader)
    trading.check_books(world, trader)
    report = world.audit()
    assert report.differences == []
    return report


def test_an_hour_of_trading_takes_few_rest_requests(make_world):
    world = make_world(trading.zigzag(400), at_end="hold", speed="6")
    world.run(world.runner(), HOUR)
    requests = len(world.wire.requests)
    report = finish(world)
    print(f"{report.trades} trades, {requests} REST requests in the first hour")
    assert report.trades > 100
    assert requests <= 30


@pytest.mark.parametrize("seed", range(4))
def test_a_stream_that_drops_loses_and_hangs_costs_no_fill(make_world, seed):
    world = make_world(trading.zigzag(60), at_end="hold", speed="6")
    dice = random.Random(seed)  # noqa: S311 - faults, no secret

    def on_send(_text):
        draw = dice.random()
        if draw < 0.02:
            return "lost"
        return "cut after" if draw < 0.06 else None

    def on_message(text):
        draw = dice.random()
        if draw < 0.01:
            world.network.account.broken = True
        elif draw < 0.02:
            world.network.account.hanging = True
        elif draw < 0.03:
            return text[:-5]
        return text

    def after(_method, _path):
        return trading.lost() if dice.random() < 0.05 else None

    world.network.on_send = on_send
    world.network.on_message = on_message
    world.wire.after = after
    world.run(world.runner(), 1200.0)
    assert finish(world).trades > 20
