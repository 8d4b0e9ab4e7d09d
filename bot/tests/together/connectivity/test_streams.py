"""The account's streams against the real exchange core, under virtual time."""

import itertools
from decimal import Decimal
from types import SimpleNamespace

import pytest
from gridbase.candles.series import Candle
from gridbase.sockets.socket import SocketClosed
from gridbot.core.orders import Order, OrderState, Role, Side
from gridbot.exchanges.binance.connection import FIRST_STREAM_SECONDS
from gridbot.exchanges.port import BrokerError, Failure, OrderEvent, StreamGap
from gridbot.indicators.candle_cache import CandleCache
from gridbot.trading.session import Session

from .conftest import trading

MINUTE = 60_000


def order(client_id, side=Side.BUY, price="49000", quantity="0.01"):
    return Order(
        client_id=client_id,
        leg=client_id,
        role=Role.GRID,
        side=side,
        line=0,
        attempt=1,
        price=Decimal(price),
        quantity=Decimal(quantity),
        state=OrderState.INTENDED,
        exchange_id=None,
        created_ms=0,
    )


@pytest.fixture
def world(make_world):
    return make_world(at_end="hold")


@pytest.fixture
def broker(world):
    broker = world.broker()
    broker.connect()
    return broker


def rest(world):
    """REST requests so far, without those of the start."""
    return [path for _, path in world.wire.requests if path not in {"time", "exchangeInfo"}]


def test_it_streams_after_the_start_and_says_so_once(broker):
    assert broker.streaming
    assert broker.events() == [StreamGap()]
    assert broker.events() == []


def test_orders_go_over_the_channel_and_their_events_come_back(world, broker):
    broker.events()
    placed = broker.place(order("pi9-a"))
    assert broker.find("pi9-a") == placed
    assert broker.open_orders() == [placed]
    (event,) = broker.events()
    assert event == OrderEvent(placed, None)
    broker.cancel("pi9-a")
    (event,) = broker.events()
    assert (event.order.client_id, event.order.closed, event.trade) == ("pi9-a", True, None)
    with pytest.raises(BrokerError) as error:
        broker.cancel("pi9-a")
    assert error.value.failure is Failure.NOT_FOUND
    assert rest(world) == []


def test_a_trade_is_told_as_the_list_of_trades_tells_it(world, broker):
    broker.events()
    broker.place(order("pi9-a", price="50600"))
    told = [event.trade for event in broker.events() if event.trade is not None]
    assert (told, broker.latest_cursor()) == broker.trades_after("0")
    assert told == broker.trades_of(told[0].exchange_id)
    assert rest(world) == []


def test_balances_and_all_orders_come_over_the_channel(world, broker):
    broker.place(order("pi9-a"))
    assert broker.balances()["USDT"] > 0
    assert broker.free_balance("USDT") == broker.balances()["USDT"] - Decimal(490)
    assert [known.client_id for known in broker.orders_since(())] == ["pi9-a"]
    assert rest(world) == []


def test_waiting_ends_with_the_event(world, broker):
    broker.events()
    broker.place(order("pi9-a", price="49900"))
    broker.events()
    broker.wait(0.0)
    before = world.clock.seconds
    broker.wait(3600.0)
    (event,) = broker.events()
    assert event.trade is not None
    assert 0 < world.clock.seconds - before < 3600
    # What nobody has looked at keeps nobody awake.
    before = world.clock.seconds
    broker.wait(5.0)
    assert world.clock.seconds - before == pytest.approx(5.0, abs=0.01)


def test_waiting_ends_with_a_stop(world, broker):
    broker.events()
    world.clock.stop_at = world.clock.seconds + 4
    broker.wait(3600.0)
    assert world.clock.seconds < world.clock.stop_at + 2


def test_a_drop_is_a_gap_rest_takes_over_and_the_next_connection_is_another_gap(world, broker):
    broker.events()
    world.network.account.broken = True
    world.network.refusing = True
    broker.place(order("pi9-a"))
    assert not broker.streaming
    assert rest(world) == ["order"]
    assert broker.events() == [StreamGap()]
    world.network.refusing = False
    broker.wait(10.0)
    assert broker.streaming
    assert broker.events() == [StreamGap()]


