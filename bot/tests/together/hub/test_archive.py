"""The archive: equal answers before and after, late rows once, nothing dropped unverified."""

import asyncio
import contextlib
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from gridbase.tax_lots import Method
from gridbot.accounting import trade_history
from gridbot.accounting.tax_report import document, write_report
from gridbot.store import Sample, Store
from hub.api.queries import OPEN_ORDERS
from hub.archive.archiver import Archiver, UnverifiedError
from hub.archive.place import Place, PlaceError
from hub.archive.rows import ORDERS
from hub.book_rows import Batch
from hub.book_rows import Fill as BookFill
from hub.config import Archive
from hub.database import connect, pool
from hub.history import BEGIN, END, History, Wanted
from hub.ledger import Ledger, by_account
from hub.writing import Writer

from bot.tests.bot.books.conftest import START_MS, SYMBOL, Life
from bot.tests.together.hub.conftest import WRONG_DAYS, bot_of, collect, in_database, rows

LATER = datetime(2030, 1, 1, tzinfo=UTC)
DAY_MS = 86_400_000


@pytest.fixture
def place(tmp_path):
    directory = tmp_path / "archive"
    directory.mkdir()
    return Place(Archive(str(directory), 90, None, "us-east-1", None, None))


def archive(address, place, before=LATER, table="fills"):
    async def run(connection):
        return await Archiver(connection, place).run(before)

    return in_database(address, run)[table]


def asked(address, place, question):
    """What a coroutine function returns that is given a `History` and the pool."""

    async def run():
        async with await pool(address, 3) as connections:
            return await question(History(connections, place), connections)

    return asyncio.run(run())


async def everything(history, connections):
    runs = [row["id"] for row in await connections.fetch("SELECT id FROM grid_runs ORDER BY id")]
    ordered = [row async for row in history.ordered(runs)]
    pages, wanted = [], Wanted()
    while page := await history.latest(wanted, 7):
        pages += page
        last = page[-1]
        wanted = replace(wanted, before=(last.time, last.run_id, last.trade_id))
    some = await history.latest(Wanted(runs=runs[:1]), 5)
    ledger = Ledger(connections, history)
    books = [book.document() for book in await ledger.books()]
    return ordered, pages, some, books, await orders_and_hours(history, connections)


async def order_pages(history, wanted, count):
    found = []
    while page := await history.orders(wanted, count):
        found += page
        wanted = replace(wanted, before=(page[-1].created, page[-1].run_id, page[-1].client_id))
    return found


