"""Several symbols on one account: one connection, and everybody hears what is theirs."""

import dataclasses
from decimal import Decimal

import pytest
from gridbot.exchanges.port import OrderEvent, StreamGap
from gridexchange.exchange import Exchange
from gridexchange.limits import Limits
from gridexchange.market.listing import Listing
from gridexchange.protocol.requests import Credentials
from gridexchange.rest.application import Api
from gridexchange.store.store import Store

from .conftest import Network, trading
from .test_streams import order


@pytest.fixture
def world(make_world):
    """The same market under two names."""
    world = make_world(at_end="hold")
    (first,) = world.api.exchange.listings.values()
    market = dataclasses.replace(first.rules.market, symbol="ETH/USDT", base="ETH")
    rules = dataclasses.replace(first.rules, market=market)
    listings = [
        Listing(first.rules, first.feed, first._pace),
        Listing(rules, type(first.feed)(first.feed.series, "hold"), first._pace),
    ]
    world.api.exchange.close()
    (world.directory / "two").mkdir()
    exchange = Exchange(
        listings,
        store=Store(world.directory / "two"),
        balances={"USDT": Decimal(10_000)},
        clock=world.clock,
    )
    credentials = Credentials(trading.KEY, trading.SECRET)
    world.api = Api(exchange, credentials, Limits(), "recorded two")
    world.wire.application = world.api
    world.network = Network(world.api, world.clock)
    return world


@pytest.fixture
def account(world):
    return world.account()


@pytest.fixture
def brokers(account):
    brokers = [account.broker(symbol) for symbol in ("BTC/USDT", "ETH/USDT")]
    for broker in brokers:
        broker.connect()
        broker.events()
    return brokers


def test_a_broker_is_made_once(account, brokers):
    assert account.broker("ETH/USDT") is brokers[1]


def test_two_connections_serve_all_symbols(world, brokers):
    assert [broker.streaming for broker in brokers] == [True, True]
    paths = [socket.path for socket in world.network.sockets]
    assert sorted(paths) == ["/stream", "/ws-api/v3"]


def test_each_hears_what_is_its_own(brokers):
    bitcoin, ether = brokers
    placed = ether.place(order("pi9-e"))
    assert bitcoin.events() == []
    assert ether.events() == [OrderEvent(placed, None)]


def test_a_gap_is_everybodys(world, brokers):
    world.network.account.broken = True
    assert [broker.events() for broker in brokers] == [[StreamGap()], [StreamGap()]]


def test_waiting_ends_for_any_of_them(world, account, brokers):
    bitcoin, ether = brokers
    ether.place(order("pi9-e", price="49900"))
    ether.events()
    before = world.clock.seconds
    account.wait(3600.0)
    assert world.clock.seconds - before < 3600
    assert ether.events()
    assert bitcoin.events() == []


def test_each_has_its_price_and_candles_without_asking(world, account, brokers):
    for _ in range(20):
        account.wait(2.0)
    world.wire.requests.clear()
    assert brokers[0].last_price() == brokers[1].last_price() > 0
    assert world.wire.requests == []
    assert brokers[0].candles("1m", 5) == brokers[1].candles("1m", 5) != []


def test_a_symbol_that_joins_later_begins_with_a_gap(account):
    account.broker("BTC/USDT").connect()
    late = account.broker("ETH/USDT")
    late.connect()
    assert late.events() == [StreamGap()]
    for _ in range(5):
        account.wait(1.0)
    assert account.market.price("ETHUSDT") is not None
