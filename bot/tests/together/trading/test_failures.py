"""Every way an answer can fail, at every request: nothing is lost and no order is doubled."""

import itertools
import json

import pytest
import requests
from gridbot.exchanges.port import BrokerError, Failure
from gridbot.store import Store, StoreError

from bot.tests.together.in_process import answer_of, refusal

from .conftest import Crash, check_books, lost, unreachable, zigzag
from .test_policies import path

SHORT = zigzag(40)


def at_order(number, action):
    """A hook that acts on the order request with this number, once."""
    count = itertools.count(1)

    def hook(method, path):
        if (method, path) == ("POST", "order") and next(count) == number:
            return action(method, path)
        return None

    return hook


def run_through(world, runner_seconds=60.0):
    """Run a bot until the market's end and let it catch up."""
    runner = world.run(world.runner(), runner_seconds)
    world.clock.sleep(10_000)
    trader = world.trader()
    for _ in range(10):
        trader.step()
        world.clock.sleep(8.0)
    world.settle(trader)
    check_books(world, trader)
    assert world.audit().differences == []
    return runner


def no_json(*_request):
    return answer_of("502 Bad Gateway", b"<html>bad gateway</html>", {"Content-Type": "text/html"})


def unknown_outcome(*_request):
    return refusal(
        504, -1007, "Timeout waiting for response from backend server. Send status unknown."
    )


def half_an_answer(*_request):
    return answer_of("200 OK", b'{"orderId": 1}')


def broken(*_request):
    raise requests.exceptions.ConnectionError("Connection aborted.")


AFTER = [lost, no_json, unknown_outcome, half_an_answer, broken]


@pytest.mark.parametrize("number", [1, 2, 12, 25])
@pytest.mark.parametrize("failure", AFTER, ids=lambda failure: failure.__name__)
def test_an_order_whose_answer_is_lost_is_asked_for_and_not_doubled(make_world, failure, number):
    world = make_world(SHORT, at_end="hold")
    world.wire.after = at_order(number, failure)
    run_through(world)


@pytest.mark.parametrize("number", [1, 2, 12, 25])
@pytest.mark.parametrize("failure", [*AFTER, unreachable], ids=lambda failure: failure.__name__)
def test_an_order_that_never_arrived_is_sent_again_under_its_name(make_world, failure, number):
    world = make_world(SHORT, at_end="hold")
    world.wire.before = at_order(number, failure)
    run_through(world)


def test_an_order_that_may_still_arrive_is_waited_for(make_world):
    """Its request is on its way for up to the receive window: only later is it sent again."""
    world = make_world(SHORT, at_end="hold")
    world.wire.before = at_order(5, lost)
    trader = world.trader()
    with pytest.raises(BrokerError) as failed:
        trader.step()
    assert failed.value.failure is Failure.AMBIGUOUS
    world.clock.sleep(3.0)
    trader.step()
    written = trader.session.store.orders(trader.grid_run.id)
    waiting = [order for order in written if order.exchange_id is None]
    assert len(waiting) == 1
    # Each order was sent once: the one that waits before, and the rest since, with what answers
    # the fills of the rest.
    assert len(written) >= 21
    assert world.wire.requests.count(("POST", "order")) == len(written)
    world.clock.sleep(3.5)
    trader.step()
    assert all(o.exchange_id is not None for o in trader.engine.live.values())


def test_a_refused_order_is_kept_shown_and_tried_again_later(make_world):
    world = make_world(SHORT, at_end="hold")
    message = "Account has insufficient balance for requested action."
    world.wire.before = at_order(5, lambda *_: refusal(400, -2010, message))
    runner = world.run(world.runner(), 20)
    refused = [order for order in runner.status()["orders"] if order["refused"]]
    assert len(refused) == 1
    assert message in refused[0]["refused"]
    assert any(message in reason for reason in runner.health()["reasons"])
    assert runner.status()["open_orders"] == 19
    run_through(world)


