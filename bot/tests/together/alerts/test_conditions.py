"""Each thing that the bot alerts of, caused in a real bot: one alert, and its recovery."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest
from gridbot.config.alerts import AlertsConfig
from gridbot.core.orders import Side
from gridbot.service.alerts import channels
from gridbot.service.alerts.ledger import Ledger
from gridbot.service.alerts.messages import Sender
from gridbot.service.alerts.queue_file import NAME
from gridbot.service.alerts.sender import LOOK_SECONDS, AlertSender
from gridbot.store import Store

from bot.tests.together.in_process import refusal
from bot.tests.together.trading.conftest import (
    make_world,  # noqa: F401 (fixtures)
    tmp_path,  # noqa: F401 (fixtures)
    unreachable,
)
from bot.tests.together.trading.test_policies import FALL, path

from .receivers import Receiver

SYMBOL = "BTC/USDT"
CALM = path(50_000, minutes=1)


class Watched:
    """A bot in one process, its alerts sent to a webhook on loopback."""

    def __init__(self, world, receiver: Receiver) -> None:
        self.world = world
        self.receiver = receiver
        self.runner = world.runner()
        file = world.directory / "webhook_url"
        file.touch(mode=0o600)
        file.write_text(receiver.url)
        config = AlertsConfig("shelf-1", "docs/runbooks", None, None, None, None, file)
        sender = Sender("shelf-1", "pi1", "paper", "docs/runbooks")
        self.sender = AlertSender(
            self.runner.status,
            Ledger("pi1"),
            world.directory / NAME,
            world.clock,
            alertmanager=None,
            direct=channels.direct(config, sender, world.clock),
        )

    def run(self, seconds: float) -> list[tuple[str, str]]:
        """Let the bot go on; what was said meanwhile: kind and news."""
        before, until = len(self.receiver.taken), self.world.clock.seconds + seconds
        look = self.world.clock.seconds
        while self.world.clock.seconds < until:
            pause = self.runner._step()
            if self.world.clock.seconds >= look:
                self.sender.turn()
                look = self.world.clock.seconds + LOOK_SECONDS
            self.world.clock.sleep(max(pause, 0.05))
        documents = map(json.loads, self.receiver.taken[before:])
        return [(one["alertname"], one["status"]) for one in documents]


@pytest.fixture
def watch(make_world):  # noqa: F811
    receivers = []

    def start(candles=None, *, settings: dict | None = None, **flags) -> Watched:
        world = make_world(candles, **flags)
        world.document |= settings or {}
        receivers.append(Receiver("/hook"))
        return Watched(world, receivers[-1])

    yield start
    for one in receivers:
        one.close()


def pass_all(*_request) -> None:
    """Nothing happens to a request."""


def test_a_bot_that_trades_says_nothing(watch):
    assert watch(CALM).run(100) == []


def test_the_exchange_is_away(watch):
    watched = watch(CALM)
    watched.run(20)
    watched.world.wire.before = unreachable
    assert watched.run(120) == [("BreakerOpen", "fired")]
    watched.world.wire.before = pass_all
    assert watched.run(180) == [("BreakerOpen", "resolved")]


def test_a_short_absence_is_no_alert(watch):
    watched = watch(CALM)
    watched.run(20)
    watched.world.wire.before = unreachable
    watched.run(10)
    watched.world.wire.before = pass_all
    assert watched.run(120) == []


def test_the_key_is_refused(watch):
    watched = watch(CALM)
    watched.run(20)

    def refuse(_method, what):
        said = "Invalid API-key, IP, or permissions"
        return None if what == "time" else refusal(401, -2015, said)

    watched.world.wire.before = refuse
    assert watched.run(150) == [("KeyRefused", "fired")]
    watched.world.wire.before = pass_all
    assert watched.run(300) == [("KeyRefused", "resolved")]
    text = json.loads(watched.receiver.taken[0])["text"]
    assert "Invalid API-key" in text


def test_a_kill_switch_fires(watch):
    stop = {"stop": {"loss_price": "46500", "liquidate": True}}
    watched = watch(FALL, at_end="hold", settings=stop)
    assert watched.run(120) == [("KillSwitchFired", "fired")]
    document = json.loads(watched.receiver.taken[0])
    assert document["text"].startswith("stop.loss_price: price ")
    store = Store(watched.world.config.state_directory, beside=True)
    store.clear_halt(SYMBOL, watched.world.clock.now_ms())
    store.close()
    # A price below the stop lets no grid begin: the switch is cleared all the same.
    assert watched.run(120)[:1] == [("KillSwitchFired", "resolved")]


def test_a_person_who_ends_a_grid_is_not_alerted(watch):
    watched = watch(CALM)
    watched.run(20)
    store = Store(watched.world.config.state_directory, beside=True)
    now = watched.world.clock.now_ms()
    store.halt(SYMBOL, reason_code="by_hand", text="holidays", price=Decimal(0), at_ms=now)
    store.close()
    assert watched.run(120) == []


def test_the_price_leaves_the_range(watch):
    away = path(50_000, 50_000, 56_000, 56_000, 56_000, 50_000, minutes=50)
    watched = watch(away, at_end="hold")
    said = watched.run(450)
    assert said == [("OutOfRange", "fired"), ("OutOfRange", "resolved")]
    text = json.loads(watched.receiver.taken[0])["text"]
    assert "is above the range from 47000 to 53000 USDT" in text


def test_books_and_exchange_disagree(watch):
    watched = watch(CALM)
    watched.run(20)
    broker = watched.world.broker()
    broker.connect()
    order = next(iter(watched.runner._workers[0].trader.engine.live.values()))
    # An order of this bot's name that it never placed.
    stray = replace(order, client_id="pi1-BTCUSDT-nobody", price=Decimal(40000), side=Side.BUY)
    watched.world.wire.database = None
    broker.place(stray)
    assert watched.run(90) == [("BooksUnequal", "fired")]
    broker.cancel(stray.client_id)
    assert watched.run(240) == [("BooksUnequal", "resolved")]
