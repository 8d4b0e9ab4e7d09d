"""Positions are settled: none is lost, none is twice, books and reports stay equal."""

import resource
import tempfile
import tracemalloc
from decimal import Decimal
from pathlib import Path

import pytest
from gridbot.accounting import trade_history
from gridbot.accounting.settle import Settler
from gridbot.core.books import RECENT_FILLS
from gridbot.core.engine import Carried
from gridbot.core.orders import Role, Side, padded
from gridbot.store import Store, StoreError, settled
from hypothesis import given, settings
from hypothesis import strategies as st

from .conftest import (
    MEMORY,
    START_MS,
    SYMBOL,
    Life,
    Power,
    all_fills,
    assert_same_books,
    check,
    many_trades,
    market,
    restored,
)


def count_legs(store):
    return store._connection.execute("SELECT count(*) FROM legs").fetchone()[0]


def test_nothing_happens_below_the_bound(store):
    life = Life(store).swing(3)
    settler = Settler(store)
    assert settler.run(life.grid_run, life.engine) == 0
    power = Power(-1, after=False)
    with power.watch(store):
        assert settler.run(life.grid_run, life.engine) == 0
    assert power.count == 0  # nothing was written


def test_books_are_equal_settled_or_not(store):
    life = Life(store).swing(12)
    closed = life.engine.books.sells
    assert life.settle(20) == closed - 20 + 2
    check(life, store)
    assert count_legs(store) == 2 * 18 + 5 + 1  # pairs, live orders, initial purchase
    life.swing(2)
    check(life, store)


def test_memory_already_forgot_what_is_settled(store):
    life = Life(store).swing(12)
    held = set(life.engine.books.legs)
    life.settle()
    assert set(life.engine.books.legs) == held
    assert len(held) <= 7


def test_the_latest_trades_are_still_there_after_a_restart(store):
    life = Life(store).swing(40)
    assert life.settle(RECENT_FILLS) > 50
    check(life, store, recent=True)


def test_a_profit_stands_with_the_last_trade_of_its_position(store):
    """A report by month counts it at the time of that row."""
    life = Life(store).swing(6)
    life.go("45500")  # sells are open
    for number in range(len(life.engine.live)):
        life.disturb("part", number)
    life.swing(6).settle()
    trades = {}
    for row in trade_history.rows(store, SYMBOL):
        if row.pair and row.fill is not None:
            trades.setdefault(row.pair, []).append(row)
    pairs = [rows for rows in trades.values() if len(rows) > 1]
    sells = [[row for row in rows if row.order.side is Side.SELL] for rows in pairs]
    assert max(map(len, sells)) > 1
    for rows in pairs:
        *earlier, last = sorted(rows, key=lambda row: int(row.fill.trade_id))
        assert last.order.side is Side.SELL
        assert last.profit is not None
        assert {row.profit for row in earlier} == {None}


def test_initial_sells_take_their_share_from_what_is_settled(store):
    life = Life(store, price="48000").swing(1, low="47000", high="66000")
    assert life.settle() > 0
    initial = [book for book in life.engine.books.legs.values() if book.leg.role == "initial"]
    assert initial[0].matched > 0
    check(life, store)


def test_running_numbers_of_orders_go_on(store):
    life = Life(store).swing(5)
    life.settle()
    engine = restored(life, store)
    assert engine._attempts == life.engine._attempts
    assert max(engine._attempts.values()) >= 5
    old = next(row.order.client_id for row in trade_history.rows(store, SYMBOL) if row.pair)
    assert store.knows(old)
    assert not store.knows(old.rpartition("-")[0] + "-2b999")
    assert not store.knows("somebody-else")


@pytest.mark.parametrize("kept", [1, 20, 1000])
def test_profits_add_up(store, kept):
    life = Life(store).swing(12)
    life.disturb("part cancel", 1)
    life.swing(2).settle(kept)
    rows = list(trade_history.rows(store, SYMBOL))
    profits = [row.profit for row in rows if row.profit is not None]
    assert sum(profits) == life.engine.books.grid_profit > 0
    assert len(profits) == life.engine.books.sells > 10
    with store.transaction("DEFERRED") as connection:
        sums = settled.totals(connection, 1)
    texts = store._connection.execute("SELECT profit FROM settled WHERE profit NOTNULL").fetchall()
    assert (len(texts), sum(Decimal(text) for (text,) in texts)) == (sums.sells, sums.grid_profit)
    assert len({row.pair for row in rows if row.pair}) == len(profits)
    assert {row.pair for row in rows if row.profit is not None} == {
        row.order.leg for row in rows if row.pair and row.order.side == "sell"
    }


# Grids that have ended.


