"""Where the ledger begins: at a point that was written down, to the last digit, or not at all."""

import asyncio
import contextlib
import json
from datetime import UTC, datetime, timedelta

import pytest
from gridbase.clock import SystemClock
from gridbase.tax_lots import Method
from gridbot.accounting.tax_report import document, write_report
from gridbot.store import Store
from hub import keeper, ledger
from hub.config import Archive, Config, Keeper
from hub.database import pool
from hub.history import History
from hub.ledger import Ledger

from bot.tests.bot.books.conftest import START_MS, SYMBOL, Life
from bot.tests.together.hub.conftest import bot_of, collect, in_database, rows

DAY_MS = 86_400_000
MINUTES_OF_A_DAY = 24 * 60
LATER = datetime(2030, 1, 1, tzinfo=UTC)


class Counting(History):
    """How many trades were read."""

    read = 0

    async def ordered(self, *asked):
        async for row in super().ordered(*asked):
            self.read += 1
            yield row


def booked(address):
    """What a hub that starts now has, by bot, and how many trades it read for that."""

    async def run():
        async with await pool(address, 2) as connections:
            history = Counting(connections, None)
            books = await Ledger(connections, history).books()
            return {book.bot: (book.document(), book.days) for book in books}, history.read

    return asyncio.run(run())


def keep_points(address, now=LATER):
    """As `hub keep` does; what it said."""
    said = []

    async def run(connection):
        async with await pool(address, 1) as reading:
            await Ledger(reading, History(reading, None)).keep_points(connection, now, said.append)

    in_database(address, run)
    return said


def from_the_first(address):
    """The same without points, as a hub without a keeper has it."""
    with_points = rows(address, "SELECT count(*) FROM ledger_points")
    in_database(address, lambda one: one.execute("ALTER TABLE ledger_points RENAME TO aside"))
    in_database(address, lambda one: one.execute("CREATE TABLE ledger_points (LIKE aside)"))
    books, read = booked(address)
    in_database(address, lambda one: one.execute("DROP TABLE ledger_points"))
    in_database(address, lambda one: one.execute("ALTER TABLE aside RENAME TO ledger_points"))
    assert rows(address, "SELECT count(*) FROM ledger_points") == with_points
    return books, read


def own(store, directory):
    """The bot's own tax report."""
    report = write_report(store, [SYMBOL], None, Method.FIFO, directory / "tax.csv")
    return document(report, Method.FIFO)["symbols"][SYMBOL]


