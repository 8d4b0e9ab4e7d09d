"""Bot and exchange together: what stops a grid, pauses it, moves it, or makes it another one."""

import itertools
from decimal import Decimal

import pytest
from gridbase.errors import UserError
from gridbot import cli
from gridbot.core.engine import Changes
from gridbot.core.orders import OrderState, Role, Side
from gridbot.store import Store

from .conftest import Crash, World, zigzag

START_MS = 1_640_995_200_000


def path(*prices: int, minutes: int = 1) -> list[str]:
    """Candles that go from price to price, each in so many minutes, and are steady at the end."""
    rows, close = ["timestamp,open,high,low,close,volume"], prices[0]
    stations = [prices[0], *prices, *[prices[-1]] * 5]
    for before, after in itertools.pairwise(stations):
        for minute in range(1, minutes + 1):
            target = before + (after - before) * minute // minutes
            high, low = max(close, target), min(close, target)
            rows.append(f"{START_MS + len(rows) * 60_000},{close},{high},{low},{target},1")
            close = target
    return rows


def trade(world: World, seconds: float, **document: object):
    """Step a trader for so many seconds; returns it."""
    world.document |= document
    trader = world.trader()
    until = world.clock.seconds + seconds
    while world.clock.seconds < until:
        again = trader.step()
        world.clock.sleep(0.25 if again else 2.0)
    return trader


def ended(world: World):
    """The grids that have ended, oldest first."""
    return [one for one in world.store.grid_runs() if one.closed_ms is not None]


def balances(world: World) -> dict[str, Decimal]:
    broker = world.broker()
    return broker.balances()


FALL = path(50_000, 50_000, 46_000, minutes=3)


def test_a_stop_price_cancels_everything_and_stays_off(make_world):
    world = make_world(FALL, at_end="hold")
    trader = trade(world, 40, stop={"loss_price": "46500"})
    assert trader.halt.reason_code == "stop.loss_price"
    assert trader.engine is None
    broker = world.broker()
    assert broker.open_orders() == []
    (grid,) = ended(world)
    assert grid.result.base > 0
    assert balances(world)["BTC"] == grid.result.base
    assert world.audit().differences == []
    world.wire.requests.clear()
    again = trade(world, 30)
    assert again.halt.reason_code == "stop.loss_price"
    assert ("POST", "order") not in world.wire.requests
    assert len(ended(world)) == 1


def test_a_stop_can_liquidate(make_world):
    world = make_world(FALL, at_end="hold")
    trader = trade(world, 60, stop={"loss_price": "46500", "liquidate": True})
    assert trader.halt.liquidate
    (grid,) = ended(world)
    assert grid.result.liquidation_profit < 0
    assert balances(world).get("BTC", Decimal(0)) == grid.result.base < Decimal("0.00001")
    earned = grid.result.grid_profit + grid.result.liquidation_profit
    dust = grid.result.base * grid.result.price
    assert grid.result.equity - grid.investment == earned + dust
    assert balances(world)["USDT"] == 10_000 + earned
    assert world.audit().differences == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_power_is_cut_at_every_request_of_a_liquidation(make_world, when):
    world = make_world(FALL, at_end="hold")
    world.document |= {"stop": {"loss_price": "46500", "liquidate": True}}
    trade(world, 7)  # just before the price gets there

    def cut(_method, _path):
        cut.count += 1
        if cut.count == cut.number:
            raise Crash

    crashes = 0
    for number in range(1, 60):
        cut.count, cut.number = 0, number
        setattr(world.wire, when, cut)
        try:
            trade(world, 6)
        except Crash:
            crashes += 1
        setattr(world.wire, when, lambda *_: None)
    assert crashes > 20
    trader = trade(world, 60)
    assert trader.halt is not None
    assert world.audit().differences == []
    assert balances(world).get("BTC", Decimal(0)) < Decimal("0.00001")
    names = world.exchange_orders()
    assert len(names) == len(set(names))