def test_a_grid_that_ended_is_settled_as_a_whole(store):
    first = Life(store).swing(3)
    store.close_grid_run(1, first.now_ms)
    second = Life(store, number=2, start_ms=first.now_ms)
    second.swing(2)
    assert second.settle(1000) == first.engine.books.sells
    assert second.settle(1000) == 0
    rows = store._connection.execute("SELECT DISTINCT generation FROM orders").fetchall()
    assert rows == [(2,)]
    assert all_fills(store) == sorted(
        first.fills + second.fills, key=lambda fill: int(fill.trade_id)
    )
    orders = [row.order.client_id for row in trade_history.rows(store, SYMBOL) if row.grid_run == 1]
    assert len(orders) == sum(len(changes.orders) for changes in first.changes)


def test_grids_that_ended_come_first(store):
    first = Life(store).swing(3)
    store.close_grid_run(1, first.now_ms)
    second = Life(store, number=2, start_ms=first.now_ms)
    second.swing(2)
    assert second.settle(second.engine.books.sells) == first.engine.books.sells
    assert second.settle(2) == second.engine.books.sells - 2
    total = first.engine.books.grid_profit + second.engine.books.grid_profit
    kept = restored(second, store).books
    assert kept.grid_profit == second.engine.books.grid_profit
    profits = [row.profit for row in trade_history.rows(store, SYMBOL) if row.profit is not None]
    assert sum(profits) == total


def test_base_that_is_carried_over_is_shared_by_the_sells(store):
    life = Life(store, price="48000", carried=Carried(Decimal("0.1"), Decimal(4800)))
    life.swing(3, low="46000", high="66000")
    assert life.settle() > 5
    assert_same_books(restored(life, store), life.engine, recent=False)
    closed = life.engine.books.grid_profit
    store.close_grid_run(1, life.now_ms)
    later = Life(store, number=2)
    later.settle()
    profits = [row.profit for row in trade_history.rows(store, SYMBOL) if row.profit is not None]
    assert sum(profits) == closed


def test_a_grid_that_was_liquidated_is_settled_as_a_whole(store):
    life = Life(store).swing(3)
    life.disturb("part cancel", 1)
    life.settle()
    life.liquidate()
    assert life.engine.books.liquidation_profit != 0
    assert_same_books(restored(life, store), life.engine, recent=False)
    later = Life(store, number=2)
    later.settle()
    assert all_fills(store) == life.fills + later.fills
    roles = {row.order.role for row in trade_history.rows(store, SYMBOL) if row.grid_run == 1}
    assert roles == {Role.INITIAL, Role.GRID, Role.LIQUIDATION}
    (left,) = store._connection.execute("SELECT count(*) FROM legs WHERE generation = 1").fetchone()
    assert left == 0


def test_a_start_reads_as_much_after_years(tmp_path, monkeypatch):
    """Steps of SQLite's machine: how many rows it visits."""
    steps, check_file = [], Store._check

    def counted(store, connection, **options):
        connection.set_progress_handler(lambda: steps.append(1), 100)
        check_file(store, connection, **options)

    counts = []
    for swings in (100, 400):
        directory = tmp_path / str(swings)
        directory.mkdir()
        store = Store(directory)
        life = Life(store).swing(swings)
        assert life.settle(50) > 2 * swings
        assert 90 <= count_legs(store) <= 106
        store.close()
        with monkeypatch.context() as patch:
            patch.setattr(Store, "_check", counted)
            steps.clear()
            store = Store(directory)
            assert_same_books(restored(life, store), life.engine)
            counts.append(len(steps))
        store.close()
    assert counts[1] < counts[0] * 1.2


def damage(store, table):
    """Overwrite the first page of a table; the store is closed."""
    (page,) = store._connection.execute(
        "SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)
    ).fetchone()
    store.close()
    content = bytearray(store.path.read_bytes())
    content[(page - 1) * 1024 : page * 1024] = b"x" * 1024
    store.path.write_bytes(content)


def test_a_damaged_page_of_what_is_settled_is_told_by_who_reads_it(store, tmp_path):
    life = Life(store).swing(40)
    life.settle()
    damage(store, "settled")
    again = Store(tmp_path)
    assert_same_books(restored(life, again), life.engine, recent=False)
    with pytest.raises(StoreError, match=r"is damaged .*; restore it from a backup"):
        all_fills(again)
    again.close()


@pytest.mark.parametrize("table", ["legs", "orders", "fills", "progress", "orders_by_leg"])
def test_a_damaged_page_of_what_is_not_settled_is_refused_by_the_start(store, tmp_path, table):
    Life(store).swing(40).settle(5)
    damage(store, table)
    with pytest.raises(StoreError, match=r"is damaged .*; restore it from a backup") as refused:
        Store(tmp_path)
    assert refused.value.lasting


def test_readers_beside_the_bot_see_each_trade_once(store, tmp_path):
    life = Life(store).swing(5)
    reader = Store(tmp_path, read_only=True)
    every = trade_history.trades(reader, SYMBOL)
    first = next(every)[1]
    then = list(life.fills)
    life.swing(2).settle()  # a reader does not keep the bot from it, nor sees it
    assert [first, *(fill for _, fill in every)] == then
    assert all_fills(reader) == life.fills
    reader.close()


