"""No buy leaves below the stop, and nothing that fails keeps a kill switch from being looked at."""

import contextlib
import itertools
import random
import sqlite3
from decimal import Decimal
from types import SimpleNamespace

import pytest
from gridbase.circuit_breaker import URGENT_SECONDS
from gridbot.core.orders import OrderState, Role, Side
from gridbot.core.orders_in_flight import Event
from gridbot.exchanges.binance.symbol import BinanceBroker
from gridbot.exchanges.port import BrokerError, Failure
from gridbot.service.grid_worker import LOOK_SECONDS
from gridbot.trading import start_grid
from gridbot.trading.cancels import RESTING_SECONDS, cancel_all, hurry
from gridbot.trading.risk_guard import ASKED_AGAIN_SECONDS, FRESH_SECONDS
from gridbot.trading.session import WindDown
from gridbot.trading.trader import Trader

from bot.tests.together.in_process import answer_of, refusal

from .conftest import World, lost, unreachable
from .test_policies import START_MS, ended, path, trade

STOP = Decimal(46_500)
RULES = {"loss_price": str(STOP)}
PRICES = {"klines", "ticker/price"}
# The switch fires so long after the price could be asked for: the breaker has its say.
HALT_SECONDS = URGENT_SECONDS + LOOK_SECONDS
# Sells fill, then the price falls through the stop and stays there.
FALL = path(50_000, 50_000, 52_000, 45_000, minutes=2)


def overloaded(*_request):
    return refusal(503, -1008, "Server is currently overloaded with other requests.")


def below_stop(world: World) -> bool:
    world.api.exchange.advance()
    (listing,) = world.api.exchange.listings.values()
    return listing.engine.last_price <= STOP


def fail(world: World, what, where, *, begins=0.0, ends=float("inf")):
    """Let requests of these kinds fail; returns when the price fell below the stop."""
    fell: list[float] = []
    sleep = world.clock.sleep

    def before(method, name):
        failing = begins <= world.clock.seconds < ends and where(method, name)
        return what(method, name) if failing else None

    def fall_asleep(seconds):
        sleep(seconds)
        if not fell and below_stop(world):
            fell.append(world.clock.seconds)

    world.wire.before, world.clock.sleep = before, fall_asleep
    return fell


def halted_at(world: World) -> float:
    """When a kill switch was written down, in the clock's seconds."""
    with contextlib.closing(sqlite3.connect(world.directory / "bot" / "gridbot.sqlite3")) as reader:
        ((at_ms,),) = reader.execute("SELECT at_ms FROM halts").fetchall()
    return (at_ms - 1_790_000_000_000) / 1000


def never_sent(world: World) -> int:
    """Orders that were given up and that the exchange never had."""
    with contextlib.closing(sqlite3.connect(world.directory / "bot" / "gridbot.sqlite3")) as reader:
        query = "SELECT count(*) FROM orders WHERE state = 'canceled' AND exchange_id IS NULL"
        return reader.execute(query).fetchone()[0]


def buys(world: World) -> list[str]:
    before, world.wire.before = world.wire.before, lambda *_: None
    orders = world.broker().orders_since(())
    world.wire.before = before
    return [order.client_id for order in orders if order.side == "buy"]


@pytest.mark.parametrize(
    "rules",
    [RULES, {"max_drawdown_percent": "2"}, RULES | {"liquidate": True}],
    ids=["price", "drawdown", "liquidate"],
)
def test_a_bot_that_was_dead_buys_nothing_below_its_stop(make_world, rules):
    candles = FALL if "loss_price" in rules else path(50_000, 50_000, 51_000, 40_000, minutes=2)
    world = make_world(candles, at_end="hold")
    trade(world, 3.5, stop=rules)
    before = buys(world)
    world.power_off()
    world.clock.sleep(20.0)
    trader = trade(world, 30.0)
    assert trader.halt is not None
    assert buys(world) == before
    assert never_sent(world) > 1
    assert len(ended(world)) == 1
    assert world.audit().differences == []


