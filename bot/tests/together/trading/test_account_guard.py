"""A loss limit over all bots of one account: the judge, and what follows from what it says."""

import hmac
import itertools
from decimal import Decimal
from pathlib import Path

import pytest
import requests
from gridbase.errors import UserError
from gridbot import cli
from gridbot.config.load import parse_config
from gridbot.exchanges.port import BrokerError, Failure
from gridbot.service.bot import Runner
from gridbot.service.verdicts import NONCE, SIGNATURE, Follower, VerdictPage, signature
from gridbot.store import Store
from gridbot.trading.account_guard import ACCOUNT, JUDGE_SECONDS, AccountGuard, Judge, judge

from bot.tests.together.in_process import answer_of, deliver

from .conftest import VirtualClock, unreachable, zigzag
from .test_policies import path

TOKEN = "a-secret-of-the-account"
SILENCE = 60.0
SYMBOL = "BTC/USDT"
SILENT = "the account's judge has been silent for more than 60 s"
URL = "http://judge.test:8090"
FALL = path(50_000, 50_000, 50_000, 48_000, 48_000, minutes=3)


def guard_of(start: str, limit: str) -> dict[str, object]:
    return {
        "role": "judge",
        "start_equity": start,
        "loss_limit": limit,
        "token_file": "/run/secrets/token",
    }


def judged(world) -> Runner:
    """A bot that has just been started, and judges its account."""
    world.power_off()
    account, config = world.account(), world.config
    guard = AccountGuard(SILENCE, world.clock)
    judging = Judge(config.account_guard, account.broker, world.clock, guard)
    return Runner(config, account, world.open_store, world.clock, guard=guard, judge=judging)


def halt_of(world, symbol: str = SYMBOL):
    reader = Store(world.config.state_directory, read_only=True)
    try:
        return reader.open_halt(symbol)
    finally:
        reader.close()


def placed(world) -> int:
    return world.wire.requests.count(("POST", "order"))


def test_the_judge_ends_its_grids_and_goes_on_only_after_a_person(make_world, monkeypatch, capsys):
    world = make_world(FALL, at_end="hold")
    world.document["account_guard"] = guard_of("10000", "60")
    world.run(judged(world), 300)
    assert halt_of(world).reason_code == "account_loss"
    assert halt_of(world).price == 0  # that of no symbol
    verdict = halt_of(world, ACCOUNT).text
    assert verdict.startswith("the account is worth 9")
    assert verdict.endswith("account_guard.loss_limit = 60")
    assert world.broker().open_orders() == []
    # It stands over a restart, though the account would be worth enough now.
    world.document["account_guard"] = guard_of("9000", "60")
    sent = placed(world)
    world.run(judged(world), 60)
    assert placed(world) == sent
    monkeypatch.setattr("gridbot.commands.resume.load_config", lambda _: world.config)
    assert cli.main(["resume", "--config", "bot.toml", "--symbol", SYMBOL]) == 2
    assert "leave it out" in capsys.readouterr().err
    assert cli.main(["resume", "--config", "bot.toml"]) == 0
    world.run(judged(world), 60)
    assert halt_of(world) is None
    assert placed(world) > sent


def test_a_verdict_is_in_force_for_a_judge_that_has_stopped_by_itself(make_world):
    world = make_world(FALL, at_end="hold")
    world.document["account_guard"] = guard_of("10000", "60")
    world.run(judged(world), 5)
    store = world.open_store()
    store.halt(SYMBOL, reason_code="by_hand", text="by hand", price=Decimal(0), at_ms=0)
    world.power_off()
    world.run(judged(world), 300)
    assert halt_of(world).reason_code == "by_hand"
    assert halt_of(world, ACCOUNT) is not None


def test_an_account_whose_verdict_is_cleared_is_judged_anew_at_once(make_world):
    world = make_world(zigzag())
    world.document["account_guard"] = guard_of("10000", "5000")
    guard = AccountGuard(SILENCE, world.clock)
    judging = Judge(world.config.account_guard, world.account().broker, world.clock, guard)
    store = world.open_store()
    judging.turn(store)
    store.halt(ACCOUNT, reason_code=ACCOUNT, text="a test", price=Decimal(0), at_ms=0)
    judging.turn(store)
    assert guard.fired
    store.clear_halt(ACCOUNT, 1)
    judging.turn(store)
    assert not guard.fired