def test_a_cleared_stop_begins_a_new_grid(make_world, monkeypatch, capsys):
    world = make_world(path(50_000, 50_000, 46_000, 50_000, minutes=3), at_end="hold")
    trade(world, 14, stop={"loss_price": "46500"})
    assert len(ended(world)) == 1
    trader = trade(world, 10)
    assert trader.engine is None
    monkeypatch.setattr("gridbot.commands.resume.load_config", lambda _path: world.config)
    assert cli.main(["resume", "--config", "bot.toml"]) == 0
    assert "BTC/USDT: cleared (price" in capsys.readouterr().out
    for _ in range(10):
        trader.step()
        world.clock.sleep(2.0)
    assert trader.halt is None
    assert trader.engine.grid_started
    assert cli.main(["resume", "--config", "bot.toml"]) == 1
    assert "no kill switch has fired" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("rule", "amount", "candles"),
    [
        ("max_drawdown_percent", "2", FALL),
        ("daily_loss_percent", "2", FALL),
        ("profit_percent", "0.5", path(50_000, 50_000, 52_900, minutes=3)),
        ("profit_price", "53100", path(50_000, 50_000, 53_500, minutes=3)),
    ],
)
def test_every_rule_stops_the_grid(make_world, rule, amount, candles):
    world = make_world(candles, at_end="hold")
    trader = trade(world, 60, stop={rule: amount})
    assert trader.halt.reason_code == f"stop.{rule}"
    assert world.audit().differences == []


def test_what_the_stops_remember_survives_a_restart(make_world):
    world = make_world(path(50_000, 50_000, 52_900, 51_000, minutes=4), at_end="hold")
    stop = {"max_drawdown_percent": "0.3"}
    trader = trade(world, 13, stop=stop)
    assert trader.halt is None
    trader = trade(world, 60)
    assert trader.halt.reason_code == "stop.max_drawdown_percent"
    assert "below its highest" in trader.halt.text


@pytest.mark.parametrize(
    ("direction", "candles"),
    [
        ("up", path(50_000, 50_000, 54_000, 54_000, 54_000, 54_000, minutes=60)),
        ("down", path(50_000, 50_000, 46_000, 46_000, 46_000, 46_000, minutes=60)),
    ],
)
def test_the_range_follows_the_price_and_the_books_go_on(make_world, direction, candles):
    world = make_world(candles, at_end="hold")
    trader = trade(
        world,
        280,
        reposition={"direction": direction, "cooldown_minutes": 0, "margin_percent": "0.1"},
    )
    (first, *others), last = ended(world), trader.grid_run
    assert first.result.reason == f"moved {direction}"
    price = candles[-1].split(",")[4]
    assert last.plan.lines[0] < Decimal(price) < last.plan.lines[-1]
    for before, after in zip([first, *others], [*others, last], strict=True):
        assert after.carried == before.result.base
        left = before.result.equity - before.result.base * before.result.price
        assert after.investment == left + after.carried_cost
    assert trader.engine.grid_started
    assert len(trader.engine.live) == 20
    books = trader.engine.books
    earned = books.grid_profit + books.unrealised_profit(trader.price)
    assert books.equity(trader.price) - books.investment == earned
    assert world.audit().differences == []
    moves = len(ended(world))
    assert trade(world, 10).grid_run.id == last.id
    assert len(ended(world)) == moves
    # All that the first grid was given is on the account still, less fees and what it lost.
    quote, base = balances(world)["USDT"], balances(world)["BTC"]
    assert base == books.base_held
    assert quote == 10_000 - 9_000 + books.investment + books.quote_flow


def test_a_range_that_may_not_follow_stays(make_world):
    world = make_world(path(50_000, 50_000, 54_000, 54_000, minutes=60), at_end="hold")
    trade(world, 200, reposition={"direction": "down", "cooldown_minutes": 0})
    assert ended(world) == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_power_is_cut_at_every_request_of_a_move(make_world, when):
    candles = path(50_000, 50_000, 46_000, *[46_000] * 20, minutes=60)
    world = make_world(candles, at_end="hold")
    world.document |= {"reposition": {"direction": "down", "cooldown_minutes": 0}}
    trade(world, 120)

    def cut(_method, _path):
        cut.count += 1
        if cut.count == cut.number:
            raise Crash

    crashes = 0
    for number in range(1, 100):
        cut.count, cut.number = 0, number
        setattr(world.wire, when, cut)
        try:
            trade(world, 64)
        except Crash:
            crashes += 1
        setattr(world.wire, when, lambda *_: None)
    assert crashes > 60
    trader = trade(world, 120)
    assert len(ended(world)) >= 1
    assert len(trader.engine.live) == 20
    assert world.audit().differences == []


