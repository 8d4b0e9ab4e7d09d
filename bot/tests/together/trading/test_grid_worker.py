"""What one grid's errors do to it, seen from outside: its health, its orders, its money."""

import io
import itertools
import logging
import random
from decimal import Decimal

import pytest
import requests
import urllib3
from gridbase.errors import UserError
from gridbot.exchanges.binance.symbol import BinanceBroker
from gridbot.service.grid_worker import UNEXPECTED_SECONDS, WIND_DOWN_SECONDS
from gridbot.service.view import view
from gridbot.store import Store
from gridbot.trading import reconciliation, submission
from gridbot.trading.reconciliation import LISTED_SECONDS, Reconciler

from bot.tests.together.in_process import answer_of, refusal

from .conftest import World, check_books, zigzag
from .test_failures import at_order
from .test_policies import GRIDS, SYMBOLS, balances, ended, path

# Through the stop, still for most of a minute of the bot's, and lower.
CRASH = path(50_000, 50_000, 46_400, *[46_400] * 15, 43_000, *[43_000] * 20, minutes=3)


class Nurse:
    """Notes the health of a bot, and its state, each time that it waits."""

    def __init__(self, world: World, runner) -> None:
        self.notes: list[tuple[float, str, str]] = []
        self._world, self._runner = world, runner

    def watch(self, seconds: float) -> None:
        """Run the bot for so long."""
        sleep = self._world.clock.sleep

        def look(pause):
            health = self._runner.health()
            now = self._world.clock.seconds
            self.notes.append((now, health["state"], "; ".join(health["reasons"])))
            sleep(pause)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self._world.clock, "sleep", look)
            self._world.run(self._runner, seconds)

    def said(self, after: float = 0.0, before: float = float("inf")) -> set[str]:
        """All that it was not well for in that time; an empty text where it was."""
        return {reason for at, _, reason in self.notes if after <= at < before}


def nursed(world: World, seconds: float) -> Nurse:
    nurse = Nurse(world, world.runner())
    nurse.watch(seconds)
    return nurse


def the_ended(world: World):
    """The grids that have ended, of a bot that does not run."""
    world.power_off()
    world.open_store()
    return ended(world)


def settle(world: World) -> None:
    """The bot catches up with a market that stands still, and all adds up."""
    world.wire.before = world.wire.after = lambda *_: None
    world.stand_still()
    trader = world.trader()
    world.settle(trader)
    check_books(world, trader)
    assert world.audit().differences == []


def test_a_fired_kill_switch_is_told_after_a_restart_without_an_exchange(make_world, monkeypatch):
    world = stopping(make_world)
    before = world.runner()
    world.run(before, 120)
    fired, result = before.status()["halt"], before.status()["closing"]
    assert fired["reason"] == "stop.loss_price"
    world.power_off()
    world.wire.before = lambda *_: refusal(503, -1008, "Server is currently overloaded.")
    after, told = world.runner(), []
    sleep = world.clock.sleep

    def look(pause):
        told.append(after.status())
        sleep(pause)

    monkeypatch.setattr(world.clock, "sleep", look)
    world.run(after, 30)
    waiting = [status for status in told if status["state"] == "waiting"]
    assert waiting
    for status in waiting:
        assert (status["halt"], status["closing"]) == (fired, result)
        assert view(status, after.books())["state"][1] == "bad"


# A stop, and an exchange that does not cancel.


def stopping(make_world) -> World:
    world = make_world(CRASH, at_end="hold")
    world.document |= {"stop": {"loss_price": "46500", "liquidate": True}}
    world.document["grid"] = {
        "lower": "46800",
        "upper": "53000",
        "grids": 20,
        "investment": "9000",
    }
    return world


def refuse_cancels(world: World, said: str, seconds: float):
    """Refuse every cancellation for so long; returns when that begins (a list of one time)."""
    begun = []

    def before(method, name):
        if (method, name) != ("DELETE", "order"):
            return None
        begun.append(world.clock.seconds)
        return refusal(400, -2011, said) if world.clock.seconds < begun[0] + seconds else None

    world.wire.before = before
    return begun


@pytest.mark.parametrize("said", ["Market is closed.", "Unknown order sent."])
def test_a_stop_is_carried_out_once_the_exchange_cancels_again(make_world, said):
    world = stopping(make_world)
    refuse_cancels(world, said, 5)
    nurse = nursed(world, 120)
    assert nurse.notes[-1][1:] == ("halted", "")
    (grid,) = the_ended(world)
    assert grid.result.base < Decimal("0.00001")
    assert grid.result.price > 46_000  # not after the next fall
    assert world.broker().open_orders() == []
    assert world.audit().differences == []