def test_a_dip_while_a_grid_is_prepared_stops_it_before_it_buys(make_world):
    world = make_world(path(50_000, 50_000, 45_000, 50_000), at_end="hold")
    waited = []

    def before(_method, name):
        if name == "account" and not waited:
            world.clock.sleep(4.0)  # the price falls through the stop and comes back
            waited.append(name)

    world.wire.before = before
    trader = trade(world, 10.0, stop=RULES)
    assert waited
    assert not below_stop(world)
    assert trader.halt is not None
    assert buys(world) == []


def test_nothing_is_bought_below_the_stop_after_maintenance(make_world):
    world = make_world(FALL, at_end="hold")
    world.document |= {"stop": RULES}
    away = {"begins": 3.5, "ends": 28.5}
    fail(world, lambda *_: answer_of("503 Maintenance", b""), lambda *_: True, **away)
    runner = world.run(world.runner(), 3.5)
    before = buys(world)
    runner = world.run(world.runner(), 60.0)
    assert runner.health()["state"] == "stopped"
    assert halted_at(world) - 28.5 < HALT_SECONDS
    assert buys(world) == before


@pytest.mark.parametrize(
    "where",
    [
        lambda method, name: (method, name) == ("POST", "order"),
        lambda _method, name: name not in PRICES,
        lambda _method, name: name in {"order", "openOrders", "myTrades"},
    ],
    ids=["orders", "all but prices", "all about orders"],
)
def test_the_stop_fires_though_everything_else_fails(make_world, where):
    world = make_world(path(50_000, 50_000, 51_900, *[51_900] * 8, 45_000, minutes=2))
    world.document |= {"stop": RULES}
    fell = fail(world, overloaded, where, begins=3.5, ends=90.0)
    world.run(world.runner(), 120.0)
    assert halted_at(world) - fell[0] < HALT_SECONDS
    world.power_off()
    assert world.broker().open_orders() == []


def test_the_stop_fires_while_a_move_waits_for_the_exchange(make_world, caplog):
    caplog.set_level("INFO")
    # The price falls while the tries are half a minute apart.
    candles = path(50_000, 50_000, 54_000, *[54_000] * 56, 45_000, *[45_000] * 10, minutes=2)
    world = make_world(candles, at_end="hold")
    world.document |= {"stop": RULES, "reposition": {"direction": "up", "cooldown_minutes": 0}}
    fell = fail(world, overloaded, lambda _method, name: name == "ticker/bookTicker", begins=60.0)
    world.run(world.runner(), 190.0)
    assert "BTC/USDT moves up" in caplog.text
    assert halted_at(world) - fell[0] < HALT_SECONDS


@pytest.mark.parametrize(
    "answer",
    [
        refusal(418, -1003, "Banned.", **{"Retry-After": "60"}),
        refusal(429, -1003, "Too much request weight used."),
    ],
    ids=["banned", "limited"],
)
def test_an_exchange_that_wants_to_be_left_alone_is(make_world, answer):
    world = make_world(FALL, at_end="hold")
    trade(world, 3.5, stop=RULES)
    limited = []

    def before(_method, _name):
        limited.append(world.clock.seconds)
        return answer

    world.wire.before = before
    world.run(world.runner(), 7.5)
    assert len(limited) == 1


def test_an_unexpected_error_of_a_look_is_told_and_outlived(make_world, monkeypatch):
    world = make_world(path(50_000, 50_000), at_end="hold")
    world.document |= {"stop": RULES}
    fail(world, overloaded, lambda _method, name: "rder" in name, begins=2.0, ends=40.0)

    def mistaken(*_arguments, **_options):
        raise TypeError

    with monkeypatch.context() as patch:
        patch.setattr(Trader, "look", mistaken)
        runner = world.run(world.runner(), 40.0)
    assert "unexpected TypeError" in runner._workers[0].unexpected.reason
    assert world.run(world.runner(), 60.0)._workers[0].trader.engine.grid_started