def test_what_begins_at_a_point_is_the_tax_report(address, store, tmp_path):
    # So that a trade falls on a midnight.
    life = Life(store, start_ms=START_MS // DAY_MS * DAY_MS - 41 * 60_000)
    life.commission_coin = "BNB"
    for days in (1, 3, 40, 200, 0):
        life.swing(3)
        life.disturb("part", days)
        life.commission_coin = None if life.commission_coin else "BNB"
        life.settle(kept=2)
        collect(address, bot_of(store.directory))
        assert keep_points(address, datetime.fromtimestamp(life.now_ms / 1000, UTC)) == []
        books, read = booked(address)
        figures = own(store, tmp_path)
        assert {name: books["pi1"][0][name] for name in figures} == figures
        assert (books, len(life.fills)) == from_the_first(address)
        life.minutes += days * MINUTES_OF_A_DAY
    assert 0 < read < len(life.fills) / 2
    assert figures["years"]["2026"]["other_fees"]["BNB"] != "0"
    assert any(fill.time_ms % DAY_MS == 0 for fill in life.fills)
    # All of it is in texts: no amount has been a float in between.
    (kept,) = rows(address, "SELECT book::text FROM ledger_points")
    floats = []
    json.loads(kept[0], parse_float=floats.append)
    assert floats == []


def test_a_trade_for_an_earlier_time_overtakes_the_point(address, store, tmp_path):
    life = Life(store).swing(2)
    life.minutes += 3 * MINUTES_OF_A_DAY
    life.swing(1)
    collect(address, bot_of(store.directory))
    keep_points(address)
    before, read = booked(address)
    assert read < len(life.fills)
    # Another grid run of the bot, from books that were away till now.
    (tmp_path / "more").mkdir()
    with contextlib.closing(Store(tmp_path / "more")) as other:
        more = Life(other, number=2, start_ms=START_MS + 7 * 60_000).swing(1)
    collect(address, bot_of(tmp_path / "more"))
    after, read = booked(address)
    assert read == len(life.fills) + len(more.fills)
    assert (after, read) == from_the_first(address)
    assert after != before
    keep_points(address)
    again, read = booked(address)
    assert again == after
    assert read < len(life.fills)


def test_a_month_without_its_collector_overtakes_no_point(address, store):
    life = Life(store).swing(1)
    collect(address, bot_of(store.directory))
    copied = len(life.fills)
    life.minutes += 30
    life.swing(2)  # on the day of the last trade that was copied, and then for a month
    life.minutes += 30 * MINUTES_OF_A_DAY
    life.swing(1)
    for days in (0, 5, 29):
        keep_points(address, datetime.fromtimestamp(life.now_ms / 1000, UTC) - timedelta(29 - days))
    kept = rows(address, "SELECT day, fills::int FROM ledger_points")
    collect(address, bot_of(store.directory))
    books, read = booked(address)
    assert rows(address, "SELECT day, fills::int FROM ledger_points") == kept
    assert read == len(life.fills) - sum(fills for _, fills in kept)
    assert (books, len(life.fills)) == from_the_first(address)
    assert copied < len(life.fills)


@pytest.mark.parametrize("change", ["rules = 'of another release'", "fills = fills - 1"])
def test_what_other_code_has_booked_or_more_trades_overtake_does_not_count(address, store, change):
    life = Life(store).swing(1)
    life.minutes += 2 * MINUTES_OF_A_DAY
    life.swing(1)
    collect(address, bot_of(store.directory))
    keep_points(address)
    wrong = f"UPDATE ledger_points SET book = jsonb_set(book, '{{lots}}', '[]'), {change}"  # noqa: S608  above
    in_database(address, lambda one: one.execute(wrong))
    books, read = booked(address)
    assert read == len(life.fills)
    assert (books, read) == from_the_first(address)
    # The next point is this release's, and right.
    keep_points(address)
    assert booked(address)[0] == books


def test_who_is_cut_off_goes_on_from_the_step_before(address, store, monkeypatch):
    life = Life(store).swing(1)
    for _ in range(3):
        life.minutes += 20 * MINUTES_OF_A_DAY
        life.swing(1)
    collect(address, bot_of(store.directory))
    ended, execute = [], ledger.Book.point

    def point(book):
        if len(ended) == 1:
            raise ConnectionResetError
        ended.append(book.fills)
        return execute(book)

    monkeypatch.setattr(ledger.Book, "point", point)
    with pytest.raises(ConnectionResetError):
        keep_points(address)
    monkeypatch.undo()
    assert rows(address, "SELECT fills::int FROM ledger_points") == [tuple(ended)]
    assert 0 < ended[0] < len(life.fills)
    assert booked(address)[1] == len(life.fills) - ended[0]
    keep_points(address)
    books, read = booked(address)
    assert (books, len(life.fills)) == from_the_first(address)
    assert read < len(life.fills) - ended[0]


def test_a_clock_that_jumps_moves_no_book(address, store):
    life = Life(store).swing(1)
    life.minutes += 3 * MINUTES_OF_A_DAY
    life.swing(1)
    collect(address, bot_of(store.directory))
    for now in (LATER + timedelta(days=9000), datetime(1999, 1, 1, tzinfo=UTC), LATER):
        keep_points(address, now)
        life.minutes += MINUTES_OF_A_DAY
        life.swing(1)
        collect(address, bot_of(store.directory))
        books, read = booked(address)
        assert read < len(life.fills)
        assert (books, len(life.fills)) == from_the_first(address)


def test_a_bot_whose_trades_are_missing_keeps_no_other_from_its_point(address, tmp_path):
    for name in ("pi1", "pi2"):
        (tmp_path / name).mkdir()
        with contextlib.closing(Store(tmp_path / name)) as opened:
            life = Life(opened).swing(1)
            life.minutes += 2 * MINUTES_OF_A_DAY
            life.swing(1)
        collect(address, bot_of(tmp_path / name, name))
    buys = "UPDATE fills SET side = 's' WHERE side = 'b' AND run_id = 1"
    in_database(address, lambda one: one.execute(buys))
    (said,) = keep_points(address)
    assert said.startswith("pi1 BTC/USDT: cannot be booked: trade ")
    assert "\n" not in said
    assert rows(address, "SELECT bot_id FROM ledger_points") == [(2,)]


def test_the_keeper_keeps_them_with_or_without_an_archive(address, store, tmp_path, capsys):
    life = Life(store).swing(1)
    life.minutes += 3 * MINUTES_OF_A_DAY
    life.swing(1)
    collect(address, bot_of(store.directory))
    (tmp_path / "archive").mkdir()
    archives = (None, Archive(str(tmp_path / "archive"), 7))
    for archive in archives:
        in_database(address, lambda one: one.execute("DELETE FROM ledger_points"))
        clock, settings = SystemClock(), Keeper(tmp_path / "status.json")
        config = Config(address, None, None, settings, archive, None)
        clock.sleep = lambda _, clock=clock: clock.stop()
        asyncio.run(keeper.keep(config, clock))
        assert json.loads(settings.status_file.read_text()) == {"problem": ""}
        (fills,) = rows(address, "SELECT fills::int FROM ledger_points")
        assert 0 < fills[0] < len(life.fills)
    assert capsys.readouterr().err == ""