def test_each_refusal_doubles_the_time_to_the_next_try_up_to_ten_minutes(make_world):
    world = make_world(path(50_000, 50_000), at_end="hold")
    count = itertools.count(1)

    def refuse(method, name):
        if (method, name) == ("POST", "order") and next(count) > 5:
            return refusal(400, -2010, "Account has insufficient balance for requested action.")
        return None

    world.wire.before = refuse
    trader = world.trader()
    trader.step()
    first = min(trader.session.orders.refused)
    delays = [trader.session.orders.refused[first].delay]
    while len(delays) < 7:
        world.clock.sleep(delays[-1])
        trader.step()
        delays.append(trader.session.orders.refused[first].delay)
    assert delays == [30, 60, 120, 240, 480, 600, 600]


def test_a_refused_initial_purchase_is_planned_again(make_world):
    world = make_world(SHORT, at_end="hold")
    world.wire.before = at_order(1, lambda *_: refusal(400, -1013, "Filter failure: NOTIONAL"))
    run_through(world, 90)


def test_an_initial_purchase_that_rests_is_tried_again_at_the_price_of_now(make_world):
    rising = ["timestamp,open,high,low,close,volume"]
    for minute in range(20):
        price = 50000 + 100 * minute
        rising.append(
            f"{1640995200000 + minute * 60000},{price},{price + 90},{price},{price + 90},1"
        )
    world = make_world(rising, at_end="hold")
    slow = {"left": 1}

    def hook(method, path):
        if (method, path) == ("POST", "order") and slow["left"]:
            slow["left"] -= 1
            world.clock.sleep(4.0)  # the price has left by the time that the order arrives

    world.wire.before = hook
    runner = run_through(world, 60)
    assert runner.status()["start_price"] != "50000"


def test_a_wrong_clock_is_set_and_the_request_repeated(make_world):
    world = make_world(SHORT, at_end="hold")
    broker = world.broker()
    broker.connect()
    broker.account.time.forget()
    broker.account.time.sample(world.clock.monotonic(), world.clock.now_ms() - 60_000)
    assert broker.open_orders() == []


def test_a_wrong_key_is_told_without_trading_and_without_hammering(make_world):
    world = make_world(SHORT, at_end="hold")
    runner = world.run(world.runner(secret="another-secret"), 3600)
    reason = runner.health()["reasons"]
    assert runner.status()["open_orders"] == 0
    assert len(world.wire.requests) < 40
    assert ("POST", "order") not in world.wire.requests
    assert reason == ["stopped"]


def waiting_reason(world, runner, seconds=30):
    """What the bot says while it waits."""
    seen = []
    sleep = world.clock.sleep

    def watch(seconds):
        if runner.status()["state"] == "waiting":
            seen.append(runner.health()["reasons"][0])
        sleep(seconds)

    world.clock.sleep = watch
    world.run(runner, seconds)
    world.clock.sleep = sleep
    return seen


def test_a_wrong_key_is_one_line_that_names_the_files(make_world):
    world = make_world(SHORT, at_end="hold")
    line = waiting_reason(world, world.runner(secret="another-secret"))[0]
    assert "does not accept the API key of exchange.api_key_file" in line
    assert "(-1022)" in line
    assert "another-secret" not in line
    assert "\n" not in line


def test_an_unreachable_exchange_is_one_line_and_waited_for(make_world):
    world = make_world(SHORT, at_end="hold")
    world.wire.before = unreachable
    lines = waiting_reason(world, world.runner(), 600)
    assert lines[0] == (
        "exchange http://exchange.test/api/v3 cannot be reached: Connection refused"
    )
    assert len(world.wire.requests) < 30
    world.wire.before = lambda *_: None
    run_through(world)


def test_a_ban_is_waited_out_for_as_long_as_the_exchange_asks(make_world):
    world = make_world(SHORT, at_end="hold")
    headers = {"Retry-After": "120"}
    world.wire.before = lambda *_: refusal(429, -1003, "Too much request weight used.", **headers)
    runner = world.runner()
    world.run(runner, 100)
    assert len(world.wire.requests) == 1