def test_an_initial_purchase_that_is_refused_again_and_again_waits_longer(make_world):
    world = make_world(path(50_000, 50_000), at_end="hold")
    posts = []

    def refuse(*_request):
        posts.append(world.clock.seconds)
        return refusal(400, -2010, "Account has insufficient balance for requested action.")

    fail(world, refuse, lambda method, name: (method, name) == ("POST", "order"))
    world.run(world.runner(), 400.0)
    waits = [later - sooner for sooner, later in itertools.pairwise(posts)]
    assert waits[0] < 20
    assert waits[-1] > 90
    assert waits == sorted(waits)


def test_progress_makes_the_next_try_come_soon(make_world):
    world = make_world(path(50_000, 50_000), at_end="hold")
    world.document["grid"] |= {"grids": 50, "allow_losing_pairs": True}
    dice = random.Random(3)  # noqa: S311 - failures, no secret
    fail(world, unreachable, lambda method, _name: method == "POST" and dice.random() < 0.3)
    runner = world.runner()
    (worker,) = runner._workers
    waits, sleep = [], world.clock.sleep

    def look(seconds):
        waits.append(worker.blocked_until - world.clock.seconds)
        sleep(seconds)

    world.clock.sleep = look
    world.run(runner, 200.0)
    assert max(waits) < 6.0  # five failures without an order in between make 16 s
    assert len(worker.trader.engine.live) == 50
    assert all(order.state is OrderState.OPEN for order in worker.trader.engine.live.values())


def placed(engine):
    return [order for order in engine.live.values() if order.state is OrderState.OPEN]


def test_a_cancellation_makes_the_next_try_come_soon(make_world):
    """Every second one fails, no two in a row: none is waited for longer than the first."""
    world = make_world(path(50_000, 50_000), at_end="hold")
    world.document["grid"] |= {"grids": 50, "allow_losing_pairs": True}
    asked = itertools.count()
    fail(world, unreachable, lambda method, _name: method == "DELETE" and next(asked) % 2 == 1)
    runner = world.runner()
    (worker,) = runner._workers
    waits, left, sleep = [], [], world.clock.sleep

    def look(seconds):
        waits.append(worker.blocked_until - world.clock.seconds)
        session = worker.trader and worker.trader.session
        if session and session.engine:
            if len(placed(session.engine)) == 50:
                session.wind_down = WindDown("a test")
            left.append(len(session.engine.live))
        if session and session.wind_down and left[-1] == 0:
            world.clock.stop_at = world.clock.seconds  # before the next grid
        sleep(seconds)

    world.clock.sleep = look
    world.run(runner, 400.0)
    assert left[-1] == 0
    assert max(waits) < 2.0


# What the verdict is worth.


def test_a_session_that_nobody_guards_lets_no_buy_leave(make_world):
    world = make_world()
    session = world.session()
    assert not session.clears(None)


def by_hand(store) -> None:
    """An end that a person has written down."""
    store.halt("BTC/USDT", reason_code="by_hand", text="by hand", price=Decimal(0), at_ms=0)


def one_unsent_buy(world: World):
    """A running grid one buy of which was never sent."""
    trader = trade(world, 3.5, stop=RULES)
    buy = max(
        (order for order in trader.engine.live.values() if order.side is Side.BUY),
        key=lambda order: order.line,
    )
    world.broker().cancel(buy.client_id)
    fail(world, unreachable, lambda method, _name: method == "POST")
    with pytest.raises(BrokerError):
        trader.step()
    world.wire.before = lambda *_: None
    world.wire.requests.clear()
    return trader


def test_a_buy_leaves_only_by_a_price_that_was_asked_for(make_world, monkeypatch):
    world = make_world(path(50_000, 50_000), at_end="hold")
    trader = one_unsent_buy(world)
    world.clock.sleep(FRESH_SECONDS + 0.1)

    def no_price(_broker):
        raise BrokerError(Failure.UNREACHABLE, "no price")

    with monkeypatch.context() as patch:
        patch.setattr(BinanceBroker, "look", no_price)
        for _ in range(3):
            with pytest.raises(BrokerError, match="no price"):
                trader.step()
    assert ("POST", "order") not in world.wire.requests
    trader.step()
    names = [name for _, name in world.wire.requests]
    assert "klines" in names[: names.index("order")]