def test_a_stop_that_the_exchange_refuses_to_carry_out_is_told_at_once(make_world):
    world = stopping(make_world)
    begun = refuse_cancels(world, "This action is disabled on this account.", 1e9)
    nurse = nursed(world, 600)
    said = nurse.said(after=begun[0] + 5)
    assert said
    assert all("This action is disabled on this account" in reason for reason in said)
    # It goes on asking, and hammers nobody.
    assert 20 * 3 < len(begun) < 20 * 12


def test_a_grid_that_does_not_come_to_its_end_is_not_healthy(make_world):
    world = stopping(make_world)
    begun = refuse_cancels(world, "Unknown order sent.", 900)
    nurse = nursed(world, 1800)
    since = begun[0] + WIND_DOWN_SECONDS
    assert nurse.said(begun[0] + 2, since - 2) == {""}
    late = nurse.said(since + 2, begun[0] + 890)
    assert all(reason.startswith("the grid has been winding down for ") for reason in late)
    assert any(reason.endswith(" of its orders are open") for reason in late)
    assert nurse.notes[-1][1:] == ("halted", "")
    assert balances(world).get("BTC", Decimal(0)) < Decimal("0.00001")
    assert world.audit().differences == []


def test_a_move_that_a_filter_holds_back_for_long_is_healthy(make_world):
    world = make_world(path(50_000, 50_000, 46_000, *[46_000] * 40, minutes=60), at_end="hold")
    world.document |= {"reposition": {"direction": "down", "cooldown_minutes": 0}}
    runner = world.runner()

    def hold(trader, _store):
        if trader.wind_down is not None:
            trader._risk_guard.pause = lambda: setattr(trader.session, "paused", "downtrend")

    runner._workers[0]._after_step = hold
    nurse = Nurse(world, runner)
    nurse.watch(1800)
    at, state, reason = nurse.notes[-1]
    assert (state, reason) == ("ending", "")
    begun = next(when for when, state, _ in nurse.notes if state == "ending")
    assert at - begun > 2 * WIND_DOWN_SECONDS
    assert nurse.said(begun) == {""}


# Fills that are never listed.


def hide_trades(world: World) -> None:
    def after(method, name):
        hidden = (method, name) == ("GET", "myTrades")
        return answer_of("200 OK", b"[]") if hidden else None

    world.wire.after = after


def test_fills_that_are_never_listed_are_told(make_world):
    world = make_world(zigzag(400), speed="30")
    world.run(world.runner(), 10)
    hide_trades(world)
    begun = world.clock.seconds
    nurse = nursed(world, 600)
    late = nurse.said(begun + 3 * LISTED_SECONDS)
    assert late
    assert all("and only trades of 0 are listed" in reason for reason in late)
    world.wire.after = lambda *_: None
    assert nursed(world, 30).notes[-1][1:] == ("trading", "")
    settle(world)


def test_a_stop_fires_while_fills_are_not_listed(make_world):
    world = stopping(make_world)
    world.run(world.runner(), 4)
    hide_trades(world)
    nurse = nursed(world, 300)
    assert the_ended(world) == []
    assert world.broker().open_orders() == []  # no buy is left to be filled
    assert "are listed" in nurse.notes[-1][2]
    world.wire.after = lambda *_: None
    assert nursed(world, 60).notes[-1][1:] == ("halted", "")
    assert balances(world).get("BTC", Decimal(0)) < Decimal("0.00001")
    assert world.audit().differences == []


# Answers that break off.


def cut_body(*_request):
    """The head says 1000 bytes, and nine come."""
    answer = requests.Response()
    answer.status_code, answer.reason = 200, "OK"
    answer.headers.update({"Content-Type": "application/json", "Content-Length": "1000"})
    answer.raw = urllib3.HTTPResponse(
        body=io.BytesIO(b'{"symbol"'),
        headers={"Content-Length": "1000"},
        status=200,
        preload_content=False,
        enforce_content_length=True,
    )
    return answer


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_answer_that_breaks_off_at_any_request_loses_nothing(make_world, when):
    world = make_world(zigzag(400), speed="30")
    count, dice = itertools.count(1), random.Random(7)  # noqa: S311 - a fault, no secret

    def cut(*request):
        next(count)
        return cut_body(*request) if dice.random() < 0.1 else None

    setattr(world.wire, when, cut)
    world.run(world.runner(), 600)
    assert next(count) > 300
    settle(world)


@pytest.mark.parametrize("number", [1, 2, 12, 25])
def test_an_order_whose_answer_breaks_off_is_not_doubled(make_world, number):
    world = make_world(zigzag(40), at_end="hold")
    world.wire.after = at_order(number, cut_body)
    world.run(world.runner(), 60)
    settle(world)


# Errors that nobody expected.


