"""The broker for any exchange of ccxt, on the one that can be had here: Binance's class."""

from decimal import Decimal

import pytest
from gridbase.errors import UserError
from gridbot.config.load import LIVE_CONFIRMATION
from gridbot.exchanges.ccxt.account import CcxtAccount
from gridbot.exchanges.ccxt.answers import order_number, read_market, read_trade
from gridbot.exchanges.ccxt.requirements import missing
from gridbot.exchanges.port import BrokerError, Failure

from bot.tests.together.in_process import refusal

from .conftest import trading
from .test_streams import order
from .worlds import CcxtWorld


@pytest.fixture
def make_world(tmp_path):
    worlds = []

    def make(candles=None, **flags):
        world = CcxtWorld(tmp_path, candles or trading.zigzag(), **flags)
        worlds.append(world)
        return world

    yield make
    for world in worlds:
        world.close()


@pytest.fixture
def world(make_world):
    return make_world(at_end="hold")


@pytest.fixture
def broker(world):
    broker = world.broker()
    broker.connect()
    return broker


def test_the_rules_are_those_that_the_other_broker_reads(broker, world):
    theirs = world.other().connect()
    ours = broker.connect()
    assert ours.symbol == theirs.symbol
    for name in ("tick_size", "lot_size", "min_quantity", "min_notional", "max_quantity"):
        assert getattr(ours, name) == getattr(theirs, name), name


def test_orders_and_trades_are_what_the_other_broker_reads(world, broker):
    placed = broker.place(order("pi9-a"))
    other = world.other()
    assert placed == other.find("pi9-a") == broker.find("pi9-a")
    broker.place(order("pi9-b", price="50600"))
    trades, cursor = broker.trades_after("0")
    assert (trades, cursor) == other.trades_after("0")
    assert broker.trades_of(trades[0].exchange_id) == [trades[0]]
    assert broker.latest_cursor() == other.latest_cursor() == cursor
    assert broker.balances() == other.balances()
    assert broker.free_balance("USDT") == other.free_balance("USDT")
    assert broker.orders_since(()) == other.orders_since(())
    assert broker.open_orders() == other.open_orders()
    assert broker.last_price() == other.last_price()
    assert broker.ask_price() == other.ask_price()
    assert broker.bid_price() == other.bid_price()
    broker.cancel("pi9-a")
    assert broker.find("pi9-a").closed
    with pytest.raises(BrokerError) as error:
        broker.cancel("pi9-a")
    assert error.value.failure is Failure.NOT_FOUND


def test_looks_at_the_price_are_those_of_the_other_broker(make_world):
    world = make_world(speed=1)
    broker, other = world.broker(), world.other()
    broker.connect()
    looks = []
    for _ in range(4):
        looks.append(broker.look())
        assert other.look() == looks[-1]
        world.clock.sleep(50.0)
    assert looks[0].low == looks[0].last == looks[0].high
    assert all(seen.low < seen.high for seen in looks[1:])


def test_a_broker_that_knows_no_number_of_an_order_finds_it_to_cancel_it(world, broker):
    broker.place(order("pi9-a"))
    other = world.broker()
    other.connect()
    other.cancel("pi9-a")
    assert other.find("pi9-a").closed


def test_candles_are_those_that_the_other_broker_reads(world, broker):
    world.clock.sleep(60.0)
    other = world.other()
    assert broker.candles("1m", 20) == other.candles("1m", 20) != []


def test_only_the_own_market_is_kept(broker):
    assert list(broker.account.client.markets) == ["BTC/USDT"]


def test_a_symbol_that_is_not_traded_is_named(world):
    world.document["market"]["symbol"] = "ETH/USDT"
    with pytest.raises(UserError, match="ETH/USDT"):
        world.broker().connect()


def test_trades_are_complete_or_refused(world, broker):
    for number in range(5):
        broker.place(order(f"pi9-{number}", price="60000", quantity="0.001"))
    fresh = world.broker()
    fresh.connect()
    trades, cursor = fresh.trades_after("2")
    assert [trade.trade_id for trade in trades] == ["3", "4", "5"]
    assert fresh.trades_after(cursor) == ([], "5")
    fresh = world.broker()
    fresh.connect()
    fresh.account.client.fetch_my_trades = lambda *_: []
    with pytest.raises(BrokerError, match="does not list trade 98"):
        fresh.trades_after("98")


