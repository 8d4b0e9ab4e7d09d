import contextlib
import os
import sqlite3
import subprocess
import tempfile
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from gridbot.engine import Changes
from gridbot.grid import Plan
from gridbot.market import Market
from gridbot.orders import Fill, Leg, Order, OrderState, Role, Side
from gridbot.store import Generation, Store, StoreError

MARKET = Market(
    symbol="BTC/USDT",
    base="BTC",
    quote="USDT",
    tick_size=Decimal("0.01"),
    lot_size=Decimal("0.00001"),
    min_quantity=Decimal("0.00001"),
    min_notional=Decimal(5),
    max_orders=200,
)
GENERATION = Generation(
    id=1,
    tag="abc123",
    settings={"bot_name": "pi1"},
    market=MARKET,
    plan=Plan((Decimal("1.10"), Decimal("2.20")), Decimal("1.5"), 0, Decimal("0.1")),
    opening={"USDT": Decimal("1000.00000001")},
    first_trade_id=7,
    trade_cursor=7,
    started_ms=123,
)
LEG = Leg("pi1-BTCUSDT-abc123-1s1", Role.GRID, Side.SELL, 1, Decimal("0.1"))
ORDER = Order(
    client_id=LEG.id,
    leg=LEG.id,
    role=Role.GRID,
    side=Side.SELL,
    line=1,
    cycle=1,
    price=Decimal("2.20"),
    quantity=Decimal("0.1"),
    state=OrderState.INTENDED,
    exchange_id=None,
    created_ms=124,
)
FILL = Fill(
    trade_id=9,
    client_id=LEG.id,
    side=Side.SELL,
    price=Decimal("2.20"),
    quantity=Decimal("0.05"),
    quote=Decimal("0.11"),
    commission=Decimal("1E-8"),
    commission_coin="USDT",
    time_ms=125,
    maker=True,
)


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path)
    yield store
    store.close()


def test_what_is_written_is_read_back(tmp_path, store):
    store.start_generation(GENERATION, Changes(1, legs=[LEG], orders=[ORDER]))
    accepted = replace(ORDER, state=OrderState.OPEN, exchange_id=55)
    store.commit(1, Changes(2, updated=[accepted], fills=[FILL], trade_cursor=10))
    store.close()
    with pytest.raises(sqlite3.ProgrammingError):
        store._connection.execute("SELECT 1")
    again = Store(tmp_path)
    assert again.generation() == replace(GENERATION, trade_cursor=10)
    assert again.orders(1) == [accepted]
    assert again.fills(1, 9) == [FILL]
    assert again.fills(1, 8) == []
    assert again.knows(LEG.id)
    assert not again.knows("other")
    again.close()


def test_a_transaction_is_all_or_nothing(store):
    store.start_generation(GENERATION, Changes(1, legs=[LEG], orders=[ORDER]))
    other = replace(ORDER, client_id="new")
    with pytest.raises(StoreError):
        store.commit(1, Changes(2, orders=[other, other]))
    assert store.orders(1) == [ORDER]


def test_every_commit_is_on_the_disk(store):
    rows = [store._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in (
        "journal_mode", "synchronous", "foreign_keys",
    )]  # fmt: skip
    assert rows == ["wal", 2, 1]


@pytest.mark.usefixtures("store")
def test_a_second_bot_on_the_same_directory_is_refused(tmp_path):
    with pytest.raises(StoreError, match="is in use by another running bot") as refused:
        Store(tmp_path)
    assert refused.value.lasting
    assert refused.value.exit_code == 4
    reader = Store(tmp_path, read_only=True)
    assert reader.generation() is None
    with pytest.raises(StoreError, match="readonly"):
        reader.close_generation(1, 0)
    reader.close()


def test_the_lock_goes_with_the_bot(tmp_path, store):
    store.close()
    Store(tmp_path).close()


def test_a_directory_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StoreError, match="is not a directory; create it"):
        Store(tmp_path / "none")


def test_reading_before_the_first_start_says_so(tmp_path):
    with pytest.raises(StoreError, match="holds no grid yet"):
        Store(tmp_path, read_only=True)


def test_a_newer_schema_is_refused(tmp_path, store):
    store._connection.execute("PRAGMA user_version = 99")
    store.close()
    with pytest.raises(StoreError, match="written by a newer gridbot"):
        Store(tmp_path)


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "gridbot.sqlite3").write_bytes(b"something else entirely" * 100)
    with pytest.raises(StoreError, match="is damaged") as refused:
        Store(tmp_path)
    assert refused.value.lasting
    assert "\n" not in str(refused.value)


@pytest.fixture
def small_disk():
    """A file system of 256 KiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system takes root")
    with tempfile.TemporaryDirectory() as directory:
        command = ["mount", "-t", "tmpfs", "-o", "size=256k", "gridbot-test", directory]
        if subprocess.run(command, check=False, capture_output=True).returncode != 0:
            pytest.skip("mounting is not allowed here")
        try:
            yield Path(directory)
        finally:
            subprocess.run(["umount", directory], check=True)


def fill_up(path):
    """Write until there is no room."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"0" * 4096)


def write_on(store, written):
    for name in map(str, range(500)):
        store.commit(1, Changes(2, orders=[replace(ORDER, client_id=name)]))
        written.append(name)


def test_a_full_disk_is_told_loses_nothing_and_heals(small_disk):
    store = Store(small_disk)
    store.start_generation(GENERATION, Changes(1, legs=[LEG], orders=[ORDER]))
    ballast = small_disk / "ballast"
    fill_up(ballast)
    written = []
    with pytest.raises(StoreError, match=r"full|disk I/O") as refused:
        write_on(store, written)
    assert str(small_disk) in str(refused.value)
    assert not refused.value.lasting
    assert [order.client_id for order in store.orders(1)] == [ORDER.client_id, *written]
    ballast.unlink()
    store.commit(1, Changes(3, orders=[replace(ORDER, client_id="after")]))
    store.close()
    again = Store(small_disk)
    assert len(again.orders(1)) == len(written) + 2
    again.close()