class Mistake:
    """Fails at some of its calls, and does what it stands for at the others."""

    def __init__(self, whole, numbers, *, after: bool = False) -> None:
        self.count = 0
        self.times = 0
        self._whole, self._numbers, self._after = whole, numbers, after

    def __get__(self, owner, _kind):
        return lambda *arguments, **options: self(owner, *arguments, **options)

    def __call__(self, *arguments, **options):
        self.count += 1
        fails = self.count in self._numbers
        self.times += fails
        if fails and not self._after:
            raise TypeError("a signature=4711 that nobody should read")
        result = self._whole(*arguments, **options)
        if fails:
            raise TypeError("a signature=4711 that nobody should read")
        return result


def test_an_unexpected_error_is_told_and_traded_on_after(make_world, monkeypatch, caplog):
    world = make_world(zigzag(400), speed="30")
    monkeypatch.setattr(Reconciler, "follow", Mistake(Reconciler.follow, {30}))
    nurse = nursed(world, 150)
    (record,) = [one for one in caplog.records if "Traceback" in one.getMessage()]
    assert record.levelno == logging.ERROR
    assert "TypeError: a signature=... that" in record.getMessage()
    assert "4711" not in caplog.text
    told = [note for note in nurse.notes if "unexpected" in note[2]]
    assert told
    assert all(state == "waiting" for _, state, _ in told)
    assert all("unexpected TypeError at test_grid_worker.py:" in reason for _, _, reason in told)
    assert not any("4711" in reason for _, _, reason in told)
    assert 10 < told[-1][0] - told[0][0] < 20
    assert nurse.notes[-1][1:] == ("trading", "")
    settle(world)


def test_an_unexpected_error_that_comes_again_is_told_all_the_time(make_world, monkeypatch):
    world = make_world(zigzag(400), speed="1")
    mistake = Mistake(Reconciler.follow, {30, 60, 90})
    monkeypatch.setattr(Reconciler, "follow", mistake)
    nurse = nursed(world, 1200)
    assert mistake.times == 3
    at = [when for when, state, _ in nurse.notes if state == "waiting"]
    second = [when for when, _, reason in nurse.notes if ", 2 times" in reason]
    third = [when for when, _, reason in nurse.notes if ", 3 times" in reason]
    assert "" not in nurse.said(second[0], third[-1])
    # Longer from one to the next, and well again in the end.
    assert third[-1] - third[0] == pytest.approx(UNEXPECTED_SECONDS, abs=5)
    assert at[-1] - third[0] > 40
    assert nurse.notes[-1][1:] == ("trading", "")
    settle(world)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("where", "name"),
    [
        (Store, "commit"),
        (Store, "restore"),
        (Reconciler, "follow"),
        (submission, "accept"),
        (submission, "_send"),
        (reconciliation, "fill_of"),
        (BinanceBroker, "place"),
        (BinanceBroker, "open_orders"),
    ],
)
def test_unexpected_errors_wherever_they_arise_lose_and_double_nothing(
    make_world, monkeypatch, where, name, after
):
    world = make_world(zigzag(400), speed="10")
    world.run(world.runner(), 2)
    numbers = {1, 2, 3, 11, 12, 20, *range(30, 1000, 13)}
    mistake = Mistake(getattr(where, name), numbers, after=after)
    # A fleet of mistakes, with less patience than one deserves.
    monkeypatch.setattr("gridbot.service.grid_worker._UNEXPECTED.longest", 1.0)
    monkeypatch.setattr("gridbot.service.grid_worker._UNEXPECTED.first", 1.0)
    monkeypatch.setattr(where, name, mistake)
    world.run(world.runner(), 150)
    assert mistake.times > 0
    monkeypatch.undo()
    settle(world)


def test_an_unexpected_error_of_one_grid_leaves_the_other_alone(make_world):
    world = make_world(symbols=SYMBOLS)
    world.document |= {"grids": GRIDS}
    del world.document["grid"], world.document["market"]
    runner = world.runner()
    sick, well = runner._workers[:2]
    traders = []

    def fail(trader, _store):
        traders.append(trader)
        raise RuntimeError("of the books")

    sick._after_step = fail
    world.stand_still()
    world.run(runner, 100)
    # Each time it begins anew, from the store.
    assert len(set(map(id, traders))) == len(traders) > 2
    assert sick.unexpected.times == len(traders)
    assert well.unexpected is None
    assert well.trader.engine.grid_started
    for worker in (sick, well):
        assert world.audit(worker.config.symbol).differences == []


def test_a_users_mistake_still_ends_the_bot(make_world):
    world = make_world(zigzag(40))
    world.document["market"] = {"symbol": "ABC/USDT"}
    with pytest.raises(UserError, match="ABC/USDT"):
        world.run(world.runner(), 10)
