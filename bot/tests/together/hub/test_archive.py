"""The archive: equal answers before and after, late trades once, nothing dropped unverified."""

import asyncio
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from gridbase.tax_lots import Method
from gridbot.accounting.tax_report import document, write_report
from hub.archive.archiver import Archiver, UnverifiedError
from hub.archive.place import Place, PlaceError
from hub.book_rows import Batch
from hub.book_rows import Fill as BookFill
from hub.config import Archive
from hub.database import connect, pool
from hub.history import History, Wanted
from hub.ledger import Ledger, by_account
from hub.writing import Writer

from bot.tests.bot.books.conftest import SYMBOL, Life
from bot.tests.together.hub.conftest import bot_of, collect, in_database, rows

LATER = datetime(2030, 1, 1, tzinfo=UTC)
DAY_MS = 86_400_000


@pytest.fixture
def place(tmp_path):
    directory = tmp_path / "archive"
    directory.mkdir()
    return Place(Archive(str(directory), 90, None, "us-east-1", None, None))


def archive(address, place, before=LATER):
    async def run(connection):
        return await Archiver(connection, place).run(before)

    return in_database(address, run)


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
    return ordered, pages, some, books


def three_weeks(store):
    """A grid that trades in each of three weeks and a bit."""
    life = Life(store).swing(1)
    for _ in range(3):
        life.minutes += 8 * 24 * 60
        life.swing(1)
    return life


def test_answers_are_equal_before_and_after(address, store, place, tmp_path):
    life = three_weeks(store)
    collect(address, bot_of(store.directory))
    before = asked(address, place, everything)
    assert len(before[0]) == len(life.fills)
    assert before[1] == before[0][::-1]
    half = datetime.fromtimestamp(life.start_ms / 1000, UTC) + timedelta(days=15)
    moved = archive(address, place, half)
    assert 0 < moved.rows < len(life.fills)
    assert asked(address, place, everything) == before
    archive(address, place)
    assert rows(address, "SELECT count(*) FROM fills") == [(0,)]
    assert asked(address, place, everything) == before
    assert archive(address, place).chunks == 0
    # And the ledger is the bot's own report, to the last digit.
    report = write_report(store, [SYMBOL], None, Method.FIFO, tmp_path / "tax.csv")
    own = document(report, Method.FIFO)["symbols"][SYMBOL]
    (book,) = before[3]
    assert {name: book[name] for name in own} == own
    assert len(own["years"]) == 2


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
    assert rows(address, "SELECT count(*) FROM late_fills") == [(0,)]
    ordered, pages, _, _ = asked(address, place, everything_but_books)
    assert len(ordered) == len(life.fills) + 1
    assert len({(row.run_id, row.trade_id) for row in ordered}) == len(ordered)
    assert pages == ordered[::-1]
    assert archive(address, place).late == 0


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

    async def and_then(self, begins, source):
        written = await write(self, begins, source)
        other = await connect(address)
        await other.execute(
            "INSERT INTO fills SELECT time, run_id, market_id, side, role, maker, price, quantity,"
            " quote, fee, fee_coin, 'new', client_id FROM fills ORDER BY time LIMIT 1"
        )
        await other.close()
        return written

    monkeypatch.setattr(Archiver, "_write", and_then)
    with pytest.raises(UnverifiedError, match="by now; the next run tries again"):
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
