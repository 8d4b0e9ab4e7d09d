"""The audit compares every order and trade, settled or not."""

import zlib
from dataclasses import replace
from decimal import Decimal

import pytest
from gridbot.accounting import audit
from gridbot.accounting.settle import Settler
from gridbot.commands.run import settling
from gridbot.core.engine import Changes
from gridbot.core.orders import Order, OrderState, Role, Side
from gridbot.exchanges.binance.symbol import BinanceBroker
from gridbot.exchanges.port import BrokerError
from gridbot.service.grid_worker import GridWorker
from gridbot.store import StoreError
from gridbot.store.old_archive import take_over

from bot.tests.bot.books.conftest import unsettle
from bot.tests.together.trading import conftest as trading

EMPTY = b"a header\n"


@pytest.fixture
def world(tmp_path):
    one = trading.World(tmp_path, trading.zigzag(120), at_end="hold")
    yield one
    one.close()


def trade(world):
    """A bot that settles after every step until the market's end; all it has settled."""
    trader = world.trader()
    settler, moved = Settler(world.store, 3), 0
    for _ in range(60):
        trader.step()
        moved += settler.run(trader.grid_run, trader.engine)
        world.clock.sleep(2.0)
    world.clock.sleep(10_000)
    world.settle(trader)
    return trader, moved


def test_what_is_settled_is_audited_as_well(world):
    trader, moved = trade(world)
    books = trader.engine.books
    assert moved > 10
    report = world.audit()
    assert report.differences == []
    assert report.trades == books.buys + books.sells + 1
    rows = world.store._connection.execute("SELECT pair FROM settled").fetchall()
    # Positions of which the buy is the initial purchase, which is not settled yet.
    initial_sells = sum(rows.count(pair) == 1 for pair in set(rows))
    assert len(rows) == 2 * moved - initial_sells
    unsettle(world.store)
    store = world.open_store()
    with pytest.raises(StoreError, match="of an older gridbot is not in"):
        world.audit()
    take_over(store, "BTC/USDT")
    assert world.audit() == report


def test_a_grid_goes_on_from_what_is_settled(world):
    trader, _ = trade(world)
    before = trader.engine
    again = world.trader()
    again.step()
    assert again.engine.live == before.live
    for name in ("flows", "fees", "fees_in_quote", "grid_profit", "buys", "sells", "legs"):
        assert getattr(again.engine.books, name) == getattr(before.books, name), name
    trading.check_books(world, again)
    assert world.audit().differences == []


def settled(world):
    """A bot on a market that stands still, with everything booked."""
    trader = world.trader()
    for _ in range(20):
        trader.step()
        world.clock.sleep(2.0)
    world.clock.sleep(10_000)
    world.settle(trader)
    return trader


def test_books_that_hold_all_are_compared_at_once(world):
    settled(world)
    before = world.clock.monotonic()
    assert world.audit().differences == []
    assert world.clock.monotonic() - before < audit.POLL_SECONDS


def test_the_owner_s_own_trades_are_not_waited_for(world):
    settled(world)
    broker = world.broker()
    broker.connect()
    place = Role.GRID, Side.BUY, 0, 1
    amount = Decimal("0.001")
    own = Order("own", "x", *place, broker.ask_price(), amount, OrderState.INTENDED, None, 0)
    broker.place(own)
    before = world.clock.monotonic()
    differences = world.audit().differences
    assert [item.what for item in differences] == ["balance BTC", "balance USDT"]
    assert world.clock.monotonic() - before < audit.POLL_SECONDS


def test_what_happens_after_the_look_is_no_difference(world, monkeypatch):
    trader = world.trader()
    for _ in range(20):
        trader.step()
        world.clock.sleep(2.0)
    look, seen = audit.take_snapshot, []

    def looked(*arguments):
        seen.append(look(*arguments))
        world.clock.sleep(120.0)
        world.settle(trader)
        return seen[0]

    monkeypatch.setattr(audit, "take_snapshot", looked)
    world.settle(trader)
    report = world.audit()
    fills = world.store.fills(1)
    assert len(fills) > report.trades == len(seen[0].trades)
    assert len(world.store.orders(1)) > len(seen[0].orders)
    assert report.differences == []
    assert report.trade == seen[0].cursor == max(seen[0].trades, key=int)