def test_a_judge_that_cannot_ask_lets_nobody_buy(make_world, caplog):
    world = make_world(zigzag())
    world.document["account_guard"] = guard_of("10000", "5000")
    runner = judged(world)
    world.run(runner, 60)
    assert SILENT not in runner.health()["reasons"]
    assert runner.status()["paused"] == ""

    def after_a_minute(_method, path):
        if path == "account" and world.clock.seconds > 120:
            unreachable()

    world.wire.before = after_a_minute
    runner = world.run(judged(world), 180)
    assert runner.status()["paused"] == SILENT
    assert SILENT in runner.health()["reasons"]
    told = [text for text in caplog.messages if text.startswith("the account cannot be judged")]
    assert told
    assert [text for text, _ in itertools.groupby(told)] == told  # however often it is tried


def test_a_follower_without_word_sells_and_does_not_buy(make_world):
    world = make_world(zigzag())
    world.power_off()
    guard = AccountGuard(SILENCE, world.clock)
    runner = Runner(world.config, world.account(), world.open_store, world.clock, guard=guard)
    guard.hear(world.clock.seconds, fired=False)
    world.run(runner, SILENCE - 5)
    known = {order.client_id: order.side for order in orders_of(world)}
    assert {"buy", "sell"} == set(known.values())
    world.clock.sleep(10)
    runner = Runner(world.config, world.account(), world.open_store, world.clock, guard=guard)
    world.run(runner, 120)
    new = [order for order in orders_of(world) if order.client_id not in known]
    assert {order.side for order in new} == {"sell"}
    assert SILENT in runner.health()["reasons"]
    assert runner.status()["paused"] == SILENT
    guard.hear(world.clock.seconds, fired=False)
    runner = Runner(world.config, world.account(), world.open_store, world.clock, guard=guard)
    world.run(runner, 30)
    assert runner.status()["paused"] == ""
    assert SILENT not in runner.health()["reasons"]


def orders_of(world):
    """All orders that the exchange has got."""
    broker = world.broker()
    broker.connect()
    return broker.orders_since(())


def test_the_limit_is_passed_where_it_is_reached():
    document = {
        "bot_name": "pi1",
        "exchange": {
            "name": "binance",
            "url": "http://x",
            "api_key_file": "/k",
            "api_secret_file": "/s",
        },
        "market": {"symbol": SYMBOL},
        "grid": {"lower": "47000", "upper": "53000", "grids": 20, "investment": "9000"},
        "account_guard": guard_of("10000", "500"),
    }
    config = parse_config(document, Path("bot.toml")).account_guard
    assert judge(config, Decimal("9500.01")) == ""
    assert judge(config, Decimal(9500)) == (
        "the account is worth 9500, 500 less than account_guard.start_equity = 10000; "
        "account_guard.loss_limit = 500"
    )


class Coins:
    """An account that holds some coins, seen by one symbol."""

    def __init__(self, bid: str, quote: str | None = "100") -> None:
        self.bid = Decimal(bid)
        self.held = {"BTC": Decimal(2), "BNB": Decimal(9)}
        if quote is not None:
            self.held["USDT"] = Decimal(quote)

    def balances(self):
        return self.held

    def bid_price(self):
        return self.bid


def test_coins_of_all_symbols_count_at_their_bid(make_world):
    world = make_world(zigzag())
    symbols = [SYMBOL, "ETH/USDT"]
    world.document["account_guard"] = guard_of("200", "1") | {"symbols": symbols}
    brokers = {SYMBOL: Coins("50"), "ETH/USDT": Coins("7")}
    guard = AccountGuard(SILENCE, world.clock)
    judging = Judge(world.config.account_guard, brokers.__getitem__, world.clock, guard)
    store = world.open_store()
    judging.turn(store)
    assert not guard.fired
    brokers[SYMBOL].bid = Decimal("49.5")
    judging.turn(store)
    assert not guard.fired  # judged a moment ago
    world.clock.sleep(JUDGE_SECONDS)
    judging.turn(store)
    assert guard.fired
    # One that was restarted says so too, whatever the account is worth by now.
    brokers[SYMBOL].bid = Decimal(50)
    again = AccountGuard(SILENCE, world.clock)
    Judge(world.config.account_guard, brokers.__getitem__, world.clock, again).turn(store)
    assert again.fired