def test_reconnecting_backs_off_to_a_minute(world, broker):
    world.network.refusing = True
    world.network.account.broken = True
    world.network.market.broken = True
    world.network.dials.clear()
    for _ in range(600):
        broker.wait(1.0)
        broker.events()
    times = [when for when, url in world.network.dials if url.endswith("v3")]
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert pauses[0] < 4
    assert 40 < max(pauses) < 80
    assert len(times) < 20


def test_an_answer_that_never_comes_is_ambiguous_and_asked_for_over_rest(world, broker):
    world.network.on_send = lambda text: "lost" if "order.place" in text else None
    before = world.clock.seconds
    with pytest.raises(BrokerError) as error:
        broker.place(order("pi9-a"))
    assert error.value.failure is Failure.AMBIGUOUS
    assert 9 < world.clock.seconds - before < 12
    world.network.on_send = lambda _text: None
    with pytest.raises(BrokerError) as error:
        broker.find("pi9-a")
    assert error.value.failure is Failure.NOT_FOUND
    assert sum("order.place" in text for _, text in world.network.sent) == 1


def test_a_connection_that_breaks_after_an_order_is_ambiguous(world, broker):
    world.network.on_send = lambda text: "cut after" if "order.place" in text else None
    with pytest.raises(BrokerError) as error:
        broker.place(order("pi9-a"))
    assert error.value.failure is Failure.AMBIGUOUS
    assert broker.find("pi9-a").client_id == "pi9-a"


def test_a_read_whose_connection_breaks_is_asked_again_over_rest(world, broker):
    world.network.on_send = lambda text: "cut after" if "openOrders" in text else None
    assert broker.open_orders() == []
    assert rest(world) == ["openOrders"]


@pytest.mark.parametrize(
    "garbage", ["{", "[]", '{"id": null, "status": 400}', '{"event": {"e": "executionReport"}}']
)
def test_a_message_without_sense_ends_the_connection_and_is_logged_once(
    world, broker, caplog, garbage
):
    broker.events()
    world.network.account.arrived.append(garbage)
    assert broker.events() == [StreamGap()]
    assert not broker.streaming
    assert sum("makes no sense" in line for line in caplog.messages) == 1
    broker.wait(5.0)
    assert broker.streaming


@pytest.mark.parametrize("kind", ["serverShutdown", "eventStreamTerminated"])
def test_an_announced_end_is_followed_by_a_new_connection(world, broker, kind):
    broker.events()
    world.network.account.arrived.append(f'{{"event": {{"e": "{kind}", "E": 1}}}}')
    broker.wait(5.0)
    broker.wait(5.0)
    assert broker.streaming
    assert broker.events() == [StreamGap(), StreamGap()]


def test_a_silent_connection_is_probed_and_cut(world, broker):
    broker.events()
    world.network.account.hanging = True
    broker.wait(120.0)
    assert broker.events()[0] == StreamGap()
    assert any('"method":"time"' in text for _, text in world.network.sent)
    broker.wait(10.0)
    assert broker.streaming


def test_a_quiet_connection_is_kept(world, broker):
    broker.events()
    first = world.network.account
    for _ in range(40):
        broker.wait(60.0)
    assert world.network.account is first
    assert broker.events() == []
    assert rest(world) == []


def test_the_price_comes_from_the_market_stream(world, broker):
    for _ in range(200):
        broker.wait(2.0)
        price = broker.last_price()
    (listing,) = world.api.exchange.listings.values()
    assert price == listing.engine.last_price
    assert rest(world) == []


def test_without_the_market_stream_the_price_is_asked_for(world, broker):
    world.network.refusing = True
    world.network.market.broken = True
    (listing,) = world.api.exchange.listings.values()
    assert broker.last_price() == listing.engine.last_price
    assert rest(world) == ["ticker/price"]