def test_a_disk_that_fills_up_is_told_and_heals(store):
    life = Life(store).swing(40)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(StoreError, match=r"database or disk is full|disk I/O") as refused:
            life.settle()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not refused.value.lasting
    check(life, store)
    life.settle()
    check(life, store)


def test_after_a_failure_the_database_is_asked_what_is_settled(store, monkeypatch):
    life = Life(store, start_ms=START_MS + 86_400_000).swing(120)
    settler, batches = Settler(store, 50), []
    save = Store.transaction

    def fail_at_the_second(opened, mode="IMMEDIATE"):
        batches.append(mode)
        if mode == "IMMEDIATE" and batches.count(mode) == 2:
            raise StoreError("the disk is full", lasting=False)
        return save(opened, mode)

    monkeypatch.setattr(Store, "transaction", fail_at_the_second)
    assert settler.run(life.grid_run, life.engine) == 200
    with pytest.raises(StoreError, match="the disk is full"):
        settler.run(life.grid_run, life.engine)
    check(life, store)
    moved = sum(settler.run(life.grid_run, life.engine) for _ in range(3))
    assert moved == life.engine.books.sells - 200 - 45
    check(life, store)


# The power is cut.


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_cut_at_any_operation_loses_nothing_and_doubles_nothing(tmp_path, after):
    store = Store(tmp_path)
    life = Life(store, start_ms=1_767_223_800_000)
    cuts = wholes = 0
    for operation in range(10_000):
        if life.engine.books.sells > 400:
            break
        life.swing(1)
        power = Power(operation // 2 % 40 if operation % 2 else -1, after=after)
        with power.watch(store):
            life.settle()
        cuts += power.cut
        wholes += not power.cut
        store.close()
        life.store = store = Store(tmp_path)
        check(life, store)
    assert cuts > 40
    assert wholes > 5
    check(life, store)
    store.close()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_cut_at_each_operation_of_a_grid_that_ended(tmp_path, after):
    power, operation = Power(0, after=after), 0
    while power.cut or operation == 0:
        directory = tmp_path / str(operation)
        directory.mkdir()
        store = Store(directory)
        first = Life(store, start_ms=1_767_223_800_000).swing(1)
        store.close_grid_run(1, first.now_ms)
        life = Life(store, number=2, start_ms=first.now_ms).swing(1)
        fills = first.fills + life.fills
        power = Power(operation, after=after)
        with power.watch(store):
            life.settle()
        store.close()
        life.store = store = Store(directory)
        for _ in range(2):
            assert_same_books(restored(life, store), life.engine, recent=False)
            assert all_fills(store) == fills
            life.settle()
        store.close()
        operation += 1
    assert operation > 50


moves = st.lists(
    st.tuples(
        st.sampled_from(["go", "go", "go", "part", "cancel", "part cancel", "settle", "cut"]),
        st.integers(40_000, 70_000).map(str),
        st.integers(0, 20),
    ),
    max_size=30,
)


@settings(max_examples=40, deadline=None)
@given(
    moves=moves,
    start=st.integers(44_000, 66_000).map(str),
    rate=st.sampled_from(["0", "0.001", "0.00075"]),
    taken_in=st.sampled_from(["received", "quote"]),
    coin=st.sampled_from([None, "BNB"]),
    grids=st.integers(2, 9),
)
def test_any_life_with_any_settling_and_any_cut(*, moves, start, rate, taken_in, coin, grids):
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        store = Store(Path(name))
        grid = market.spec(grids=str(grids))
        life = Life(store, grid, market.fees(rate, taken_in), start)
        life.commission_coin = coin
        for move, price, number in moves:
            if move == "go":
                life.go(price)
            elif "part" in move or "cancel" in move:
                life.disturb(move, number)
            elif move == "settle":
                life.settle()
            else:
                power = Power(number, after=bool(number % 2))
                with power.watch(store):
                    life.settle()
                store.close()
                life.store = store = Store(Path(name))
        check(life, store)
        store.close()


# Sorting outside of memory.


def test_trades_come_in_order_and_take_no_more_memory_for_more(store):
    peaks = []
    for count in (10_000, 40_000):
        store._connection.executescript(
            "DELETE FROM fills; DELETE FROM orders; DELETE FROM legs; DELETE FROM progress;"
            " DELETE FROM generations"
        )
        many_trades(store, count)
        tracemalloc.start()
        before, seen = (-1, ""), 0
        for _, fill in trade_history.trades(store, SYMBOL):
            moment = (fill.time_ms, padded(fill.trade_id))
            assert before < moment
            before, seen = moment, seen + 1
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert seen == count
    assert peaks[1] < peaks[0] * 1.2 + 10_000
    # SQLite's own memory: what it sorts beyond its cache goes to temporary files.
    assert store._connection.execute("PRAGMA cache_size").fetchone() == (-1024,)
    assert store._connection.execute("PRAGMA temp_store").fetchone() == (0,)