def trading_meanwhile(world, trader, monkeypatch, times):
    """The account trades while the first looks read its balances; what each of them read."""
    read, looks = BinanceBroker.balances, []

    def balances(broker):
        looks.append(read(broker))
        known = len(world.store.fills(1))
        while len(looks) <= times and len(world.store.fills(1)) == known:
            world.clock.sleep(2.0)
            trader.step()
        return looks[-1]

    monkeypatch.setattr(BinanceBroker, "balances", balances)
    return looks


def test_orders_of_an_earlier_grid_are_not_compared(world):
    settled(world)
    grid = world.store.grid_run("BTC/USDT")
    broker = world.broker()
    broker.connect()
    world.store.close_grid_run(1, 10**13)
    begin = {"first_cursor": broker.latest_cursor(), "opening": broker.balances()}
    world.store.start_grid_run(replace(grid, id=2, tag="new123", **begin), Changes(1))
    report = world.audit()
    assert (report.grid_run, report.orders, report.differences) == (2, 0, [])


def test_books_that_are_behind_are_waited_for(world, monkeypatch):
    trader = world.trader()
    for _ in range(20):
        trader.step()
        world.clock.sleep(2.0)
    world.clock.sleep(10_000)  # trades that the bot has not seen
    world.stand_still()
    sleep, waited = world.clock.sleep, []

    def catch_up(seconds):
        sleep(seconds)
        if seconds == audit.POLL_SECONDS and not waited:
            waited.append(len(world.store.fills(1)))
            world.settle(trader)

    monkeypatch.setattr(world.clock, "sleep", catch_up)
    report = world.audit()
    assert report.differences == []
    assert report.trades > waited[0]


@pytest.mark.parametrize(
    ("after_ms", "compared"),
    [(-1, ["BTC", "USDT"]), (0, ["BTC"]), (10**9, ["BTC"]), (None, ["BTC"])],
)
def test_a_coin_is_shared_with_grids_that_had_not_ended(world, after_ms, compared):
    settled(world)
    grid = world.store.grid_run("BTC/USDT")
    market = replace(grid.market, symbol="ETH/USDT", base="ETH")
    other = replace(grid, id=2, symbol="ETH/USDT", tag="eth123", market=market, started_ms=1)
    world.store.start_grid_run(other, Changes(1))
    if after_ms is not None:
        world.store.close_grid_run(2, grid.started_ms + after_ms)
    assert world.audit().balances == compared


def test_of_an_order_that_the_exchange_forgot_the_trades_are_still_compared(world, monkeypatch):
    settled(world)
    traded = world.store.fills(1)[0].client_id
    read = BinanceBroker.orders_since

    def orders_since(broker, known):
        return [order for order in read(broker, known) if order.client_id != traded]

    monkeypatch.setattr(BinanceBroker, "orders_since", orders_since)
    report = world.audit()
    assert [one.what for one in report.differences] == [f"order {traded}"]


def test_an_account_that_trades_during_a_look_is_looked_at_again(world, monkeypatch):
    trader = world.trader()
    for _ in range(5):
        trader.step()
        world.clock.sleep(2.0)
    looks = trading_meanwhile(world, trader, monkeypatch, 1)
    report = world.audit()
    assert looks[0] != looks[1]
    assert (len(looks), report.differences) == (2, [])


def test_an_account_that_never_stands_still_is_not_judged(world, monkeypatch):
    trader = world.trader()
    for _ in range(5):
        trader.step()
        world.clock.sleep(2.0)
    monkeypatch.setattr(audit, "SNAPSHOT_TRIES", 3)
    looks = trading_meanwhile(world, trader, monkeypatch, 3)
    with pytest.raises(BrokerError, match="traded during each of 3 looks"):
        world.audit()
    assert len(looks) == 3


AN_ORDER = """
INSERT INTO orders SELECT ?, generation, leg, role, side, line, 99, price, quantity, 'open',
    exchange_id || '0', created_ms, updated_ms FROM orders LIMIT 1
"""
A_TRADE = """
INSERT INTO fills SELECT generation, ?, client_id, price, quantity, quote, commission,
    commission_coin, time_ms, maker FROM fills LIMIT 1
"""


