"""A live bot asks once what its key may do, and goes on where the exchange cannot tell."""

import dataclasses
import logging

import pytest
import requests
from gridbase.errors import UserError
from gridbot import cli

from .conftest import World, zigzag

PATH = "/sapi/v1/account/apiRestrictions"


def live(world: World):
    account = world.account()
    account.config = dataclasses.replace(account.config, mode="live")
    return account.broker("BTC/USDT")


def asked(world: World) -> int:
    return world.wire.requests.count(("GET", PATH))


def missing(_method: str, path: str) -> requests.Response | None:
    """An exchange without this endpoint."""
    if path != PATH:
        return None
    answer = requests.Response()
    answer.status_code, answer.reason, answer._content = 404, "Not Found", b"<html>"
    return answer


def test_it_asks_once_and_never_where_money_is_not_real(tmp_path):
    world = World(tmp_path, zigzag())
    world.broker().check_key()
    assert asked(world) == 0
    broker = live(world)
    broker.check_key()
    broker.check_key()
    assert asked(world) == 1


def test_a_key_that_may_withdraw_is_refused_each_time(tmp_path):
    broker = live(World(tmp_path, zigzag(), withdrawals=True))
    for _ in range(2):
        with pytest.raises(UserError, match="may withdraw"):
            broker.check_key()


def test_nothing_is_traded_with_it(make_world):
    world = make_world(zigzag(), withdrawals=True)
    trader = world.trader()
    trader.session.broker = live(world)
    for _ in range(2):
        with pytest.raises(UserError, match="may withdraw"):
            trader.step()
    assert ("POST", "order") not in world.wire.requests


def test_an_exchange_that_cannot_tell_is_no_refusal(tmp_path, caplog):
    world = World(tmp_path, zigzag())
    world.wire.before = missing
    broker = live(world)
    with caplog.at_level(logging.WARNING):
        broker.check_key()
        broker.check_key()
    said = [text for text in caplog.messages if "does not say whether the API key" in text]
    assert len(said) == 1


def test_the_audit_refuses_it(tmp_path, monkeypatch, capsys):
    world = World(tmp_path, zigzag(), withdrawals=True)
    world.trader().step()
    account = world.account()
    account.config = dataclasses.replace(account.config, mode="live")
    monkeypatch.setattr("gridbot.commands.audit.load_config", lambda _path: world.config)
    monkeypatch.setattr("gridbot.commands.audit.open_account", lambda *_, **__: account)
    assert cli.main(["audit", "--config", "bot.toml"]) == 2
    assert "this API key may withdraw" in capsys.readouterr().err