def test_a_price_of_some_time_ago_clears_nothing(make_world, monkeypatch):
    world = make_world(path(50_000, 50_000), at_end="hold")
    trader = one_unsent_buy(world)
    look = BinanceBroker.look

    def slow(broker):
        seen = look(broker)
        world.clock.sleep(FRESH_SECONDS + 0.1)
        return seen

    monkeypatch.setattr(BinanceBroker, "look", slow)
    world.clock.sleep(FRESH_SECONDS + 0.1)
    trader.step()
    assert ("POST", "order") not in world.wire.requests


def test_a_buy_that_is_sent_again_for_its_time_is_judged_again(make_world):
    """The exchange's time may be long in coming, and the price falls meanwhile."""
    world = make_world(path(50_000, 50_000, *[50_000] * 8, 45_000, minutes=2), at_end="hold")
    trader = one_unsent_buy(world)
    posts, waits = [], []

    def before(method, name):
        if (method, name) == ("POST", "order"):
            posts.append(below_stop(world))
            if len(posts) == 1:
                return refusal(400, -1021, "Timestamp for this request is outside")
        if name == "time" and posts and not waits:
            while not below_stop(world):
                waits.append(world.clock.sleep(1.0))
        return None

    world.wire.before = before
    trader.step()
    assert waits
    assert posts == [False]
    assert trader.engine.winding_down


# A dip is seen, however short; one from before the grid is not.


def dip(low: int, minutes: int = 3) -> list[str]:
    """Still minutes, one that dips for a quarter of itself, and still ones."""
    rows = [f"{START_MS + number * 60_000},50000,50000,50000,50000,1" for number in range(20)]
    rows[minutes] = f"{START_MS + minutes * 60_000},50000,50000,{low},50000,1"
    return ["timestamp,open,high,low,close,volume", *rows]


def test_a_dip_between_two_polls_stops_the_grid(make_world):
    world = make_world(dip(46_400, minutes=9), at_end="hold")
    trader = trade(world, 16.0, stop=RULES)
    assert trader.halt.price == 46_400


def test_a_dip_from_before_the_grid_stops_nothing(make_world):
    world = make_world(dip(46_400), at_end="hold", speed=1)
    world.clock.sleep(3 * 60 + 50.0)  # in the very minute, after it
    trader = trade(world, 40.0, stop=RULES)
    assert trader.halt is None
    assert trader.engine.grid_started


def test_candles_of_long_ago_pause_buys(make_world, monkeypatch):
    world = make_world(path(50_000, *[50_000] * 30), at_end="hold")
    world.clock.sleep(25.0)
    monkeypatch.setattr(BinanceBroker, "market_label", "")  # time is the exchange's, not replayed
    rules = {"enabled": True, "interval": "1m", "atr_period": 2, "atr_above_percent": "50"}
    trader = trade(world, 4.0, volatility=rules)
    assert trader.engine is None
    assert "no candles: the newest candle 1m ended" in trader.paused


# Carrying a switch out.


def test_buys_are_canceled_first_and_until_they_are_gone(make_world, monkeypatch):
    world = make_world(path(50_000, 50_000, 52_500, minutes=2), at_end="hold")
    trade(world, 3.5, stop={"profit_percent": "0.3"})
    places, cancel = [], BinanceBroker.cancel

    def overloaded_at_first(broker, client_id):
        places.append(client_id.rpartition("-")[2])
        if len(places) <= 30:
            raise BrokerError(Failure.AMBIGUOUS, "overloaded")
        cancel(broker, client_id)

    monkeypatch.setattr(BinanceBroker, "cancel", overloaded_at_first)
    world.clock.sleep(12.0)
    runner = world.run(world.runner(), 60.0)
    assert runner._workers[0].trader.halt is not None
    assert world.broker().open_orders() == []
    buying = [place.partition("b")[0] for place in places[: len(set(places))] if "b" in place]
    assert places[: len(buying)] == [f"{line}b1" for line in buying]
    assert [int(line) for line in buying] == sorted(map(int, buying), reverse=True)
    assert 3 < len(buying) <= len(set(places))


