"""A key that may withdraw coins: a live bot does not begin with it, where the exchange tells."""

from dataclasses import replace

import pytest
from gridbase.errors import UserError
from gridbot.cli import main as gridbot
from gridbot.service.bot import Runner

from bot.tests.together.in_process import refusal

from .conftest import SECRET, World, zigzag

ASKED = ("GET", "/sapi/v1/account/apiRestrictions")
REFUSED = (
    r"^(BTC/USDT: )?exchange\.api_key_file = .*/key: this API key may withdraw coins, which is not "
    r"allowed; use a key that may only read and trade$"
)


def live(world: World, seconds: float, name: str = "binance") -> Runner:
    """Run a live bot; its exchange is the practice exchange all the same."""
    world.document["exchange"]["name"] = name
    config, account = world.config, world.account(SECRET)
    config = replace(config, account=replace(config.account, mode="live"))
    runner = Runner(config, account, world.open_store, world.clock)
    return world.run(runner, seconds)


@pytest.fixture
def asked():
    """Every request that a bot makes from now on."""
    requests: list[tuple[str, str]] = []

    def watch(world: World) -> list[tuple[str, str]]:
        world.wire.before = lambda method, name: requests.append((method, name))
        return requests

    return watch


def test_a_key_that_may_withdraw_ends_a_live_bot_before_it_trades(make_world, asked):
    world = make_world(zigzag(), withdrawals=True)
    requests = asked(world)
    with pytest.raises(UserError, match=REFUSED) as error:
        live(world, 60)
    assert "\n" not in str(error.value)
    assert [one for one in requests if one[0] != "GET"] == []
    world.wire.before = lambda *_: None
    assert world.exchange_orders() == []


def test_a_key_that_may_only_trade_is_asked_about_once(make_world, asked):
    world = make_world(zigzag())
    requests = asked(world)
    live(world, 120)
    assert requests.count(ASKED) == 1
    first_order = next(at for at, (method, _) in enumerate(requests) if method == "POST")
    assert requests.index(ASKED) < first_order


@pytest.mark.parametrize("name", ["binance", "binanceus"])
def test_nobody_asks_on_paper_or_where_the_exchange_does_not_tell(make_world, asked, name):
    world = make_world(zigzag(), withdrawals=True)
    requests = asked(world)
    if name == "binance":
        world.run(world.runner(), 60)
    else:
        live(world, 60, name)
    assert ASKED not in requests
    assert ("POST", "order") in requests


def test_while_the_exchange_does_not_tell_the_bot_waits(make_world):
    world = make_world(zigzag())
    world.wire.before = lambda method, name: (
        refusal(503, -1008, "Server is currently overloaded.") if (method, name) == ASKED else None
    )
    live(world, 60)
    world.wire.before = lambda *_: None
    assert world.exchange_orders() == []


def test_check_refuses_it_in_one_line(make_world, monkeypatch, capsys):
    world = make_world(zigzag(), withdrawals=True)
    config = replace(world.config, account=replace(world.config.account, mode="live"))
    monkeypatch.setattr("gridbot.commands.check.load_config", lambda _: config)
    monkeypatch.setattr(
        "gridbot.exchanges.open_account.open_account", lambda *_: world.account(SECRET)
    )
    assert gridbot(["check", "--config", "bot.toml"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("gridbot check: BTC/USDT: exchange.api_key_file = ")
    assert said.count("\n") == 1
