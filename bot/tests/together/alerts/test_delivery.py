"""Who is told of an alert, when, and how often; receivers are real servers on loopback."""

import json
import logging
from pathlib import Path

import pytest
from gridbase.errors import UserError
from gridbot.config.alerts import AlertsConfig
from gridbot.service.alerts import channels
from gridbot.service.alerts.conditions import Condition, Sight
from gridbot.service.alerts.kinds import KINDS
from gridbot.service.alerts.ledger import MOST, Ledger
from gridbot.service.alerts.messages import Sender
from gridbot.service.alerts.queue_file import NAME
from gridbot.service.alerts.sender import AlertSender

from .receivers import Receiver, Time

SENDER = Sender("shelf-1", "pi1", "paper", "docs/runbooks")
SECRET_PATH = "/api/webhooks/123/planted-secret"
EVIL = (
    "refused @everyone [click](https://evil.example) <@1> `x` **bold**\n# head \x1b[2J\u202e"
    + "x" * 900
)


class Bot:
    """A bot's status, and what sends its alerts."""

    def __init__(self, directory: Path, *, clock=None, **receivers: Receiver) -> None:
        self.directory = directory
        self.clock = clock or Time()
        self.halt: dict | None = None
        self.state = "trading"
        self.halting = ""
        self.receivers = receivers
        self.start()

    def start(self) -> None:
        """Begin, or begin anew after a crash: with what the file has."""
        files = {}
        for name in ("discord", "ntfy", "webhook"):
            file = self.directory / f"{name}_url"
            files[f"{name}_url_file"] = None
            if name in self.receivers:
                file.touch(mode=0o600)
                file.write_text(self.receivers[name].url)
                files[f"{name}_url_file"] = file
        manager = self.receivers.get("manager")
        config = AlertsConfig(
            host=SENDER.host,
            runbooks=SENDER.runbooks,
            alertmanager_url=None if manager is None else manager.base,
            alertmanager_token_file=None,
            **files,
        )
        timeout = (0.3, 0.3)
        self.sender = AlertSender(
            self.status,
            Ledger(SENDER.bot),
            self.directory / NAME,
            self.clock,
            alertmanager=channels.alertmanager(config, SENDER, self.clock, timeout),
            direct=channels.direct(config, SENDER, self.clock, timeout),
        )

    def status(self) -> dict:
        grid = {
            "symbol": "BTC/USDT",
            "quote": "USDT",
            "state": "halted" if self.halt else self.state,
            "reason": "",
            "cause": "",
            "halt": self.halt,
            "halting": self.halting,
            "lines": [],
            "price": None,
        }
        return {"connection": {}, "grids": [grid]}

    def fire(self, text: str = "price 1 is below the stop 2") -> None:
        at_ms = self.clock.now_ms()
        self.halt = {"reason": "stop.loss_price", "text": text, "at_ms": at_ms}

    def turns(self, seconds: float) -> None:
        until = self.clock.ms + seconds * 1000
        while self.clock.ms < until:
            self.sender.turn()
            self.clock.ms += 1000


@pytest.fixture
def receive():
    receivers = []

    def make(path: str = "/") -> Receiver:
        receivers.append(Receiver(path))
        return receivers[-1]

    yield make
    for one in receivers:
        one.close()


def kept(bot: Bot) -> list:
    return json.loads((bot.directory / NAME).read_text())["alerts"]


def test_alertmanager_gets_it_and_nobody_else(tmp_path, receive):
    manager, discord = receive(), receive(SECRET_PATH)
    bot = Bot(tmp_path, manager=manager, discord=discord)
    bot.turns(5)
    assert manager.seen == []
    bot.fire()
    bot.turns(200)
    fired = [one for (one,) in manager.documents]
    assert {path for path, _, _ in manager.seen} == {"/api/v2/alerts"}
    # Repeated every minute, as it would forget it otherwise; the same labels are the same alert.
    assert len(fired) == 4
    assert len({json.dumps(one["labels"]) for one in fired}) == 1
    labels, notes = fired[0]["labels"], fired[0]["annotations"]
    started = bot.halt["at_ms"]
    assert labels == {
        "alertname": "KillSwitchFired",
        "alert_key": f"pi1-BTCUSDT-KillSwitchFired-{started}",
        "severity": "critical",
        "host": "shelf-1",
        "bot": "pi1",
        "mode": "paper",
        "symbol": "BTC/USDT",
    }
    assert "below the stop 2" in notes["description"]
    assert notes["runbook_url"] == "docs/runbooks/kill-switch-fired.md"
    assert all(one["endsAt"] > one["startsAt"] for one in fired)
    bot.halt = None
    bot.turns(120)
    (over,) = [one for (one,) in manager.documents[4:]]
    assert over["labels"] == labels
    assert over["endsAt"] < fired[-1]["endsAt"]
    assert discord.seen == []
    assert kept(bot) == []


