"""One core, one result: backtest, live on the practice exchange, and a replay of what live heard.

The live bot is the real one, with its streams, under virtual time: every answer takes it a tenth
of a second for each order, and a leg of the market a few seconds, so that it has always answered a
leg before the next one begins. That is the one condition: an order that comes when the price has
passed its line already trades at the price of the moment, or not at all where the price has come
back, live as here (see the last test).
"""

import os
from decimal import Decimal
from pathlib import Path

import pytest
from gridbot.backtest import read_candles, run_backtest
from gridbot.core.engine import Changes, GridEngine
from gridbot.core.grid import GridSpec
from gridbot.core.orders import Fill, OrderState, Role, Side
from gridbot.store import Store

from .boundaries import Boundaries, watched
from .chance import dice
from .clocks import START_MS
from .markets import market
from .sweep import memory_directory
from .world import SYMBOL, Setup, World

DATA = Path(os.environ.get("GRIDBERRY_TEST_DATA", Path(__file__).parents[5] / "shared" / "data"))
REAL = DATA / "btc-usd-perp-1m-2022-01.csv"
FEE_UNIT = Decimal("0.00000001")  # what the practice exchange rounds fees up to
SPEED = 4
CANDLE_MS = 60_000 // SPEED
STARTED_SECONDS = 3.5  # all orders of the start are there, and the first leg is not


class Live:
    """A bot that has traded a whole market, and what it has in its books."""

    def __init__(self, setup, *, latency=0.0):
        self.setup = setup
        boundaries = Boundaries()
        with (
            memory_directory() as directory,
            watched(boundaries, directory / "bot", directory / "exchange"),
        ):
            world = World(directory, setup, boundaries)
            world.wire.latency = world.network.latency = 0.0

            def slow_down(world=world):
                world.wire.latency = world.network.latency = latency

            world.time.after(STARTED_SECONDS, slow_down)
            world.start_bot()
            world.live((len(setup.candles) - 1) * CANDLE_MS / 1000)
            self.config = world.config
            self.orders = world.exchange.store.orders("BTCUSDT", 0, 0, None, 10**9)
            self.trades = world.exchange.store.trades(
                "BTCUSDT", order_id=None, from_id=0, start_ms=0, end_ms=None, limit=10**9
            )
            reader = Store(world.state, read_only=True)
            self.grid_run = reader.grid_run(SYMBOL)
            self.stored = reader.orders(self.grid_run.id)
            self.fills = reader.fills(self.grid_run.id)
            self.engine = self.new_engine()
            reader.restore(self.grid_run.id, self.engine)
            reader.close()
            self.candles = read_candles(directory / "candles.csv")
            world.exchange.close()

    def new_engine(self):
        return GridEngine(
            bot_name=self.config.account.bot_name,
            tag=self.grid_run.tag,
            market=self.grid_run.market,
            plan=self.grid_run.plan,
            investment=self.grid_run.investment,
        )

    @property
    def rows(self):
        """Grid fills: candle, side, price, quantity, fee and its coin."""
        roles = {order.client_id: order.role for order in self.stored}
        return [
            (
                (fill.time_ms - START_MS) // CANDLE_MS,
                str(fill.side),
                fill.price,
                fill.quantity,
                fill.commission,
                fill.commission_coin,
            )
            for fill in self.fills
            if roles[fill.client_id] is Role.GRID
        ]


def backtest(live):
    grid_run, config = live.grid_run, live.config.grids[0]
    grid = config.grid
    result = run_backtest(
        live.candles,
        GridSpec(grid.lower, grid.upper, grid.grids, grid.spacing, grid.investment),
        grid_run.market,
        config.fees,
        fee_unit=FEE_UNIT,
    )
    rows = [
        (candle, str(fill.side), fill.price, fill.quantity, fill.fee, fill.fee_coin)
        for candle, fill in zip(result.ledger.candle.tolist(), result.fills(), strict=True)
    ]
    return result, rows


def replay(live):
    """The trades of the exchange, told to a new core: it must ask for the same orders."""
    engine = live.new_engine()
    by_number = {order.order_id: order for order in live.orders}
    changes = Changes(0)
    engine.begin(changes)
    wanted = list(changes.orders)
    names = {order.client_order_id: order.order_id for order in live.orders}
    for trade in live.trades:
        for order in engine.live.copy().values():
            if order.state is OrderState.INTENDED and order.client_id in names:
                engine.accept(Changes(0), order.client_id, str(names[order.client_id]))
        remote = by_number[trade.order_id]
        details = (trade.price, trade.quantity, trade.quote_quantity, trade.commission)
        fill = Fill(
            str(trade.trade_id),
            remote.client_order_id,
            Side(remote.side.lower()),
            *details,
            trade.commission_asset,
            trade.time_ms,
            trade.is_maker,
        )
        changes = Changes(0)
        engine.record_fill(changes, fill)
        wanted += changes.orders
    return engine, wanted


def terms(orders):
    return sorted((o.client_id, str(o.side), o.price, o.quantity) for o in orders)


def check(live):
    result, rows = backtest(live)
    assert live.rows == rows
    books = live.engine.books
    assert (result.account.base, result.account.quote) == (
        books.base_held,
        books.investment + books.quote_flow,
    )
    assert result.account.grid_profit == books.grid_profit
    assert result.account.fees_in_quote == books.fees_in_quote
    engine, wanted = replay(live)
    assert terms(wanted) == terms(live.stored)
    for name in ("flows", "fees", "fees_in_quote", "grid_profit", "buys", "sells"):
        assert getattr(engine.books, name) == getattr(books, name)
    assert set(engine.live) == set(live.engine.live)
    return len(rows)


def made_up(seed, **changes):
    values = {
        "candles": market("swing", 300, dice("one result", seed), reach=600),
        "grid": {"lower": "47000", "upper": "53000", "grids": 12, "investment": "9000"},
        "exchange": {"speed": str(SPEED), "lot_size": "0.00000001"},
        "seed": seed,
    }
    return Setup(**(values | changes))


@pytest.mark.parametrize("streams", [True, False])
def test_a_made_up_market_trades_the_same(streams):
    assert check(Live(made_up(1, streams=streams))) > 50


def test_geometric_lines_and_fees_in_quote_trade_the_same():
    setup = made_up(2, fees={"rate": "0.00075", "in": "quote"})
    setup.grid["spacing"] = "geometric"
    setup.exchange |= {"fee_rate": "0.00075", "fee_in": "quote"}
    assert check(Live(setup)) > 50


@pytest.mark.skipif(not REAL.exists(), reason=f"{REAL} is not here")
def test_the_recorded_market_trades_the_same():
    rows = REAL.read_text().splitlines()[:500]
    grid = {"lower": "45500", "upper": "48500", "grids": 25, "investment": "9000"}
    assert check(Live(made_up(3, candles=rows, grid=grid))) > 20


def test_a_bot_that_answers_too_late_trades_otherwise():
    """Where live can differ: the price has passed the line before the order is there."""
    live = Live(made_up(1), latency=4.0)
    _, rows = backtest(live)
    assert live.rows != rows
    # Late orders trade at the price of the moment, as takers.
    assert {fill.price for fill in live.fills[1:]} - set(live.grid_run.plan.lines)