@pytest.mark.parametrize(("bid", "fires"), [("99.99", True), ("100", False)])
def test_an_account_without_any_quote_is_worth_its_coins(make_world, bid, fires):
    world = make_world(zigzag())
    world.document["account_guard"] = guard_of("200.01", "0.02")
    guard = AccountGuard(SILENCE, world.clock)
    coins = Coins(bid, quote=None)
    Judge(world.config.account_guard, lambda _: coins, world.clock, guard).turn(world.open_store())
    assert guard.fired is fires


def test_the_same_trouble_is_told_again_after_an_answer(make_world, caplog):
    world = make_world(zigzag())
    world.document["account_guard"] = guard_of("200", "1")
    coins = Coins("50")
    guard = AccountGuard(SILENCE, world.clock)
    judging = Judge(world.config.account_guard, lambda _: coins, world.clock, guard)
    store = world.open_store()

    def nothing():
        raise BrokerError(Failure.UNREACHABLE, "no answer")

    for answer in [nothing, nothing, coins.bid_price, nothing]:
        coins.bid_price = answer
        judging.turn(store)
        world.clock.sleep(JUDGE_SECONDS)
    assert caplog.text.count("the account cannot be judged") == 2


@pytest.mark.parametrize(("retry_after", "wait"), [(None, JUDGE_SECONDS), (100.0, 100.0)])
def test_an_exchange_that_does_not_answer_is_asked_again_once_it_is_time(
    make_world, retry_after, wait
):
    world = make_world(zigzag())
    world.document["account_guard"] = guard_of("200", "1")
    asked = []

    class Silent:
        def balances(self):
            asked.append(world.clock.seconds)
            raise BrokerError(Failure.UNREACHABLE, "no answer", retry_after=retry_after)

    guard = AccountGuard(SILENCE, world.clock)
    judging = Judge(world.config.account_guard, lambda _symbol: Silent(), world.clock, guard)
    store, begin = world.open_store(), world.clock.seconds
    for seconds in (0, 0, wait - 1, 1, 0):
        world.clock.sleep(seconds)
        judging.turn(store)
    assert asked == [begin, begin + wait]
    assert guard.silent


# What goes between the judge and the others.


class Line(requests.adapters.BaseAdapter):
    """Carries questions to a judge; `change` sees each answer on its way back."""

    def __init__(self, application) -> None:
        super().__init__()
        self.application = application
        self.answers = []
        self.change = lambda answer: answer

    def send(self, request, **_options):
        environ = {
            "HTTP_" + name.upper().replace("-", "_"): request.headers[name]
            for name in (NONCE, SIGNATURE)
        }
        self.answers.append(deliver(self.application, request, **environ))
        return self.change(self.answers[-1])

    def close(self) -> None:
        pass


class Pair:
    """A judge and a follower; their clocks have nothing in common."""

    def __init__(self, token: str = TOKEN) -> None:
        self.there, self.here = VirtualClock(), VirtualClock()
        self.there.seconds, self.here.seconds = 5000.0, 100.0
        self.judged, self.heard = (
            AccountGuard(SILENCE, self.there),
            AccountGuard(SILENCE, self.here),
        )
        self.line = Line(VerdictPage(self.judged, TOKEN, self.there))
        session = requests.Session()
        session.mount("http://", self.line)
        self.follower = Follower(URL, token, self.here, self.heard, session)


def test_a_follower_hears_the_verdict_and_the_age_of_it():
    pair = Pair()
    pair.follower.ask()
    assert pair.heard.silent  # nothing is judged yet
    pair.judged.hear(5000.0, fired=False)
    pair.there.seconds += 50.0
    pair.follower.ask()
    assert pair.heard.heard == (50.0, False)
    pair.judged.hear(5050.0, fired=True)
    pair.follower.ask()
    assert pair.heard.heard == (100.0, True)
    assert pair.heard.hold() == "the account's loss limit is passed"