@pytest.mark.parametrize("failure", [500, 0, 404, "gone"])
def test_where_it_does_not_acknowledge_discord_gets_it_after_30_seconds(tmp_path, receive, failure):
    manager, discord = receive(), receive(SECRET_PATH)
    bot = Bot(tmp_path, manager=manager, discord=discord)
    if failure == "gone":
        manager.close()
    else:
        manager.status = failure
    bot.fire()
    bot.turns(29)
    assert discord.seen == []
    bot.turns(3)
    (message,) = discord.documents
    assert "Kill switch fired" in message["content"]
    assert f"pi1-BTCUSDT-KillSwitchFired-{bot.halt['at_ms']}" in message["content"]
    # What was said directly is not said by Alertmanager as well, nor is its end.
    manager.status = 200
    bot.turns(200)
    assert manager.taken == []
    bot.halt = None
    bot.turns(60)
    _, over = discord.documents
    assert "Over" in over["content"]
    assert manager.taken == []


def test_where_it_goes_away_meanwhile_the_end_is_told_directly(tmp_path, receive):
    manager, discord = receive(), receive(SECRET_PATH)
    bot = Bot(tmp_path, manager=manager, discord=discord)
    bot.fire()
    bot.turns(5)
    assert len(manager.taken) == 1
    manager.status = 503
    bot.halt = None
    bot.turns(29)
    assert discord.seen == []
    bot.turns(5)
    (over,) = discord.documents
    assert "Over" in over["content"]


def test_a_switch_whose_grid_cannot_end_is_told_as_well(tmp_path, receive):
    discord = receive(SECRET_PATH)
    bot = Bot(tmp_path, discord=discord)
    bot.halting, bot.state = "price 1 is below the stop 2", "ending"
    bot.turns(5)
    bot.state = "waiting"  # the exchange is away: nothing can be canceled
    bot.turns(60)
    assert len(discord.taken) == 1
    bot.halting = ""
    bot.fire()
    bot.turns(60)
    assert len(discord.taken) == 1


def test_without_alertmanager_it_is_told_at_once_and_once(tmp_path, receive):
    discord = receive(SECRET_PATH)
    bot = Bot(tmp_path, discord=discord)
    bot.fire()
    bot.turns(600)
    assert len(discord.seen) == 1
    assert oct((tmp_path / NAME).stat().st_mode)[-3:] == "600"


def test_the_next_receiver_takes_what_the_first_refuses(tmp_path, receive):
    discord, ntfy, webhook = receive(SECRET_PATH), receive("/topic"), receive("/hook")
    discord.status, ntfy.status = 404, 500
    bot = Bot(tmp_path, discord=discord, ntfy=ntfy, webhook=webhook)
    bot.fire()
    bot.turns(60)
    (document,) = webhook.documents
    assert document["status"] == "fired"
    assert document["action"].startswith("Find out why")
    assert (document["alertname"], document["host"]) == ("KillSwitchFired", "shelf-1")
    ntfy.status = 200
    bot.halt = None
    bot.turns(60)
    path, headers, _ = ntfy.seen[-1]
    assert (path, headers["Title"].startswith("Over: Kill switch fired")) == ("/topic", True)
    assert len(webhook.taken) == 1


def test_who_asks_for_patience_gets_it(tmp_path, receive):
    discord = receive(SECRET_PATH)
    discord.status, discord.headers = 429, {"Retry-After": "90"}
    bot = Bot(tmp_path, discord=discord)
    bot.fire()
    bot.turns(85)
    assert len(discord.seen) == 1
    discord.status = 200
    bot.turns(30)
    assert (len(discord.seen), len(discord.taken)) == (2, 1)


def test_what_is_refused_is_tried_ever_more_rarely(tmp_path, receive):
    discord = receive(SECRET_PATH)
    discord.status = 500
    bot = Bot(tmp_path, discord=discord)
    bot.fire()
    bot.turns(3600)
    assert 20 < len(discord.seen) < 60
    discord.status = 200
    bot.turns(200)
    assert len(discord.taken) == 1


def test_what_waits_survives_a_crash(tmp_path, receive):
    discord = receive(SECRET_PATH)
    discord.status = 500
    bot = Bot(tmp_path, discord=discord)
    bot.fire()
    bot.turns(10)
    (before,) = kept(bot)
    # Cleared while nobody could be told, and the bot was killed: both are said, in this order.
    bot.halt = None
    bot.turns(5)
    discord.status = 200
    bot.start()
    bot.turns(30)
    first, second = (one["content"] for one in discord.documents)
    assert before["key"] in first
    assert before["key"] in second
    assert ("Over" in first, "Over" in second) == (False, True)