TREND = {
    "enabled": True,
    "interval": "1m",
    "adx_period": 5,
    "adx_above": "20",
    "fast": 20,
    "slow": 50,
}
# Two hours down by 50 every three minutes, then one line up and one down again.
DOWNTREND = path(*range(50_000, 48_000, -50), 48_000, 48_550, 48_000, 48_000, minutes=3)


def test_buys_pause_in_a_downtrend_and_sells_go_on(make_world):
    world = make_world(DOWNTREND, at_end="hold")
    trade(world, 80)
    trader = trade(world, 55, trend=TREND)
    assert trader.paused.startswith("downtrend")
    held = [
        order
        for order in trader.engine.live.values()
        if order.side is Side.BUY and order.state is OrderState.INTENDED
    ]
    assert held
    assert trader.engine.books.sells > 0
    assert trader.unsettled == 0
    world.document["trend"] = {"enabled": False}
    trader = trade(world, 10)
    assert all(order.state is OrderState.OPEN for order in trader.engine.live.values())
    assert world.audit().differences == []


def test_a_grid_does_not_begin_while_buys_pause(make_world):
    world = make_world(DOWNTREND, at_end="hold")
    world.clock.sleep(100)
    trader = trade(world, 6, trend=TREND)
    assert trader.paused.startswith("downtrend")
    assert trader.engine is None
    assert world.exchange_orders() == []


def test_a_volatile_market_pauses_buys(make_world):
    world = make_world(path(50_000, 52_000, 49_000, 51_500, 49_000, minutes=8), at_end="hold")
    world.clock.sleep(20)
    rule = {"enabled": True, "interval": "1m", "atr_period": 5, "atr_above_percent": "0.3"}
    trader = trade(world, 4, volatility=rule)
    assert trader.paused.startswith("volatile: ATR")


def test_a_range_is_taken_from_the_market(make_world):
    world = make_world(zigzag(200), at_end="hold", speed="600")
    world.clock.sleep(15)
    grid = {
        "range": "atr",
        "atr_interval": "1m",
        "atr_period": 14,
        "atr_multiple": "6",
        "grids": 10,
        "investment": "5000",
    }
    trader = trade(world, 10, grid=grid)
    lines, price = trader.engine.plan.lines, trader.engine.plan.start_price
    assert len(lines) == 11
    assert abs((lines[0] + lines[-1]) / 2 - price) < 1
    assert 1000 < lines[-1] - lines[0] < 20_000
    again = trade(world, 4)
    assert again.engine.plan == trader.engine.plan


def test_a_quantity_for_each_line(make_world):
    grid = {"lower": "47000", "upper": "53000", "grids": 20, "quantity": "0.005"}
    world = make_world(zigzag(60), at_end="hold")
    trader = trade(world, 10, grid=grid)
    assert trader.engine.plan.quantity == Decimal("0.005")
    buys = [o for o in trader.engine.live.values() if o.role is Role.GRID and o.side is Side.BUY]
    assert {order.quantity for order in buys} == {Decimal("0.005")}
    assert trader.grid_run.investment == trader.engine.plan.investment


def test_a_quantity_off_the_lot_is_refused(make_world):
    grid = {"lower": "47000", "upper": "53000", "grids": 20, "quantity": "0.0050001"}
    world = make_world(zigzag(60), at_end="hold")
    with pytest.raises(UserError, match=r"grid.quantity = 0.0050001 is no multiple .* use 0.00501"):
        trade(world, 10, grid=grid)