def test_buys_are_canceled_as_a_falling_market_reaches_them(make_world, monkeypatch):
    """However they lie in memory, where fills change their order."""
    trader = trade(make_world(path(50_000, 50_000), at_end="hold"), 3.5)
    engine = trader.engine
    engine.live = dict(reversed(engine.live.items()))
    canceled = []
    monkeypatch.setattr(BinanceBroker, "cancel", lambda _broker, name: canceled.append(name))
    assert cancel_all(trader.session, engine) == {}
    lines = [(engine.live[name].side, engine.live[name].line) for name in canceled]
    assert lines == [(Side.BUY, line) for line in range(9, -1, -1)] + [
        (Side.SELL, line) for line in range(20, 10, -1)
    ]


# Exact bounds.


def test_exactly_enough_money_begins_a_grid(make_world):
    world = make_world()
    broker = world.broker()
    broker.balances()
    start_grid.check_funds(world.grid, broker, Decimal(10_000))
    with pytest.raises(BrokerError, match="deposit more or invest less"):
        start_grid.check_funds(world.grid, broker, Decimal("10000.00000001"))


def test_an_initial_order_rests_for_just_so_long(make_world):
    world = make_world(path(50_000, 50_000), at_end="hold")
    trader = world.trader()
    world.wire.before = lambda method, _name: lost() if method == "POST" else None
    with pytest.raises(BrokerError):
        trader.step()
    (order,) = trader.engine.live.values()
    assert order.role is Role.INITIAL
    trader.engine.live[order.client_id] = order.__class__(
        **{**order.__dict__, "state": OrderState.OPEN, "exchange_id": "1"}
    )
    trader.session.orders.move(order.client_id, Event.FOUND)
    canceled = []
    trader.session.broker.cancel = canceled.append
    trader.session.traded_since = world.clock.seconds = 100.0
    world.clock.seconds += RESTING_SECONDS - 0.001
    hurry(trader.session, trader.engine)
    assert canceled == []
    world.clock.seconds = 100.0 + RESTING_SECONDS
    hurry(trader.session, trader.engine)
    assert canceled == [order.client_id]


def test_only_orders_of_the_initial_trade_begin_the_rest_anew(make_world):
    trader = trade(make_world(path(50_000, 50_000), at_end="hold"), 3.5)
    session = trader.session
    orders = session.store.orders(session.grid_run.id)
    [initial] = [one for one in orders if one.role is Role.INITIAL]
    grid = next(iter(trader.engine.live.values()))
    session.traded_since = 1.0
    for orders, begun in (([], False), ([grid], False), ([initial, grid], True)):
        changes = session.changes()
        changes.orders.extend(orders)
        session.committed(changes)
        assert (session.traded_since != 1.0) is begun


@pytest.mark.parametrize(("base", "refused"), [("0", False), ("0.00000001", True)])
def test_the_least_that_a_move_left_unwatched_is_no_health(make_world, monkeypatch, base, refused):
    world = make_world()
    left = SimpleNamespace(next_range=(Decimal(1), Decimal(2)), base=Decimal(base))
    monkeypatch.setattr(start_grid, "takeover_of", lambda *_: left)
    session = world.session()
    with pytest.raises(BrokerError, match="watched by no") if refused else contextlib.nullcontext():
        start_grid.refuse_unwatched(session, None)


def test_a_look_that_fails_says_so(make_world):
    world = make_world(path(50_000, 50_000), at_end="hold")
    trader = trade(world, 3.5, stop={"max_drawdown_percent": "10"})
    fail(world, unreachable, lambda _method, _name: True)
    with pytest.raises(BrokerError):
        trader.look(asks=True)


def test_a_look_that_may_not_ask_asks_for_nothing(make_world):
    world = make_world(path(50_000, 50_000), at_end="hold")
    trader = trade(world, 3.5, stop={"max_drawdown_percent": "10"})
    world.clock.sleep(60)
    world.wire.requests.clear()
    assert not trader.look(asks=False)
    assert world.wire.requests == []