@pytest.mark.parametrize(
    ("said", "closed"),
    [
        *(("open", False), ("canceling", False)),
        *(("closed", True), ("canceled", True), ("expired", True), ("rejected", True)),
    ],
)
def test_an_order_that_is_being_canceled_is_open(broker, said, closed):
    broker.place(order("pi9-a"))
    row = broker.account.client.fetch_order(None, "BTC/USDT", {"clientOrderId": "pi9-a"})
    broker.account.client.fetch_order = lambda *_: row | {"status": said}
    assert broker.find("pi9-a").closed is closed


@pytest.mark.parametrize("said", [None, "PENDING_NEW"])
def test_of_a_state_without_a_word_nothing_is_concluded(broker, said):
    broker.place(order("pi9-a"))
    row = broker.account.client.fetch_order(None, "BTC/USDT", {"clientOrderId": "pi9-a"})
    broker.account.client.fetch_order = lambda *_: row | {"status": said}
    with pytest.raises(BrokerError, match="makes no sense") as error:
        broker.find("pi9-a")
    assert error.value.failure is Failure.AMBIGUOUS


def test_what_is_remembered_of_orders_is_bounded(broker, monkeypatch):
    monkeypatch.setattr("gridbot.exchanges.ccxt.symbol.MOST_NUMBERS", 3)
    names = [f"pi9-{number}" for number in range(6)]
    for name in names:
        broker.place(order(name))
    assert len(broker._names) == len(broker._numbers) == 3
    for name in names:
        broker.cancel(name)
        assert broker.find(name).closed
    assert len(broker._names) <= 3


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((400, -2013, "Order does not exist."), Failure.NOT_FOUND),
        ((401, -2015, "Invalid API-key."), Failure.AUTH),
        ((429, -1003, "Too much request weight used."), Failure.RATE_LIMITED),
        ((400, -2010, "Account has insufficient balance for requested action."), Failure.REJECTED),
        ((400, -2010, "Duplicate order sent."), Failure.AMBIGUOUS),
        ((400, -1013, "Filter failure: LOT_SIZE"), Failure.REJECTED),
        ((503, -1008, "Server is currently overloaded."), Failure.AMBIGUOUS),
        ((500, -1000, "An unknown error occurred."), Failure.AMBIGUOUS),
    ],
)
def test_every_failure_has_one_kind(world, broker, answer, kind):
    world.wire.before = lambda *_: refusal(*answer)
    with pytest.raises(BrokerError) as error:
        broker.place(order("pi9-a"))
    assert error.value.failure is kind
    assert "http" not in str(error.value).replace("http://exchange.test", "", 1)


@pytest.mark.parametrize(
    ("action", "kind"),
    [(trading.lost, Failure.AMBIGUOUS), (trading.unreachable, Failure.UNREACHABLE)],
)
def test_no_answer_is_ambiguous_unless_nothing_was_sent(world, broker, action, kind):
    world.wire.before = action
    with pytest.raises(BrokerError) as error:
        broker.place(order("pi9-a"))
    assert error.value.failure is kind
    assert "signature" not in str(error.value)


def test_an_earlier_refused_connection_tells_nothing_of_this_order(world, broker):
    world.wire.before = trading.lost
    try:
        trading.unreachable()
    except OSError:  # as where the stops are judged after a step has failed
        with pytest.raises(BrokerError) as error:
            broker.place(order("pi9-a"))
    assert error.value.failure is Failure.AMBIGUOUS


def test_a_wrong_clock_is_set_and_the_request_repeated(world, broker):
    broker.account.time.forget()
    broker.account.time.sample(world.clock.monotonic(), world.clock.now_ms() - 60_000)
    assert broker.open_orders() == []


def test_after_a_wrong_clock_an_order_is_left_to_who_sends_it(world, broker):
    broker.account.time.forget()
    broker.account.time.sample(world.clock.monotonic(), world.clock.now_ms() - 60_000)
    with pytest.raises(BrokerError) as error:
        broker.place(order("pi9-a"))
    assert error.value.failure is Failure.CLOCK
    assert broker.place(order("pi9-a")).client_id == "pi9-a"  # the time is set


