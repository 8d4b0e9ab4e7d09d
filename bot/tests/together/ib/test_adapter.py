"""The adapter and the unmodified client at a practice Gateway, on one simulated time."""

import random
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from gridbase.errors import UserError
from gridbase.gateway.limits import LINES
from gridbase.gateway.shared import SharedPacer
from gridbot.core.orders import Order, OrderState, Role, Side
from gridbot.exchanges.port import BrokerError, Failure, StreamGap
from gridexchange.ib.calendar import session_of
from gridexchange.ib.messages import open_order

from bot.tests.together.simulation.boundaries import Boundaries
from bot.tests.together.simulation.ib.sizes import stock_setup
from bot.tests.together.simulation.ib.world import SYMBOL, IbWorld

# Above every price of the market, and below.
HIGH, LOW = "150.00", "60.00"


def order(name, *, side=Side.BUY, price=LOW, quantity="10"):
    return Order(
        client_id=name,
        leg=name,
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


class Bench(IbWorld):
    """A Gateway and an account, without a bot."""

    step_seconds = 2.0

    def check_leaving(self, client_id, _side):
        pass

    def check_open_orders(self):
        pass


@pytest.fixture
def world(tmp_path):
    chance = random._urandom
    yield Bench(tmp_path, replace(stock_setup(1), fault_rate=0.0), Boundaries())
    random._urandom = chance


@pytest.fixture
def broker(world):
    world.account = world.new_account()
    broker = world.account.broker(SYMBOL)
    broker.connect()
    yield broker
    broker.close()


def again(world):
    """The same account after its process has died."""
    world.die()
    world.time.sleep(1.0)
    account = world.new_account()
    return account.broker(SYMBOL)


def hear(broker):
    """Take what has been said; a wait ends with the first news."""
    for _ in range(4):
        broker.wait(0.5)


def failure(call, *arguments):
    with pytest.raises(BrokerError) as caught:
        call(*arguments)
    return caught.value.failure


def test_the_rules_of_a_stock(broker):
    market = broker.connect()
    assert (market.base, market.quote) == ("SPY", "USD")
    assert (market.tick_size, market.lot_size) == (Decimal("0.01"), 1)


def test_an_order_is_found_by_its_name(world, broker):
    placed = broker.place(order("pi1-a"))
    assert (placed.client_id, placed.executed, placed.closed) == ("pi1-a", 0, False)
    assert broker.open_orders() == [placed]
    assert broker.find("pi1-a") == placed
    assert failure(broker.find, "pi1-b") is Failure.NOT_FOUND
    assert broker.balances() == {"USD": Decimal(100_000)}
    assert broker.free_balance("USD") == Decimal(100_000 - 600)
    other = again(world)
    assert other.find("pi1-a") == placed
    other.cancel("pi1-a")
    assert other.open_orders() == []
    assert other.find("pi1-a").closed
    assert failure(other.cancel, "pi1-a") is Failure.NOT_FOUND
    assert [one.client_id for one in other.orders_since([])] == ["pi1-a"]


def test_trades_have_their_commissions_and_are_told_once(world, broker):
    first = broker.latest_cursor()
    placed = broker.place(order("pi1-a", price=HIGH))
    world.time.sleep(5.0)
    trades, cursor = broker.trades_after(first)
    # In parts of at most seven shares.
    assert [trade.quantity for trade in trades] == [7, 3]
    assert sum(trade.commission for trade in trades) == Decimal("1.015")
    assert {trade.commission_coin for trade in trades} == {"USD"}
    assert {trade.exchange_id for trade in trades} == {placed.exchange_id}
    assert broker.trades_after(cursor) == ([], cursor)
    other = again(world)
    assert other.trades_after(first) == (trades, cursor)
    assert other.trades_of(placed.exchange_id) == trades


def test_a_trade_without_its_commission_is_not_told(world, broker):
    cursor = broker.latest_cursor()
    broker.place(order("pi1-a", price=HIGH, quantity="5"))
    world.time.sleep(2.0)
    gateway = world.gateway
    told, gateway.tell_commission = gateway.tell_commission, lambda *_: None
    broker.account.listener.commissions.clear()
    assert failure(broker.trades_after, cursor) is Failure.AMBIGUOUS
    gateway.tell_commission = told
    assert len(broker.trades_after(cursor)[0]) == 1


def test_doubled_and_corrected_executions(world, broker):
    cursor = broker.latest_cursor()
    world.gateway.faults.planned["trade"] = ["doubled execution", "corrected execution"]
    broker.place(order("pi1-a", price=HIGH, quantity="14"))
    world.time.sleep(5.0)
    trades, _ = broker.trades_after(cursor)
    booked = {trade.trade_id: trade.price for trade in trades}
    made = {stem: trade.price for stem, trade in world.gateway.account.executions.items()}
    assert booked == made
    assert len(booked) == 2


def test_holdings_that_no_execution_explains_stop_the_grid(world, broker):
    cursor = broker.latest_cursor()
    broker.place(order("pi1-a", price=HIGH, quantity="7"))
    world.time.sleep(1.0)
    world.gateway.account.shares *= 2  # a split
    with pytest.raises(BrokerError, match=r"held 0 shares on 20260921 and holds 14.*a split"):
        broker.trades_after(cursor)


def test_executions_of_the_day_before_are_gone_and_it_says_so(world, broker):
    cursor = broker.latest_cursor()
    broker.place(order("pi1-a", price=HIGH, quantity="7"))
    world.time.sleep(1.0)
    _, read = broker.trades_after(cursor)
    world.step_seconds = 300.0
    world.time.sleep(24 * 3600.0)
    assert broker.trades_after(read) == ([], read)
    with pytest.raises(BrokerError, match="trades of an earlier day"):
        broker.trades_after(cursor)


def test_a_lost_acknowledgement_is_asked_for(world, broker):
    world.gateway.faults.planned["order"] = ["lost acknowledgement", "lost order"]
    assert failure(broker.place, order("pi1-a")) is Failure.AMBIGUOUS
    assert broker.find("pi1-a").client_id == "pi1-a"
    assert failure(broker.place, order("pi1-b")) is Failure.AMBIGUOUS
    assert failure(broker.find, "pi1-b") is Failure.NOT_FOUND


def test_an_order_that_was_filled_before_its_answer_is_what_was_sent(world, broker):
    """The real Gateway tells filled orders with a quantity of 0."""
    world.gateway.faults.planned["order"] = ["lost acknowledgement"]
    world.gateway.faults.planned["trade"] = ["lost report", "lost report"]
    assert failure(broker.place, order("pi1-a", price=HIGH)) is Failure.AMBIGUOUS
    world.time.sleep(5.0)
    found = broker.find("pi1-a")
    assert (found.quantity, found.executed, found.closed) == (10, 10, True)


def test_of_two_orders_with_one_name_the_one_that_traded_is_found(world, broker):
    """One that IB has refused is listed as canceled, and is sent again under its name."""
    broker.place(order("pi1-a"))
    broker.cancel("pi1-a")
    filled = broker.place(order("pi1-a", price=HIGH))
    world.time.sleep(5.0)
    assert len(world.gateway.account.orders) == 2
    assert broker.find("pi1-a").exchange_id == filled.exchange_id


def test_an_order_that_traded_unseen_yesterday_is_not_said_to_be_unknown(world, broker):
    """No list tells of it any more: only the shares held do. It would be sent once more."""
    broker.latest_cursor()
    world.gateway.faults.planned["order"] = ["lost acknowledgement"]
    world.gateway.faults.planned["trade"] = ["lost report", "lost report"]
    assert failure(broker.place, order("pi1-a", price=HIGH)) is Failure.AMBIGUOUS
    world.step_seconds = 300.0
    world.time.sleep(24 * 3600.0)
    assert broker.open_orders() == []
    with pytest.raises(BrokerError, match="trades of an earlier day") as caught:
        broker.find("pi1-a")
    assert caught.value.failure is Failure.AMBIGUOUS


def test_the_answer_about_another_order_is_not_believed(world, broker):
    """One that a dead process sent is accepted late, under the number that this one gives now."""
    broker.place(order("pi1-a"))
    (late,) = world.gateway.account.open_orders
    late.order_id = broker.account.client._reqIdSeq
    world.time.after(0.005, lambda: world.gateway.tell_order(late))
    assert failure(broker.place, order("pi1-b")) is Failure.AMBIGUOUS
    assert failure(broker.find, "pi1-b") is Failure.NOT_FOUND


def test_an_order_of_another_client_id_is_not_taken_for_an_own_one(world, broker):
    """Each client counts its orders by itself: the same number is another order."""
    broker.place(order("pi1-a"))
    (own,) = world.gateway.account.open_orders
    other = replace(own, perm_id=own.perm_id + 1, client_id=8, reference="pi1-b")
    world.gateway.account.orders[other.perm_id] = other
    assert len(broker.open_orders()) == 2
    assert failure(broker.cancel, "pi1-b") is Failure.NOT_FOUND
    assert [one.status for one in (own, other)] == ["Submitted", "Submitted"]


def test_refused_orders(world, broker):
    assert failure(broker.place, order("pi1-a", quantity="9999")) is Failure.REJECTED
    assert failure(broker.place, order("pi1-b", price="60.005")) is Failure.REJECTED
    assert world.gateway.account.orders == {}


def test_an_answer_that_comes_too_late_is_not_the_next_ones(world, broker):
    """Lists have no number: the connection on which one is late is given up."""
    broker.place(order("pi1-a"))
    first = world.network.links[-1]
    world.gateway.faults.planned["question"] = ["no answer"]
    assert len(broker.open_orders()) == 1  # it is asked once more, on another connection
    assert first.deaf
    assert world.network.links[-1] is not first


def test_a_message_that_cannot_be_read_is_no_answer(world, broker, monkeypatch):
    world.time.sleep(1.0)
    broker.place(order("pi1-a"))

    def broken(*arguments):
        fields = open_order(*arguments)
        return [*fields[:40], "x", *fields[41:]][:-9]

    monkeypatch.setattr("gridexchange.ib.messages.open_order", broken)
    assert failure(broker.open_orders) is Failure.AMBIGUOUS
    world.time.sleep(60.0)  # the breaker has opened
    # By its second try the breaker is open again.
    assert failure(broker.find, "pi1-a") is not Failure.NOT_FOUND


def test_prices_between_two_looks(world, broker):
    broker.look_anew()
    before = world.gateway.account.price
    prices = [before]
    for _ in range(40):
        broker.wait(0.5)
        prices.append(world.gateway.account.price)
    seen = broker.told()
    assert (seen.last, seen.low, seen.high) == (prices[-1], min(prices), max(prices))
    assert broker.ask_price() == prices[-1]


def test_a_client_id_in_use_is_waited_for(world, broker):
    other = world.new_account().broker(SYMBOL)
    with pytest.raises(BrokerError, match=r"client ID 7 is in use \(326\)"):
        other.connect()
    broker.close()
    world.time.sleep(5.0)
    other.connect()
    broker.account._loop = other.account._loop  # the fixture closes once more


@pytest.mark.parametrize(
    ("on_gateway", "configured", "mode", "line"),
    [
        ("U7654321", "U7654321", "paper", "is a live account, and mode"),
        ("DU7654321", "DU1234567", "paper", "is not on the Gateway"),
        ("DU1234567", "DU1234567", "live", "is a paper account, and mode"),
    ],
)
def test_an_account_that_does_not_fit_the_mode_is_refused(
    world, on_gateway, configured, mode, line
):
    gateway = world.gateway
    account = replace(gateway.settings.account, name=on_gateway)
    gateway.settings = replace(gateway.settings, account=account)
    connected = world.new_account()
    connected.account = configured
    connected._config = replace(connected._config, mode=mode)
    with pytest.raises(UserError, match=line):
        connected.broker(SYMBOL).connect()
    assert gateway.account.orders == {}


def test_a_lost_link_and_a_competing_session(world, broker):
    broker.look()
    world.gateway.lose_link()
    hear(broker)
    assert broker.told() is None
    assert failure(broker.place, order("pi1-a")) is Failure.UNREACHABLE
    world.gateway.restore_link(data_lost=True)
    hear(broker)
    assert broker.told() is None
    broker.look()  # asks for a new line
    assert broker.told() is not None
    world.gateway.competing = True
    for connection in world.gateway.connections:
        for request in list(connection.lines):
            world.gateway.error(connection, request, 10197, "competing live session")
    hear(broker)
    assert failure(broker.look) is Failure.UNREACHABLE


def test_nothing_is_sent_while_the_market_is_closed(world, broker):
    session = session_of(date(2026, 9, 21))
    assert broker.closed_until is None
    broker.events()
    world.step_seconds = 300.0
    world.time.sleep((session.closes - world.time.now_ms()) / 1000 + 40)
    # What traded last is read once more before it rests.
    assert broker.closed_until is None
    assert broker.events() == [StreamGap()]
    world.time.sleep(60.0)
    assert broker.closed_until == session.opens + 24 * 3_600_000
    assert failure(broker.place, order("pi1-a")) is Failure.REJECTED
    assert failure(broker.ask_price) is Failure.REJECTED
    assert world.gateway.account.orders == {}


def test_it_does_not_rest_before_the_last_trades_are_read(world, broker):
    """The network is gone when the market closes: until midnight the Gateway still tells."""
    cursor = broker.latest_cursor()
    broker.open_orders()
    session = session_of(date(2026, 9, 21))
    world.step_seconds = 300.0
    world.time.sleep((session.closes - world.time.now_ms()) / 1000 - 60)
    broker.open_orders()
    broker.place(order("pi1-a", price=HIGH, quantity="5"))
    world.network.drop_all()
    world.network.down = True
    for _ in range(4):
        world.time.sleep(1800.0)
        assert broker.closed_until is None
        assert broker.events() == [StreamGap()]
        assert failure(broker.trades_after, cursor) is not Failure.REJECTED
        assert failure(broker.place, order("pi1-b")) is Failure.REJECTED
    world.network.down = False
    world.time.sleep(600.0)
    assert len(broker.trades_after(cursor)[0]) == 1
    assert broker.closed_until == session.opens + 24 * 3_600_000
    broker.events()
    assert broker.events() == []


def night(world, broker, *, reads):
    """An order is open at the close, and IB cancels it an hour later; it is the next day then."""
    cursor = broker.latest_cursor()
    session = session_of(date(2026, 9, 21))
    world.step_seconds = 300.0
    broker.place(order("pi1-a"))
    world.time.sleep((session.closes - world.time.now_ms()) / 1000 + 40)
    assert len(broker.open_orders()) == 1
    if reads:
        assert broker.trades_after(cursor) == ([], cursor)
    world.time.sleep(3600.0)
    (there,) = world.gateway.account.open_orders
    world.gateway.account.cancel(there, world.time.now_ms())
    world.time.sleep((session.opens - world.time.now_ms()) / 1000 + 24 * 3600.0 + 60)
    assert broker.open_orders() == []
    if not reads:
        broker.trades_after(cursor)


def test_an_order_that_is_canceled_at_night_is_closed(world, broker):
    """No list tells of it; what traded until the close was read, and nothing has since."""
    night(world, broker, reads=True)
    assert failure(broker.find, "pi1-a") is Failure.AMBIGUOUS  # lists may lag
    world.time.sleep(61.0)
    assert broker.open_orders() == []
    found = broker.find("pi1-a")
    assert (found.closed, found.executed, found.quantity) == (True, 0, 10)
    assert failure(broker.find, "pi1-b") is Failure.NOT_FOUND


def test_an_order_may_have_traded_where_the_close_was_not_read(world, broker):
    night(world, broker, reads=False)
    world.time.sleep(61.0)
    assert failure(broker.find, "pi1-a") is Failure.NOT_FOUND


def test_the_gate_around_the_nightly_restart(world, broker):
    now = world.time.now_ms()
    broker.account.restart = now // 60_000 % 1440 + 1
    assert broker.closed_until is not None
    assert failure(broker.place, order("pi1-a")) is Failure.REJECTED
    world.time.sleep(6 * 60.0 + 60)
    assert broker.closed_until is None


def test_candles_are_paced(world, broker):
    world.time.sleep(300.0)
    assert len(broker.candles("1m", 20)) == 20
    before = world.time.seconds
    broker.candles("1m", 20)
    assert world.time.seconds - before >= 13.0  # of 15 since the first was sent
    assert +world.gateway.rules.broken == {}


def test_others_that_have_all_lines_of_prices_hold_no_order_up(tmp_path, broker):
    pacer = broker.account.pacer = SharedPacer(tmp_path, broker.account.monotonic)
    others = [pacer.slot("lines") for _ in range(LINES)]
    assert failure(broker.look) is Failure.RATE_LIMITED
    broker.place(order("pi1-a"))
    broker.cancel("pi1-a")
    assert broker.open_orders() == []
    others.pop().free()
    assert broker.look().last


@pytest.mark.parametrize("price", [-1.0, 0.0, float("nan"), float("inf"), 1.7976931348623157e308])
def test_what_is_no_price_changes_none(broker, price):
    before = broker.look()
    [number] = broker.account.listener.lines
    for kind in (1, 2, 4):
        broker.account.listener.priceSizeTick(number, kind, price, 0)
    assert broker.told() == before
    assert broker.ask_price() > 0