def test_a_page_that_is_no_exchange_is_told(make_world):
    world = make_world(SHORT, at_end="hold")
    world.wire.before = lambda *_: answer_of(
        "404 Not Found", b"nothing", {"Content-Type": "text/plain"}
    )
    with pytest.raises(BrokerError, match="HTTP 404 Not Found") as told:
        world.broker().connect()
    assert told.value.failure is Failure.UNREACHABLE


def test_no_signature_is_ever_in_a_message(make_world):
    world = make_world(SHORT, at_end="hold")
    for hook in (unreachable, lost, broken, no_json):
        world.wire.before = hook
        with pytest.raises(BrokerError) as told:
            world.broker().balances()
        assert "signature" not in str(told.value)
        assert json.dumps(str(told.value)).isascii()


# A cut at any boundary.


def crash_at(number):
    count = itertools.count(1)

    def hook(*_request):
        if next(count) == number:
            raise Crash

    return hook


def run_until_crash(world, seconds=45.0):
    try:
        world.run(world.runner(), seconds)
    except Crash:
        return True
    return False


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_power_is_cut_at_every_request_of_the_start_and_at_many_later(make_world, when):
    """One world, cut again and again: each life ends a little later in its requests."""
    world = make_world(zigzag(400), speed="30")
    crashes = 0
    for number in [*range(1, 40), *range(40, 140, 12)]:
        setattr(world.wire, when, crash_at(number))
        crashes += run_until_crash(world)
        setattr(world.wire, when, lambda *_: None)
    assert crashes > 40
    world.run(world.runner(), 30)
    _hold_still(world)
    trader = world.trader()
    world.settle(trader)
    check_books(world, trader)
    assert world.audit().differences == []


def _hold_still(world):
    """Keep the market where it is."""
    (listing,) = world.api.exchange.listings.values()
    position = listing.position
    listing.feed.limit = lambda wanted: min(wanted, position)


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_power_is_cut_at_every_commit(make_world, monkeypatch, when):
    world = make_world(zigzag(400), speed="30")
    commit = Store.commit
    state = {"count": itertools.count(1), "number": 0}

    def cut(store, *arguments, **options):
        if next(state["count"]) != state["number"]:
            return commit(store, *arguments, **options)
        if when == "after":
            commit(store, *arguments, **options)
        raise Crash

    monkeypatch.setattr(Store, "commit", cut)
    crashes = 0
    for number in range(1, 40):
        state.update(count=itertools.count(1), number=number)
        crashes += run_until_crash(world)
    state["number"] = 0
    assert crashes > 20
    _hold_still(world)
    trader = world.trader()
    world.settle(trader)
    check_books(world, trader)
    assert world.audit().differences == []


# The disk.


def test_a_full_disk_is_told_nothing_is_sent_and_trading_goes_on_when_there_is_room(
    make_world,
):
    world = make_world(zigzag(400))
    world.run(world.runner(), 20)
    runner = world.runner()
    world.run(runner, 4)
    runner = world.runner()
    full = {"pages": 1}
    connect = Store._connect

    def limited(store, mode):
        connection = connect(store, mode)
        connection.execute(f"PRAGMA max_page_count = {full['pages']}")
        return connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "_connect", limited)
        # That nothing is sent which is not written down is checked by the wire.
        lines = waiting_reason(world, runner, 120)
        assert any("database or disk is full" in line for line in lines)
        assert str(world.directory / "bot") in lines[0]
    _hold_still(world)
    trader = world.trader()
    world.settle(trader)
    check_books(world, trader)
    assert world.audit().differences == []


def test_a_damaged_file_is_told_and_ends_the_bot(make_world):
    world = make_world(SHORT, at_end="hold")
    world.run(world.runner(), 10)
    world.power_off()
    path = world.directory / "bot" / "gridbot.sqlite3"
    content = bytearray(path.read_bytes())
    content[4096:8192] = b"\xff" * 4096
    path.write_bytes(bytes(content))
    with pytest.raises(StoreError, match=r"is damaged .*restore it from a backup") as told:
        world.run(world.runner(), 10)
    assert told.value.exit_code == 4
    assert told.value.lasting