def test_what_the_market_stream_said_before_it_was_cut_counts_once(world, broker):
    broker.wait(2.0)
    assert broker.told() is not None
    for _ in range(40):
        broker.wait(2.0)
    (listing,) = world.api.exchange.listings.values()
    said = listing.engine.last_price
    world.network.refusing = True
    world.network.market.broken = True
    seen = broker.told()
    assert seen.last == said
    assert seen.low < seen.high
    assert broker.told() is None


def test_a_connection_that_lives_and_says_no_price_is_not_believed_for_long(world, broker):
    broker.wait(2.0)
    broker.last_price()
    first = world.network.market
    # Something else comes all the time: the other end is there.
    world.network.on_message = lambda text: '{"data":{"e":"trade"}}' if "kline" in text else text
    (listing,) = world.api.exchange.listings.values()
    for _ in range(300):
        broker.wait(2.0)
        broker.last_price()
    assert world.network.market is first
    assert 5 <= len(rest(world)) <= 8  # in 600 s
    broker.wait(91.0)
    assert broker.last_price() == listing.engine.last_price


def test_a_stream_that_the_exchange_has_dropped_is_asked_for_again(world, broker):
    broker.wait(2.0)
    broker.last_price()
    first = world.network.market
    drop = '{"method":"UNSUBSCRIBE","params":["btcusdt@kline_1m"],"id":987}'
    first.connection.receive(drop)
    broker.wait(30.0)
    for _ in range(60):
        broker.wait(2.0)
        price = broker.last_price()
    (listing,) = world.api.exchange.listings.values()
    assert price == listing.engine.last_price
    assert world.network.market is first
    assert rest(world) == []


def columns(window):
    """All that a window knows of its latest 30 candles."""
    kinds = window.opens, window.highs, window.lows, window.closes, window.volumes
    return [window.times(30), *(kind(30).tolist() for kind in kinds)]


def test_closed_candles_are_asked_for_once_and_then_streamed(world, broker):
    for _ in range(10):
        broker.wait(2.0)
    cache = CandleCache(broker.candles)
    assert broker.stream_candles("1m", cache.push) is None
    first = broker.candles("1m", 30)
    cache.series("1m", len(first), first[-1].time + 2 * MINUTE)
    assert rest(world) == ["klines"] * 2
    for _ in range(40):
        broker.wait(60.0)
    newest = broker.stream_candles("1m", cache.push)
    window = cache.series("1m", len(first), newest + MINUTE + 2_000)
    assert rest(world) == ["klines"] * 2
    assert newest == window.last_time > first[-1].time
    other = world.broker()
    other.connect()
    later = other.candles("1m", 30)
    assert len(later) == 30
    assert columns(window)[0] == [each.time for each in later]
    fresh = CandleCache(other.candles).series("1m", 30, newest + MINUTE)
    assert columns(fresh) == columns(window)


def test_a_session_asks_for_candles_once_and_takes_them_from_the_stream(world, broker):
    session = Session(world.config.account, world.grid, broker, world.open_store(), world.clock)
    for _ in range(10):
        broker.wait(2.0)
    first = session.candles("1m", 30)
    # Once for the time of a market that is replayed, once for the candles.
    assert rest(world) == ["klines"] * 2
    for _ in range(40):
        broker.wait(20.0)
        assert session.candles("1m", 30) is first
    assert rest(world) == ["klines"] * 2
    other = world.broker()
    other.connect()
    later = other.candles("1m", 30)
    assert first.times(30) == [each.time for each in later]


def test_candles_are_asked_for_again_after_a_gap(world, broker):
    broker.wait(20.0)
    broker.events()
    broker.wait(20.0)
    session = Session(world.config.account, world.grid, broker, world.open_store(), world.clock)
    broker.candles("1m", 30)
    session.candles("1m", 30)
    asked = len(rest(world))
    session.candles("1m", 30)
    assert rest(world) == ["klines"] * asked
    world.network.market.broken = True
    broker.wait(20.0)
    assert broker.stream_candles("1m", lambda *_: None) is None
    window = session.candles("1m", 30)
    assert rest(world) == ["klines"] * (asked + 2)
    other = world.broker()
    other.connect()
    assert window.times(30) == [each.time for each in other.candles("1m", 30)]


