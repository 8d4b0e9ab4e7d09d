"""The grid whose settings are wrong is named by whatever refuses it."""

import re

import pytest
from gridbase.errors import UserError
from gridbot import cli

from .conftest import World
from .test_policies import GRIDS, SYMBOLS, path

TOO_MANY = "ETH/USDT: grid.grids = 198 puts lines at 2850 and 2851.51515152"


@pytest.fixture
def world(tmp_path):
    one = World(tmp_path, path(50_000, minutes=1), symbols=SYMBOLS)
    del one.document["market"], one.document["grid"]
    one.document["grids"] = GRIDS[:2]
    yield one
    one.close()


def check(world, monkeypatch, *arguments):
    monkeypatch.setattr("gridbot.commands.check.load_config", lambda _path: world.config)
    return cli.main(["check", "--offline", "--config", "bot.toml", *arguments])


def test_by_check(world, monkeypatch, capsys):
    world.document["grids"] = [GRIDS[0], GRIDS[1] | {"grids": 198}]
    assert check(world, monkeypatch) == 2
    assert capsys.readouterr().err.startswith(f"gridbot check: {TOO_MANY}")
    world.document["grids"] = [GRIDS[1] | {"grids": 198}]
    assert check(world, monkeypatch) == 2
    assert capsys.readouterr().err.startswith(f"gridbot check: {TOO_MANY}")


def test_by_the_bot(world):
    world.document["grids"] = [GRIDS[0], GRIDS[1] | {"grids": 198}]
    with pytest.raises(UserError, match=r"^ETH/USDT: grid.grids = 198 puts lines") as refused:
        world.run(world.runner(), 60)
    assert refused.value.exit_code == 2


def test_where_another_grid_runs(world, monkeypatch, capsys):
    world.run(world.runner(), 60)
    world.document["grids"] = [GRIDS[0], GRIDS[1] | {"grids": 14}]
    differs = "ETH/USDT: grid.grids = 14 differs from 15"
    with pytest.raises(UserError, match=f"^{re.escape(differs)}"):
        world.run(world.runner(), 60)
    assert check(world, monkeypatch, "--state", str(world.config.state_directory)) == 1
    assert capsys.readouterr().err.startswith(f"gridbot check: {differs}")
    world.document["grids"] = GRIDS[:1]
    with pytest.raises(UserError, match=r"^market.symbol: the running grid of ETH/USDT is left"):
        world.run(world.runner(), 60)