def test_post_only_orders_never_take(make_world):
    world = make_world(zigzag(60), at_end="hold")
    world.document["grid"]["post_only"] = True
    trade(world, 60)
    broker = world.broker()
    reader = Store(world.config.state_directory, read_only=True)
    grid_run = reader.grid_run("BTC/USDT")
    roles = {order.client_id: order.role for order in reader.orders(grid_run.id)}
    numbers = {
        order.exchange_id: order.client_id
        for order in reader.orders(grid_run.id)
        if order.exchange_id is not None
    }
    reader.close()
    trades, _ = broker.trades_after("0")
    assert len(trades) > 5
    for one in trades:
        if roles[numbers[one.exchange_id]] is Role.GRID:
            assert one.maker


def test_a_liquidation_of_next_to_nothing_is_no_order(make_world):
    world = make_world(path(50_000, 53_500), at_end="hold")
    trader = trade(world, 30)
    engine = trader.engine
    assert engine.books.base_held < Decimal("0.0001")
    engine.winding_down = True
    for client_id in list(engine.live):
        engine.record_canceled(Changes(0), client_id)
    changes = Changes(0)
    assert engine.liquidate(changes, Decimal(53_500)) is False
    assert changes.orders == []


def test_no_grid_begins_where_a_stop_would_end_it_at_once(make_world):
    world = make_world(path(46_000, 46_000), at_end="hold")
    trader = trade(world, 10, stop={"loss_price": "46500"})
    assert trader.paused.startswith("no grid begins while stop.loss_price holds")
    assert world.exchange_orders() == []


def test_a_grid_that_could_not_begin_elsewhere_stays(make_world, caplog):
    # Far above, steps of the same width are too close to pay their fees.
    world = make_world(path(50_000, 50_000, 99_000, 99_000, minutes=60), at_end="hold")
    grid = {"lower": "49000", "upper": "51000", "grids": 18, "investment": "9000"}
    world.document["grid"] = grid | {"allow_losing_pairs": True}
    world.document |= {"reposition": {"direction": "up", "cooldown_minutes": 0}}
    trader = trade(world, 230)
    assert trader.engine is not None
    assert caplog.text.count("stays in its range: grid.grids = 18 puts lines") == 1  # no look after


SYMBOLS = """
[[symbols]]
symbol = "BTC/USDT"
seed = 5
start_price = "50000"
[[symbols]]
symbol = "ETH/USDT"
seed = 6
start_price = "3000"
[[symbols]]
symbol = "ETH/BTC"
seed = 7
start_price = "0.06"
tick_size = "0.00001"
lot_size = "0.0001"
min_notional = "0.0001"
[balances]
USDT = "10000"
BTC = "0.1"
"""
GRIDS = [
    {"symbol": "BTC/USDT", "lower": "48000", "upper": "52000", "grids": 20, "investment": "4000"},
    {"symbol": "ETH/USDT", "lower": "2850", "upper": "3150", "grids": 15, "investment": "4000"},
    {"symbol": "ETH/BTC", "lower": "0.057", "upper": "0.063", "grids": 10, "investment": "0.08"},
]


@pytest.mark.parametrize("when", ["before", "after"])
def test_several_grids_share_an_account_and_survive_every_cut(make_world, when):
    world = make_world(zigzag(5), symbols=SYMBOLS, speed="600")
    del world.document["market"], world.document["grid"]
    world.document["grids"] = GRIDS

    def cut(_method, _path):
        cut.count += 1
        if cut.count == cut.number:
            raise Crash

    for number in range(3, 90, 7):
        cut.count, cut.number = 0, number
        setattr(world.wire, when, cut)
        with pytest.raises(Crash):
            world.run(world.runner(), 100)
        setattr(world.wire, when, lambda *_: None)
    world.run(world.runner(), 60)
    world.stand_still()
    runner = world.run(world.runner(), 60)
    status = runner.status()
    assert [grid["symbol"] for grid in status["grids"]] == [grid["symbol"] for grid in GRIDS]
    for one in world.config.grids:
        (grid,) = [grid for grid in status["grids"] if grid["symbol"] == one.symbol]
        assert grid["buys"] + grid["sells"] > 0
        report = world.audit(one.symbol)
        assert report.differences == []
        assert report.trades > 0
    names = [order for one in world.config.grids for order in world.exchange_orders(one.symbol)]
    assert len(names) == len(set(names))