def test_an_interval_that_the_exchange_does_not_stream_leaves_the_rest_alone(world, broker):
    broker.account.market.watch(broker.id, "7m")
    broker.wait(5.0)
    world.network.market.broken = True
    broker.wait(5.0)
    broker.wait(5.0)
    assert broker.account.market.up
    assert not any("7m" in url for _, url in world.network.dials)


def test_a_hole_ends_a_row_of_candles():
    candles = [Candle(minute * MINUTE, 1, 1, 1, 1, 1.0) for minute in range(6)]
    asked = []

    def fetch(_interval, count):
        asked.append(count)
        return candles[: 3 if len(asked) == 1 else 6][-count:]

    cache = CandleCache(fetch)
    cache.push("1m", candles[0])
    assert cache.series("1m", 3, 3 * MINUTE).times(9) == [0, MINUTE, 2 * MINUTE]
    cache.push("1m", candles[2])
    cache.push("1m", candles[3])
    window = cache.series("1m", 4, 4 * MINUTE)
    assert window.times(9) == [each.time for each in candles[:4]]
    assert asked == [3]
    for _ in range(2):
        cache.push("1m", candles[5])
        assert window.last_time == candles[3].time
    assert cache.series("1m", 4, 6 * MINUTE) is window
    assert asked == [3, 3]
    assert window.times(9) == [each.time for each in candles]


def test_events_of_a_symbol_that_nobody_looks_after_do_not_pile_up(world, broker):
    for number in range(600):
        broker.place(order(f"pi9-{number}", price="30000"))
        broker.cancel(f"pi9-{number}")
        world.clock.sleep(0.2)
    events = broker.events()
    assert len(events) <= 1000
    assert events[0] == StreamGap()


def test_a_market_of_longer_candles_tells_its_price_by_another_stream(make_world):
    rows = trading.zigzag(40)
    minutes = [row.split(",") for row in rows[1:]]
    longer = [f"{int(row[0]) * 5 - 4 * int(minutes[0][0])},{','.join(row[1:])}" for row in minutes]
    world = make_world([rows[0], *longer], at_end="hold")
    broker = world.broker()
    broker.connect()
    for _ in range(20):
        broker.wait(2.0)
        price = broker.last_price()
    requests = rest(world)
    for _ in range(20):
        broker.wait(2.0)
        price = broker.last_price()
    (listing,) = world.api.exchange.listings.values()
    assert price == listing.engine.last_price
    assert rest(world) == requests
    assert broker.candles("5m", 3)[-1].time % 300_000 == 0


def test_a_market_that_stops_streaming_is_asked_once_in_a_poll(world, broker):
    world.network.refusing = True
    world.network.market.broken = True
    for _ in range(10):
        broker.last_price()
        world.clock.sleep(0.1)
    assert rest(world) == ["ticker/price"]
    world.clock.sleep(2.0)
    broker.last_price()
    assert rest(world) == ["ticker/price"] * 2


def test_a_stream_that_hangs_holds_up_the_start_for_half_a_second_at_most(world):
    world.network.on_send = lambda _text: "lost"
    before = world.clock.seconds
    broker = world.broker()
    broker.connect()
    requests = len(world.wire.requests)
    assert not broker.streaming
    assert world.clock.seconds - before <= FIRST_STREAM_SECONDS + requests * 0.01 + 0.01
    assert broker.place(order("pi9-a")).client_id == "pi9-a"
    assert rest(world) == ["order"]