@pytest.mark.parametrize(
    ("statement", "kind", "identity"),
    [
        (AN_ORDER, "order", "pi1-none"),
        # Below and above all that the exchange has, and no number at all.
        *((A_TRADE, "trade", identity) for identity in ("0", "999999", "0000e0d5.01")),
    ],
)
def test_what_only_the_books_have_is_a_difference(world, statement, kind, identity):
    settled(world)
    assert world.audit().differences == []
    with world.store.transaction() as connection:
        connection.execute(statement, (identity,))
    found = [(item.what, item.exchange) for item in world.audit().differences]
    assert (f"{kind} {identity}", f"no such {kind}") in found


def test_what_only_the_exchange_has_is_a_difference(world):
    settled(world)
    gone = world.store.fills(1)[-1]
    with world.store.transaction() as connection:
        connection.execute("DELETE FROM fills WHERE trade_id = ?", (gone.trade_id,))
    differences = {item.what: item for item in world.audit().differences}
    assert differences[f"trade {gone.trade_id}"].books == "no such trade"
    order = differences[f"order {gone.client_id}"]
    assert order.exchange.endswith(" traded, filled")
    assert not order.books.endswith(", filled")


def test_differing_trades_are_listed_in_their_order(world):
    settled(world)
    lost = sorted((fill.trade_id for fill in world.store.fills(1)), key=int)[-12:]
    with world.store.transaction() as connection:
        for identity in lost:
            connection.execute("DELETE FROM fills WHERE trade_id = ?", (identity,))
    found = [item.what for item in world.audit().differences]
    assert [what for what in found if what.startswith("trade ")] == [f"trade {i}" for i in lost]


def test_a_grid_trades_on_without_its_old_archive_and_says_so(world):
    config, store = world.config, world.open_store()
    worker = GridWorker(config.account, world.grid, world.broker(), world.clock, settling(3))

    def run(steps):
        reasons = set()
        for _ in range(steps):
            world.clock.sleep(worker.step(lambda: store))
            reasons |= {worker.reason} | set(worker.troubles())
        return reasons, int(worker.trader.session.store.fills(1)[-1].trade_id)

    _, before = run(40)
    path = unsettle(store)[0]
    whole = path.read_bytes()
    path.unlink()
    store = world.open_store()
    worker = GridWorker(config.account, world.grid, world.broker(), world.clock, settling(3))
    reasons, without = run(20)
    assert any(f"{path.name} cannot be read: No such file" in reason for reason in reasons)
    assert without > before
    path.write_bytes(whole)
    run(20)
    assert (worker.state, worker.troubles()) == ("trading", [])
    assert path.read_bytes() == whole
    world.clock.sleep(10_000)
    world.settle(world.trader())
    assert world.audit().differences == []


def test_the_old_archive_of_a_symbol_that_is_not_traded_is_taken_over_too(world, caplog):
    """Of another one's missing file the grid says nothing but a line in the log."""
    trader = world.trader()
    trader.step()
    config, store = world.config, world.store
    other = replace(trader.grid_run, id=2, tag="other", symbol="ETH/USDT", closed_ms=5)
    store.start_grid_run(other, Changes(1))
    with store.transaction() as connection:
        connection.execute(
            "INSERT INTO archive_files VALUES ('ETH-USDT-2025.csv', 'ETH/USDT', 2025, 5, 5, 1)"
        )
    worker = GridWorker(config.account, world.grid, world.broker(), world.clock, settling(3))
    for _ in range(5):
        world.clock.sleep(worker.step(lambda: store))
    assert (worker.state, worker.troubles()) == ("trading", [])
    said = [record.message for record in caplog.records if "ETH-USDT-2025.csv" in record.message]
    assert len(said) == 1
    directory = store.directory / "archive"
    directory.mkdir()
    (directory / "ETH-USDT-2025.csv").write_bytes(EMPTY)
    with store.transaction() as connection:
        known = (len(EMPTY), zlib.crc32(EMPTY))
        connection.execute("UPDATE archive_files SET length = ?, checksum = ?", known)
    worker = GridWorker(config.account, world.grid, world.broker(), world.clock, settling(3))
    worker.step(lambda: store)
    assert store._connection.execute("SELECT count(*) FROM archive_files").fetchone() == (0,)