async def orders_and_hours(history, connections):
    runs = [row["id"] for row in await connections.fetch("SELECT id FROM grid_runs")]
    every = await order_pages(history, Wanted(), 7)
    third = every[len(every) // 3].created
    orders = [
        every,
        await order_pages(history, Wanted(state="f"), 3),
        await order_pages(history, Wanted(runs=runs[:1], end=third), 1000),
        await history.orders(Wanted(runs=[99]), 5),
        await history.orders(Wanted(begin=third, state="o"), 1000),
    ]
    live = await connections.fetch(OPEN_ORDERS, END, 2**31 - 1, "", runs, 1000, BEGIN, END)
    bots = [row["id"] for row in await connections.fetch("SELECT id FROM bots")]
    hours = [[dict(one) for one in await history.hours(bot, SYMBOL, BEGIN, END, 10_000)]
             for bot in bots]  # fmt: skip
    middle = hours[0][len(hours[0]) // 2]["time"] if hours[0] else BEGIN
    some = [dict(one) for one in await history.closes(bots[0], SYMBOL, middle, END, 9)]
    return orders, [tuple(one) for one in live], hours, some


def sampled(store, hours, first=0):
    """Hours of the price, as the bot would have written them down."""
    for hour in range(first, first + hours):
        prices = (Decimal("50000.10"), Decimal(50123), Decimal("49000.5"), Decimal(hour))
        store.sample([Sample(SYMBOL, START_MS + hour * 3_600_000, *prices, 3600, 1800)])


def three_weeks(store):
    """A grid that trades in each of three weeks and a bit."""
    return three_weeks_more(Life(store).swing(1))


def three_weeks_more(life):
    for _ in range(3):
        life.minutes += 8 * 24 * 60
        life.swing(1)
    return life


def test_answers_are_equal_before_and_after(address, store, place, tmp_path):
    life = three_weeks(store)
    sampled(store, 24 * 70)
    collect(address, bot_of(store.directory))
    before = asked(address, place, everything)
    assert len(before[0]) == len(life.fills)
    (every, filled, *_), live, (hours,), some = before[4]
    states = {row.client_id: row.state for row in every}
    assert states == books_states(store)
    assert [row for row in every if row.state == "f"] == filled
    assert {row[10] for row in live} == set(life.engine.live)
    assert (len(hours), hours[1]["open"], len(some)) == (24 * 70, "50000.1", 9)
    assert before[1] == before[0][::-1]
    half = datetime.fromtimestamp(life.start_ms / 1000, UTC) + timedelta(days=15)
    moved = archive(address, place, half)
    assert 0 < moved.rows < len(life.fills)
    assert asked(address, place, everything) == before
    assert archive(address, place, half + timedelta(days=28), "candles").rows > 0
    assert asked(address, place, everything) == before
    archive(address, place)
    for table in ("fills", "orders", "candles"):
        assert rows(address, f"SELECT count(*) FROM {table}") == [(0,)]  # noqa: S608
    assert asked(address, place, everything) == before
    assert archive(address, place).chunks == 0
    # And the ledger is the bot's own report, to the last digit.
    report = write_report(store, [SYMBOL], None, Method.FIFO, tmp_path / "tax.csv")
    own = document(report, Method.FIFO)["symbols"][SYMBOL]
    (book,) = before[3]
    assert {name: book[name] for name in own} == own
    assert len(own["years"]) == 2


def books_states(store):
    return {row.order.client_id: row.order.state[0] for row in trade_history.rows(store, SYMBOL)}


def test_an_order_may_trade_after_its_chunk_is_archived(address, store, place):
    life = three_weeks(store)
    bot = bot_of(store.directory)
    collect(address, bot)
    first = archive(address, place, table="orders")
    waiting = "SELECT count(*) FROM late_orders"
    assert rows(address, waiting) == [(len(life.engine.live),)]
    for _ in range(3):
        life.swing(1)
        life.settle()
        collect(address, bot)
        before = asked(address, place, orders_and_hours)
        assert {row.client_id: row.state for row in before[0][0]} == books_states(store)
        assert archive(address, place, table="orders").late > 0
        assert rows(address, waiting) == [(len(life.engine.live),)]
        assert asked(address, place, orders_and_hours) == before
    # All of it once more, as after restored books: nothing is new, and no file is written again.
    files = rows(address, "SELECT name FROM archive_files ORDER BY name")
    rows(address, "DELETE FROM cursors")
    collect(address, bot)
    assert rows(address, waiting)[0][0] > first.rows
    assert asked(address, place, orders_and_hours) == before
    assert archive(address, place, table="orders").late == 0
    assert rows(address, "SELECT name FROM archive_files ORDER BY name") == files
    assert asked(address, place, orders_and_hours) == before


def test_an_hour_that_has_grown_takes_the_place_of_the_archives(address, store, place):
    Life(store)
    sampled(store, 30)
    bot = bot_of(store.directory)
    collect(address, bot)
    archive(address, place)
    store.sample([Sample(SYMBOL, START_MS + 29 * 3_600_000, *[Decimal(60_000)] * 4, 100, 100)])
    collect(address, bot)
    before = asked(address, place, orders_and_hours)
    assert before[2][0][-1]["high"] == "60000"
    assert len(before[2][0]) == 30
    assert archive(address, place, table="candles").late == 1
    assert rows(address, "SELECT count(*) FROM late_candles") == [(0,)]
    assert asked(address, place, orders_and_hours) == before


def test_an_order_that_changes_between_writing_and_dropping(address, store, place, monkeypatch):
    three_weeks(store)
    collect(address, bot_of(store.directory))
    before = asked(address, place, orders_and_hours)
    write = Archiver._write

    async def and_then(self, kind, begins, source):
        written = await write(self, kind, begins, source)
        if kind is ORDERS:
            other = await connect(address)
            await other.execute("UPDATE orders SET exchange_id = 'x' WHERE state = 'f'")
            await other.close()
        return written

    monkeypatch.setattr(Archiver, "_write", and_then)
    with pytest.raises(UnverifiedError, match="or others, by now; the next run tries again"):
        archive(address, place)
    monkeypatch.setattr(Archiver, "_write", write)
    archive(address, place)
    after = asked(address, place, orders_and_hours)
    assert after != before
    assert {row.exchange_id for row in after[0][1]} == {"x"}


def test_what_changes_while_it_is_taken_in_waits_on(address, store, place, monkeypatch):
    Life(store)
    sampled(store, 30)
    bot = bot_of(store.directory)
    collect(address, bot)
    archive(address, place)
    store.sample([Sample(SYMBOL, START_MS + 29 * 3_600_000, *[Decimal(60_000)] * 4, 100, 100)])
    collect(address, bot)
    write, more = Archiver._write, [Decimal(70_000), Decimal(80_000)]

    async def and_then(self, kind, begins, source):
        written = await write(self, kind, begins, source)
        if more:
            other = await connect(address)
            await other.execute("UPDATE late_candles SET high = $1", more.pop())
            await other.close()
        return written

    monkeypatch.setattr(Archiver, "_write", and_then)
    assert archive(address, place, table="candles").late == 3
    assert asked(address, place, orders_and_hours)[2][0][-1]["high"] == "70000"


def test_a_chunk_of_an_archived_time_is_set_aside(address, store, place):
    """As a collector makes it that an update of the hub did not restart."""
    life = three_weeks(store)
    bot = bot_of(store.directory)
    collect(address, bot)
    archive(address, place)
    rows(
        address,
        "INSERT INTO orders SELECT created, run_id, market_id, side, role, 'f', line, attempt,"
        " price, quantity, client_id, exchange_id FROM late_orders",
    )
    assert archive(address, place, table="orders").late == len(life.engine.live)
    assert rows(address, "SELECT count(*) FROM orders") == [(0,)]
    assert rows(address, "SELECT count(*) FROM late_orders") == [(0,)]


def test_late_trades_are_taken_in_once(address, store, place):
    life = three_weeks(store)
    bot = bot_of(store.directory)
    collect(address, bot)
    archive(address, place)
    # Read again from the first row, and one trade more that the bot hears of late.
    life.store._connection.execute(
        "INSERT INTO fills SELECT generation, '1', client_id, price, quantity, quote, commission,"
        " commission_coin, time_ms + 1, maker FROM fills WHERE trade_id ="
        " (SELECT min(trade_id) FROM fills)"
    )
    assert collect(address, bot) == 0
    assert rows(address, "SELECT count(*) > 1 FROM late_fills") == [(True,)]
    flows = "SELECT sum(fills)::bigint FROM flows"
    assert rows(address, flows) == [(len(life.fills),)]
    assert archive(address, place).late == 1
    assert rows(address, flows) == [(len(life.fills) + 1,)]
    assert rows(address, WRONG_DAYS) == []
    assert rows(address, "SELECT count(*) FROM late_fills") == [(0,)]
    ordered, pages, _, _ = asked(address, place, everything_but_books)
    assert len(ordered) == len(life.fills) + 1
    assert len({(row.run_id, row.trade_id) for row in ordered}) == len(ordered)
    assert pages == ordered[::-1]
    assert archive(address, place).late == 0


def test_a_page_that_the_database_fills_asks_for_no_file(address, store, place):
    life = Life(store).swing(1)
    collect(address, bot_of(store.directory))

    async def pages(history, _):
        async def files(*_):
            raise AssertionError

        every = len(life.fills)
        assert len(await history.latest(Wanted(), every + 1)) == every
        history._files = files
        assert len(await history.latest(Wanted(), every)) == every
        with pytest.raises(AssertionError):
            await history.latest(Wanted(), every + 1)

    asked(address, place, pages)


def test_only_files_of_the_time_in_which_a_bot_traded_are_read(address, tmp_path, place):
    lives = {}
    for name, weeks in (("old", 0), ("new", 4)):
        (tmp_path / name).mkdir()
        with contextlib.closing(Store(tmp_path / name)) as opened:
            start_ms = START_MS + weeks * 7 * DAY_MS
            lives[name] = Life(opened, start_ms=start_ms).swing(1)
            if name == "old":
                lives[name] = three_weeks_more(lives[name])
        collect(address, bot_of(tmp_path / name, name))
    assert archive(address, place).chunks >= 4

    async def read(history, connections):
        files, query = [], history._query
        history._query = lambda kind, *more: files.append(more[0]) or query(kind, *more)
        runs = dict(
            await connections.fetch(
                "SELECT b.name, r.id FROM bots b JOIN grid_runs r ON b.id = r.bot_id"
            )
        )
        found = await history.latest(Wanted(runs=[runs["new"]]), 100)
        ordered = [row async for row in history.ordered([runs["new"]])]
        assert await history.latest(Wanted(runs=[99]), 100) == []
        return found == ordered[::-1], len(ordered), files

    same, count, files = asked(address, place, read)
    assert (same, count) == (True, len(lives["new"].fills))
    assert len(files) == 2
    assert files[0] == files[1]


async def everything_but_books(history, connections):
    runs = [row["id"] for row in await connections.fetch("SELECT id FROM grid_runs ORDER BY id")]
    ordered = [row async for row in history.ordered(runs)]
    return ordered, await history.latest(Wanted(), 10_000), None, None


def test_a_file_that_changes_on_its_way_drops_nothing(address, store, place, monkeypatch):
    life = three_weeks(store)
    collect(address, bot_of(store.directory))
    put = place.put

    def flipped(local, name):
        content = bytearray(local.read_bytes())
        content[len(content) // 2] ^= 1
        local.write_bytes(content)
        put(local, name)

    monkeypatch.setattr(place, "put", flipped)
    with pytest.raises(UnverifiedError, match="is not what was written to it"):
        archive(address, place)
    assert rows(address, "SELECT count(*) FROM fills") == [(len(life.fills),)]
    assert rows(address, "SELECT count(*) FROM archive_files") == [(0,)]


def test_a_trade_that_comes_between_writing_and_dropping(address, store, place, monkeypatch):
    life = three_weeks(store)
    bot = bot_of(store.directory)
    collect(address, bot)
    write = Archiver._write

    async def and_then(self, kind, begins, source):
        written = await write(self, kind, begins, source)
        other = await connect(address)
        await other.execute(
            "INSERT INTO fills SELECT time, run_id, market_id, side, role, maker, price, quantity,"
            " quote, fee, fee_coin, 'new', client_id FROM fills ORDER BY time LIMIT 1"
        )
        await other.close()
        return written

    monkeypatch.setattr(Archiver, "_write", and_then)
    with pytest.raises(UnverifiedError, match="or others, by now; the next run tries again"):
        archive(address, place)
    monkeypatch.setattr(Archiver, "_write", write)
    assert archive(address, place).rows == len(life.fills) + 1


def test_a_place_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(PlaceError, match=r"^archive.place = .*/none is not a directory; create it"):
        Place(Archive(str(tmp_path / "none"), 90, None, "us-east-1", None, None))


def test_what_a_kill_left_half_written_is_removed(place, tmp_path):
    (tmp_path / "local").write_bytes(b"rows")
    child = os.fork()
    if child == 0:
        os.fsync = lambda _: os._exit(9)  # cut before it has its name
        place.put(tmp_path / "local", "fills/2026-01-01-abc.parquet")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    (left,) = (tmp_path / "archive/fills").iterdir()
    place.remove_orphans("fills", set())
    assert left.exists()
    os.utime(left, (1, 1))
    place.remove_orphans("fills", set())
    assert not left.exists()


def test_amounts_that_do_not_fit_are_exact(address, store, place):
    Life(store)
    bot = bot_of(store.directory)
    collect(address, bot)
    odd = [
        ("a-b", Decimal("123456789012345678901.000000000000000001"), Decimal("0.1234567890123456")),
        ("007", Decimal("0.000000000000000001"), Decimal(-1)),
        ("9" * 25, None, Decimal(0)),
    ]

    async def write(connection):
        writer = Writer(connection, bot)
        await writer.introduce()
        from hub.books import Books

        books = Books(bot.state)
        await writer.grid_runs(books.grid_runs())
        books.close()
        price, quantity = Decimal("50000.01"), Decimal("0.00001")
        fills = [
            BookFill(
                run=1,
                trade_id=name,
                client_id="c",
                side="b",
                role="g",
                price=price,
                quantity=quantity,
                quote=price * quantity if quote is None else quote,
                fee=fee,
                fee_coin="BNB",
                time_ms=7 * DAY_MS + number,
                maker=True,
            )
            for number, (name, quote, fee) in enumerate(odd)
        ]
        async with connection.transaction():
            await writer.batch(Batch([], fills, 0, ""))

    in_database(address, write)
    before = asked(address, place, everything_but_books)
    archive(address, place)
    assert asked(address, place, everything_but_books) == before


def test_accounts_keep_paper_and_live_apart(address, tmp_path):
    from gridbot.store import Store

    for name, mode in (("one", "paper"), ("two", "live"), ("three", "live")):
        (tmp_path / name).mkdir()
        opened = Store(tmp_path / name)
        Life(opened).swing(1)
        opened.close()
        collect(address, bot_of(tmp_path / name, name, mode))

    async def sums(history, connections):
        return by_account(await Ledger(connections, history).books())

    paper_and_live = {one["mode"]: one for one in asked(address, None, sums)}
    paper, live = paper_and_live["paper"], paper_and_live["live"]
    assert Decimal(live["open_cost"]) == 2 * Decimal(paper["open_cost"])
    assert Decimal(live["years"]["2025"]["gain"]) == 2 * Decimal(paper["years"]["2025"]["gain"])