def test_a_grid_runs_and_the_books_are_the_exchanges(make_world):
    world = make_world(trading.zigzag(40), at_end="hold")
    world.run(world.runner(), 60.0)
    world.clock.sleep(10_000)
    trader = world.trader()
    world.settle(trader)
    trading.check_books(world, trader)
    report = world.audit()
    assert report.trades >= 20
    assert report.differences == []


def test_lost_answers_double_nothing(make_world):
    world = make_world(trading.zigzag(40), at_end="hold")
    dice = trading.random.Random(3)

    def sometimes(_method, path):
        return trading.lost() if path == "order" and dice.random() < 0.2 else None

    world.wire.after = sometimes
    world.run(world.runner(), 2400.0)
    world.wire.after = lambda *_: None
    world.clock.sleep(10_000)
    trader = world.trader()
    for _ in range(10):
        trader.step()
        world.clock.sleep(70.0)
    world.settle(trader)
    trading.check_books(world, trader)
    assert world.audit().differences == []


def test_what_is_missing_is_named_in_one_line(world):
    world.document |= {"mode": "live", "live_confirmation": LIVE_CONFIRMATION}
    world.document["exchange"]["name"] = "bithumb"
    del world.document["exchange"]["url"]
    config = world.config.account.exchange
    with pytest.raises(UserError) as error:
        CcxtAccount(config, "key", "secret", clock=world.clock)
    assert "fetchMyTrades (the account's trades)" in str(error.value)
    assert "\n" not in str(error.value)


def test_binance_lacks_nothing(broker):
    assert missing(broker.account.client) == []


def test_order_ids_become_numbers():
    assert order_number("12345") == "12345"
    assert order_number("68c8e2b9") != order_number("68c8e2ba")
    assert 0 < int(order_number("x" * 36)) < 2**63
    with pytest.raises(ValueError, match="no order ID"):
        order_number(None)


@pytest.mark.parametrize("fee", [None, {}, {"cost": None, "currency": "BNB"}])
def test_a_trade_without_a_fee_is_no_trade(fee):
    row = {"id": "1", "order": "2", "side": "buy", "price": "1", "amount": "2", "fee": fee}
    with pytest.raises(ValueError, match="one fee"):
        read_trade(row | {"timestamp": 5}, "kraken")


def test_a_trade_with_a_name_is_refused():
    row = {"id": "TCWJEG-FL4SZ", "price": "1", "amount": "2", "fee": {"cost": "0", "currency": "X"}}
    with pytest.raises(UserError, match="TCWJEG"):
        read_trade(row, "kraken")


@pytest.mark.parametrize(
    ("mode", "precision", "tick", "lot"),
    [
        (4, {"price": "0.05", "amount": "0.001"}, "0.05", "0.001"),
        (2, {"price": "2", "amount": "5"}, "0.01", "0.00001"),
        # Five digits at 50,000 and up to ten times that.
        (3, {"price": "5", "amount": "8"}, "10", "0.0000001"),
    ],
)
def test_every_way_to_say_precision(mode, precision, tick, lot):
    row = {
        "symbol": "BTC/USDT",
        "base": "BTC",
        "quote": "USDT",
        "precision": precision,
        "limits": {"amount": {"min": "0.001", "max": None}, "cost": {"min": None}},
    }
    market = read_market(row, mode, Decimal(50_000))
    assert (market.tick_size, market.lot_size) == (Decimal(tick), Decimal(lot))
    assert (market.min_quantity, market.min_notional) == (Decimal("0.001"), Decimal(0))
    assert (market.min_price, market.max_price) == (None, None)


@pytest.mark.parametrize(
    ("price", "bounds"),
    [
        ({"min": "0.01", "max": "1000000"}, (Decimal("0.01"), Decimal(1_000_000))),
        ({"min": None, "max": "0"}, (None, None)),
        (None, (None, None)),
    ],
)
def test_the_bounds_of_prices_are_read(price, bounds):
    row = {
        "symbol": "BTC/USDT",
        "base": "BTC",
        "quote": "USDT",
        "precision": {"price": "2", "amount": "5"},
        "limits": {"amount": {"min": None}, "cost": {"min": None}, "price": price},
    }
    market = read_market(row, 2, Decimal(50_000))
    assert (market.min_price, market.max_price) == bounds
    assert market.max_notional is None
    row["limits"]["cost"]["max"] = "9000000"
    assert read_market(row, 2, Decimal(50_000)).max_notional == 9_000_000