def test_a_switch_that_fires_in_a_step_that_fails_is_carried_out_at_once(make_world):
    world = make_world(FALL, at_end="hold")
    trader = trade(world, 3.5, stop=RULES)
    fail(world, unreachable, lambda _method, name: name == "openOrders")
    for _ in range(200):
        world.clock.sleep(2.0)
        with contextlib.suppress(BrokerError):
            if again := trader.step():
                break
    assert again
    assert trader.is_halting
    world.wire.before = lambda *_: None
    for _ in range(5):
        trader.step()
    assert trader.halt is not None
    assert not trader.is_halting  # its grid has ended


@pytest.mark.parametrize(
    ("rules", "asked"), [(RULES, False), ({"max_drawdown_percent": "10"}, True)]
)
def test_a_look_asks_what_has_traded_where_a_rule_counts_it(make_world, rules, asked):
    world = make_world(path(50_000, 50_000), at_end="hold")
    trader = trade(world, 3.5, stop=rules)
    world.clock.sleep(60)
    world.wire.requests.clear()
    assert not trader.look(asks=True)
    assert (("GET", "openOrders") in world.wire.requests) is asked


def test_what_became_known_since_makes_a_price_old(make_world):
    world = make_world(path(50_000, 50_000), at_end="hold")
    trader = trade(world, 3.5, stop=RULES)
    session, asked = trader.session, []
    assert session.clears(trader.engine)
    for news in (0, 1):
        session.news += news
        world.wire.requests.clear()
        assert session.clears(trader.engine)
        asked.append(bool(PRICES & {name for _, name in world.wire.requests}))
    assert asked == [False, True]


def test_nothing_is_cleared_or_asked_for_once_a_grid_is_given_up(make_world):
    world = make_world(path(50_000, 50_000), at_end="hold")
    trader = trade(world, 3.5, stop=RULES)
    assert trader.session.clears(trader.engine)
    trader.engine.winding_down = True
    assert not trader.session.clears(trader.engine)
    world.clock.sleep(FRESH_SECONDS + 1)
    world.wire.requests.clear()
    assert not trader.session.clears(trader.engine)
    assert world.wire.requests == []


def test_the_price_is_asked_for_now_and_then(make_world):
    world = make_world(path(50_000, 50_000), at_end="hold")
    trader = trade(world, 3.5, stop=RULES)
    asked = []
    for pause in (ASKED_AGAIN_SECONDS, 0.0, ASKED_AGAIN_SECONDS):
        world.clock.sleep(pause)
        world.wire.requests.clear()
        trader._risk_guard.look(trader.engine)
        asked.append(bool(PRICES & {name for _, name in world.wire.requests}))
    assert asked == [True, False, True]


def test_an_end_by_hand_is_taken_up_once(make_world, caplog):
    world = make_world(path(50_000, 50_000), at_end="hold")
    trader = trade(world, 3.5)
    by_hand(trader.session.store)
    fail(world, unreachable, lambda method, _name: method == "DELETE")
    for _ in range(3):
        with pytest.raises(BrokerError):
            trader.step()
    assert caplog.text.count("stopped by by_hand") == 1


def test_an_end_while_the_bot_was_off_keeps_what_the_switches_remember(make_world):
    world = make_world(path(50_000, 50_000, 52_000, minutes=2), at_end="hold")
    trade(world, 20.0, stop={"max_drawdown_percent": "10"})
    before = world.store.grid_run("BTC/USDT").watch
    assert Decimal(before["investment"]) > 0
    world.power_off()
    by_hand(world.open_store())
    world.power_off()
    fail(world, unreachable, lambda method, _name: method == "DELETE")
    with pytest.raises(BrokerError):
        world.trader().step()
    now = world.store.grid_run("BTC/USDT").watch
    assert now["ending"]
    assert {key: now[key] for key in before} == before


def test_books_that_lag_are_not_judged(make_world):
    world = make_world(path(50_000, 50_000, 44_000, 44_000, minutes=2), at_end="hold")
    trader = trade(world, 1.5, stop={"max_drawdown_percent": "3"})
    world.clock.sleep(60)
    trader._reconciler.forget()
    trader._risk_guard.look(trader.engine)
    assert not trader.is_halting
    while not trader.is_halting:
        trader.step()
        world.clock.sleep(1)
    assert world.store.open_halt("BTC/USDT") is not None