def test_the_time_is_asked_for_every_half_hour_of_a_busy_connection(world, broker):
    world.network.sent.clear()
    for number in range(130):
        broker.place(order(f"pi9-{number}", price="30000", quantity="0.001"))
        broker.cancel(f"pi9-{number}")
        broker.wait(0.0)
        broker.events()
        world.clock.sleep(15.0)
    asked = [text for path, text in world.network.sent if path.endswith("v3") and "time" in text]
    assert sum('"method":"time"' in text for text in asked) == 1


def test_a_subscription_without_an_answer_is_given_up(make_world):
    world = make_world(at_end="hold")
    world.network.on_send = lambda text: "lost" if "userDataStream" in text else None
    broker = world.broker()
    broker.connect()
    assert not broker.streaming
    world.network.on_send = lambda _text: None
    broker.wait(15.0)
    assert broker.streaming


def test_a_subscription_that_bears_a_wrong_time_is_made_again_with_a_right_one(world, broker):
    for _ in range(5):
        broker.account.time.sample(world.clock.monotonic(), world.clock.now_ms() - 60_000)
    world.network.account.broken = True
    world.network.dials.clear()
    for _ in range(10):
        broker.wait(1.0)
        broker.events()
    assert broker.streaming
    assert sum(url.endswith("v3") for _, url in world.network.dials) == 2


def test_after_a_connection_that_lasted_the_next_is_tried_at_once(world, broker):
    def outage(seconds):
        world.network.refusing = True
        world.network.account.broken = True
        world.network.dials.clear()
        began = world.clock.seconds
        while world.clock.seconds - began < seconds:
            broker.wait(1.0)
            broker.events()
        world.network.refusing = False
        return next(when for when, url in world.network.dials if url.endswith("v3")) - began

    outage(300.0)
    for _ in range(200):
        broker.wait(1.0)
        broker.events()
    assert broker.streaming
    assert outage(5.0) < 2.5


def test_a_connection_that_breaks_while_an_order_is_sent_is_ambiguous_and_gone(world, broker):
    broker.events()

    def breaks(_text):
        raise SocketClosed("broken pipe")

    world.network.account.send = breaks
    with pytest.raises(BrokerError) as error:
        broker.place(order("pi9-a"))
    assert error.value.failure is Failure.AMBIGUOUS
    assert not broker.streaming
    assert broker.events() == [StreamGap()]


def test_a_price_from_before_a_gap_is_not_believed(world, broker):
    for _ in range(5):
        broker.wait(1.0)
    assert broker.last_price() > 0
    assert rest(world) == []
    world.network.mute = True
    world.network.market.broken = True
    broker.wait(3.0)
    assert broker.account.market.up
    broker.last_price()
    assert rest(world) == ["ticker/price"]


@pytest.mark.parametrize("jump_ms", [0, -3_000_000, 3_000_000])
def test_the_exchange_says_over_the_channel_how_long_to_wait(make_world, monkeypatch, jump_ms):
    """By its own time: a Pi's clock may be wrong by an hour until it is set."""
    world = make_world(at_end="hold", weight_per_minute=100)
    broker = world.broker()
    broker.connect()

    def use_up():
        for _ in range(20):
            broker.account._channel.ask("account.status", {})

    now_ms, channel = broker.now_ms, broker.account._channel
    refuse = channel._retry_after
    wrong = SimpleNamespace(now_ms=lambda: now_ms() + jump_ms)

    def jumped(data):
        with monkeypatch.context() as patch:
            patch.setattr(channel, "_time", wrong)
            return refuse(data)

    monkeypatch.setattr(channel, "_retry_after", jumped)

    with pytest.raises(BrokerError) as error:
        use_up()
    assert error.value.failure is Failure.RATE_LIMITED
    assert 0 < error.value.retry_after <= 60


def test_a_request_that_bears_a_wrong_time_is_made_again_with_a_right_one(world, broker):
    for _ in range(5):
        broker.account.time.sample(world.clock.monotonic(), world.clock.now_ms() - 60_000)
    assert broker.open_orders() == []
    assert rest(world) == []
    assert abs(broker.account.document()["clock_ahead_ms"]) < 100
    assert broker.place(order("pi9-a")).client_id == "pi9-a"