def test_an_answer_is_as_old_as_its_question():
    pair = Pair()
    pair.judged.hear(5000.0, fired=False)

    def late(answer):
        pair.here.seconds += 4.0
        return answer

    pair.line.change = late
    pair.follower.ask()
    assert pair.heard.heard == (100.0, False)


def test_who_has_another_token_is_told_nothing(caplog):
    pair = Pair(token="guessed")
    pair.judged.hear(5000.0, fired=False)
    pair.follower.ask()
    assert [answer.status_code for answer in pair.line.answers] == [401]
    assert pair.line.answers[0].content == b""
    assert pair.heard.silent
    assert "does not accept this bot's account_guard.token_file" in caplog.text
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    "forge",
    [
        lambda answer, _first: answer_of(
            "200 OK", answer.content.replace(b"true", b"false"), dict(answer.headers)
        ),
        lambda _answer, first: answer_of("200 OK", first.content, dict(first.headers)),
        lambda answer, _first: answer_of("200 OK", answer.content),
        lambda _answer, _first: answer_of(
            "200 OK", b"{}", {SIGNATURE: signature("x", "answer", "")}
        ),
    ],
    ids=["changed", "replayed", "not signed", "signed by another"],
)
def test_an_answer_that_is_not_the_judges_own_to_this_question_is_none(forge):
    pair = Pair()
    pair.judged.hear(5000.0, fired=False)
    pair.follower.ask()
    [first] = pair.line.answers
    pair.judged.hear(5001.0, fired=True)
    pair.here.seconds += 10.0
    pair.line.change = lambda answer: forge(answer, first)
    pair.follower.ask()
    assert pair.heard.heard == (100.0, False)
    pair.here.seconds += SILENCE
    assert pair.heard.silent


def test_a_question_is_no_answer_and_signatures_are_compared_in_constant_time(monkeypatch):
    assert signature(TOKEN, "question", "n") != signature(TOKEN, "answer", "n")
    compared = []

    def compare(one, other):
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    pair = Pair()
    pair.judged.hear(5000.0, fired=False)
    pair.follower.ask()
    assert len(compared) == 2


def test_a_judge_that_cannot_be_reached_is_silent():
    pair = Pair()
    pair.judged.hear(5000.0, fired=False)
    pair.follower.ask()
    pair.line.change = unreachable
    pair.here.seconds += SILENCE
    pair.follower.ask()
    assert not pair.heard.silent
    pair.here.seconds += 0.1
    assert pair.heard.silent


FOLLOWER = {"role": "follower", "url": URL, "token_file": "/run/secrets/token"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"role": "boss"}, 'account_guard.role = "boss" needs "off" or "judge" or "follower"'),
        (FOLLOWER | {"url": None}, 'account_guard.url is missing: account_guard.role = "follower"'),
        (FOLLOWER | {"token_file": None}, "account_guard.token_file is missing"),
        (guard_of("10000", "1") | {"loss_limit": None}, "account_guard.loss_limit is missing"),
        (guard_of("10000", "10000"), "loss_limit = 10000 must be below account_guard.start_equity"),
        (guard_of("10000", "1") | {"symbols": ["ETH/USDT"]}, "symbols needs BTC/USDT, which this"),
        (guard_of("10000", "1") | {"symbols": [SYMBOL, "ETH/EUR"]}, "quote coins EUR and USDT"),
        (guard_of("10000", "1") | {"symbols": "BTC/USDT"}, "needs a list of symbols"),
        (FOLLOWER | {"silence_seconds": 5}, "silence_seconds = 5 needs a whole number from 30 to"),
    ],
)
def test_a_mistake_is_one_line(make_world, settings, message):
    world = make_world(zigzag())
    given = {name: value for name, value in settings.items() if value is not None}
    world.document["account_guard"] = given
    with pytest.raises(UserError, match="account_guard") as refused:
        _ = world.config
    assert message in str(refused.value)