def test_a_restart_says_nothing_twice_and_forgets_nothing(tmp_path, receive):
    discord = receive(SECRET_PATH)
    bot = Bot(tmp_path, discord=discord)
    bot.fire()
    bot.turns(5)
    # It begins to know nothing of the switch: that is not its end.
    halt, bot.halt, bot.state = bot.halt, None, "starting"
    bot.start()
    bot.turns(60)
    bot.halt = halt
    bot.turns(60)
    assert len(discord.seen) == 1
    bot.halt, bot.state = None, "trading"
    bot.turns(5)
    assert len(discord.seen) == 2


def test_killed_between_the_answer_and_the_note_it_says_it_again_under_the_same_key(
    tmp_path, receive, monkeypatch
):
    discord = receive(SECRET_PATH)
    bot = Bot(tmp_path, discord=discord)
    bot.fire()
    keep, kept_times = bot.sender._keep, []

    def once() -> None:
        if kept_times:
            raise SystemExit  # killed
        kept_times.append(1)
        keep()

    monkeypatch.setattr(bot.sender, "_keep", once)
    with pytest.raises(SystemExit):
        bot.turns(5)
    bot.start()
    bot.turns(20)
    first, second = discord.taken
    assert first == second


def test_a_damaged_or_full_disk_stops_no_alert(tmp_path, receive, caplog):
    (tmp_path / NAME).write_text('{"version": 1, "alerts": [{"key"')
    discord = receive(SECRET_PATH)
    bot = Bot(tmp_path, discord=discord)
    assert "are forgotten" in caplog.text
    (tmp_path / NAME).unlink()
    (tmp_path / NAME).mkdir()  # nothing can be written there
    bot.fire()
    bot.turns(20)
    assert len(discord.taken) == 1
    assert caplog.text.count("a restart would forget them") == 1


def test_no_address_is_logged(tmp_path, receive, caplog):
    caplog.set_level(logging.DEBUG, logger="gridbot")
    discord, webhook = receive(SECRET_PATH), receive("/hook?token=planted-secret")
    discord.status, webhook.status = 401, 0
    bot = Bot(tmp_path, discord=discord, webhook=webhook)
    bot.fire()
    bot.turns(10)
    discord.close()
    bot.turns(60)
    assert "Discord does not take" in caplog.text
    assert "planted-secret" not in caplog.text
    assert discord.base not in caplog.text
    assert "planted-secret" not in (tmp_path / NAME).read_text()


def test_what_others_write_is_no_markup(tmp_path, receive):
    discord = receive(SECRET_PATH)
    bot = Bot(tmp_path, discord=discord)
    bot.fire(EVIL)
    bot.turns(3)
    (message,) = discord.documents
    assert message["allowed_mentions"] == {"parse": []}
    text = message["content"]
    assert len(text) < 2000
    for raw in ("[click](", "<@1>", "`x`", "**bold", "\n# head", "\x1b", "\u202e", " @everyone"):
        assert raw not in text, raw
    assert r"\[click\]\(https\://evil\.example\)" in text


def test_what_comes_and_goes_is_one_alert():
    ledger, name, now = Ledger("pi1"), ("BreakerOpen", ""), 0
    for holds, seconds in ((True, 40), (False, 50), (True, 10), (False, 50), (True, 5)):
        for _ in range(seconds):
            now += 1000
            ledger.observe(Sight({name: Condition("no answer")} if holds else {}), now)
    (alert,) = ledger.alerts
    assert alert.ended_ms is None
    for _ in range(70):
        now += 1000
        ledger.observe(Sight(), now)
    assert alert.ended_ms == now - 69_000  # when it was gone, not when that was believed
    assert ledger.alerts == [alert]


def test_the_queue_is_bounded(tmp_path, receive):
    discord = receive(SECRET_PATH)
    discord.status = 500
    bot = Bot(tmp_path, discord=discord)
    for _ in range(MOST + 20):
        bot.fire()
        bot.turns(2)
        bot.halt = None
        bot.turns(2)
    assert len(kept(bot)) == MOST


def test_every_kind_has_its_runbook():
    root = Path(__file__).parents[4]
    for kind in KINDS.values():
        page = (root / "docs" / "runbooks" / kind.page).read_text(encoding="utf-8")
        assert page.startswith(f"# {kind.title}\n"), kind.page
        assert f"`{kind.name}`" in page


@pytest.mark.parametrize("address", ["discord.com/api/webhooks/1/x", "ftp://host/x", "https://"])
def test_a_file_without_an_address_is_refused_without_showing_it(tmp_path, address):
    file = tmp_path / "url"
    file.touch(mode=0o600)
    file.write_text(address)
    config = AlertsConfig("h", "r", None, None, file, None, None)
    with pytest.raises(UserError, match=r"alerts\.discord_url_file = .* needs one address") as said:
        channels.direct(config, SENDER, Time())
    assert f"{address} " not in str(said.value).partition("needs")[0]
