"""What the owner moves beside the grid is acknowledged once, with its amount; nothing else is."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest
from gridbase.market import plain
from gridbot import cli
from gridbot.commands import audit as command
from gridbot.core.orders import Order, OrderState, Role, Side
from gridbot.store import Store, acknowledged
from gridbot.store.acknowledged import Acknowledgement

from bot.tests.together.trading import conftest as trading
from bot.tests.together.trading.test_policies import GRIDS, SYMBOLS

LINE = "acknowledged: -500 USDT, "


@pytest.fixture
def world(tmp_path):
    one = trading.World(tmp_path, trading.zigzag(60), at_end="hold")
    trader = one.trader()
    for _ in range(30):
        trader.step()
        one.clock.sleep(2.0)
    one.clock.sleep(10_000)
    one.settle(trader)
    yield one
    one.close()


@pytest.fixture
def run(world, monkeypatch, capsys):
    """Run `gridbot audit`, beside the bot; its status and what it says."""
    monkeypatch.setattr(command, "load_config", lambda _path: world.config)
    monkeypatch.setattr(command, "open_account", lambda *_, **__: world.account())
    monkeypatch.setattr(command, "SystemClock", lambda: world.clock)

    def audit(*arguments):
        status = cli.main(["audit", "--config", "bot.toml", *arguments])
        said = capsys.readouterr()
        return status, said.out + said.err

    return audit


def move(world, coin: str, amount: str) -> None:
    """A deposit, or below 0 a withdrawal."""
    (engine,) = {listing.engine for listing in world.api.exchange.listings.values()}
    engine.balances[coin].free += Decimal(amount)


def acknowledging(*amounts: str, reason: str = "to my bank") -> list[str]:
    flags = [flag for amount in amounts for flag in ("--acknowledge", amount)]
    return [*flags, "--reason", reason]


def test_a_withdrawal_is_acknowledged_once(world, run):
    move(world, "USDT", "-500")
    status, said = run()
    assert status == 1
    assert "balance USDT" in said
    assert run(*acknowledging("USDT=-500"))[0] == 0
    status, said = run()
    assert (status, said.splitlines()[0][:6]) == (0, "equal:")
    assert said.splitlines()[1].startswith(LINE)
    assert said.splitlines()[1].endswith(" UTC: to my bank")
    status, said = run(*acknowledging("USDT=-500"))
    assert status == 1
    assert said == (
        "gridbot audit: USDT: books and account agree; there is nothing to acknowledge\n"
    )
    (grid,) = json.loads(run("--json")[1])["grids"].values()
    ((coin, amount, reason),) = [
        (one["coin"], one["amount"], one["reason"]) for one in grid["acknowledged"]
    ]
    assert (coin, amount, reason) == ("USDT", "-500", "to my bank")
    move(world, "USDT", "-500")
    assert run()[0] == 1  # another one of the same amount is not covered
    assert run(*acknowledging("USDT=-500"))[0] == 0


@pytest.mark.parametrize(
    ("moved", "wanted", "allowed"),
    [
        ("-500", "USDT=500", "500 USDT less than the books; use at most USDT=-500"),
        ("500", "USDT=-500", "500 USDT more than the books; use at most USDT=500"),
        ("-500", "USDT=-500.01", "use at most USDT=-500"),
    ],
)
def test_a_wrong_sign_or_too_much_is_refused(world, run, moved, wanted, allowed):
    move(world, "USDT", moved)
    status, said = run(*acknowledging(wanted))
    assert status == 1
    assert said.count("\n") == 1
    assert allowed in said
    assert "acknowledged" not in run()[1]


def test_a_difference_of_several_causes_is_acknowledged_in_parts(world, run):
    move(world, "USDT", "300.5")
    status, said = run(*acknowledging("USDT=500", reason="a deposit"))
    assert status == 1
    assert "use at most USDT=300.5" in said
    assert run(*acknowledging("USDT=300"))[0] == 1  # half a coin is left
    assert run(*acknowledging("USDT=0.5"))[0] == 0


def test_an_own_trade_is_acknowledged_in_both_coins_at_once(world, run):
    broker = world.broker()
    broker.connect()
    place = Role.GRID, Side.BUY, 0, 1
    amount, price = Decimal("0.001"), broker.ask_price()
    broker.place(Order("by-hand", "x", *place, price, amount, OrderState.INTENDED, None, 0))
    status, said = run()
    assert status == 1
    assert "2 differences" in said
    paid = plain(price * amount)
    assert run(*acknowledging("BTC=0.000999", f"USDT={paid}"))[0] == 1
    assert "acknowledged" not in run()[1]  # all of them or none
    assert run(*acknowledging("BTC=0.000999", f"USDT=-{paid}"))[0] == 0


def test_an_order_of_the_bot_that_is_in_no_books_is_not_hidden(world, run):
    """It has bought coins: that they are there is no deposit."""
    reader = Store(world.config.state_directory, read_only=True)
    order = reader.orders(reader.grid_run("BTC/USDT").id)[-1]
    reader.close()
    broker = world.broker()
    broker.connect()
    price = broker.ask_price()
    world.wire.database = None
    broker.place(
        replace(
            order,
            client_id=order.client_id + "9",
            side=Side.BUY,
            price=price,
            quantity=Decimal("0.001"),
        )
    )
    world.clock.sleep(100)
    status, said = run(*acknowledging("BTC=0.000999"))
    assert status == 1
    assert "orders or trades differ" in said
    assert said.count("\n") == 1
    assert "acknowledged:" not in run()[1]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--acknowledge", "USDT=-500"], "needs --reason with what happened"),
        (acknowledging("USDT=-500", reason=" "), "needs --reason with what happened"),
        (acknowledging("USDT=-500", reason="a\nb"), "needs --reason with what happened"),
        (["--reason", "withdrawn"], "--reason is for --acknowledge"),
        (acknowledging("USDT"), "--acknowledge USDT needs each coin once"),
        (acknowledging("USDT=0"), "needs each coin once, with the amount"),
        (acknowledging("USDT=1", "USDT=2"), "needs each coin once"),
        (acknowledging("ETH=1"), "the balance of ETH is not compared; compared are: BTC, USDT"),
    ],
)
def test_a_mistake_is_one_line(run, arguments, line):
    status, said = run(*arguments)
    assert status == 2
    assert line in said
    assert said.count("\n") == 1


def test_two_at_once_count_once(world, run, monkeypatch):
    move(world, "USDT", "-500")
    check = command.check_amounts

    def overtaken(*arguments):
        symbol = check(*arguments)
        store = Store(world.config.state_directory, beside=True)
        with store.transaction() as connection:
            acknowledged.add(connection, 1, [Acknowledgement("USDT", Decimal(-500), "first", 1)])
        store.close()
        return symbol

    monkeypatch.setattr(command, "check_amounts", overtaken)
    status, said = run(*acknowledging("USDT=-500"))
    assert status == 2
    assert "another acknowledgement was written down meanwhile" in said
    assert run()[0] == 0


def test_the_next_grid_begins_with_what_is_there(world, run):
    move(world, "USDT", "-500")
    run(*acknowledging("USDT=-500"))
    world.trader().close_grid(60)
    assert run()[0] == 0
    world.document["grid"]["investment"] = "3000"
    world.settle(world.trader())
    status, said = run()
    assert status == 0
    assert "acknowledged" not in said


def test_a_coin_that_grids_share_is_not_compared(tmp_path, monkeypatch, capsys):
    world = trading.World(tmp_path, trading.zigzag(5), symbols=SYMBOLS)
    del world.document["market"], world.document["grid"]
    world.document["grids"] = GRIDS[:2]
    world.run(world.runner(), 60)
    world.stand_still()
    world.run(world.runner(), 60)
    monkeypatch.setattr(command, "load_config", lambda _path: world.config)
    monkeypatch.setattr(command, "open_account", lambda *_, **__: world.account())
    monkeypatch.setattr(command, "SystemClock", lambda: world.clock)
    engine = next(iter(world.api.exchange.listings.values())).engine
    engine.balances["ETH"].free += 1
    assert cli.main(["audit", "--config", "x", *acknowledging("USDT=1")]) == 2
    assert "compared are: BTC, ETH" in capsys.readouterr().err
    assert cli.main(["audit", "--config", "x", *acknowledging("ETH=1")]) == 0
    said = capsys.readouterr().out
    assert "BTC/USDT: equal" in said
    assert said.count("acknowledged: 1 ETH") == 1
    world.close()
