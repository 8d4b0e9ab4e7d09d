"""The ledger over several bots: the sums of their own tax reports, to the last digit."""

import asyncio
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal

from gridbase.tax_lots import Method
from gridbot.accounting.tax_report import document, write_report
from gridbot.store import Store
from hub.archive.archiver import Archiver
from hub.archive.place import Place
from hub.books import Books
from hub.collector import Copier
from hub.config import Archive
from hub.database import connect, pool
from hub.history import History
from hub.ledger import Ledger, by_account

from bot.tests.bot.books.conftest import SYMBOL, Life
from bot.tests.together.hub.conftest import bot_of

MINUTES_OF_A_DAY = 24 * 60
# Each with its account, its mode, and what it does; two of them share an account and its coins.
BOTS = {
    "pi1": ("main", "live", 1),
    "pi2": ("main", "live", 3),
    "pi3": ("savings", "live", 2),
    "pi4": ("main", "paper", 2),
}


async def copied(address, bot):
    connection = await connect(address)
    books = Books(bot.state)
    try:
        copier = Copier(connection, books, bot)
        await copier.begin()
        await copier.round()
    finally:
        books.close()
        await connection.close()


async def archived(address, place, before):
    connection = await connect(address)
    try:
        return await Archiver(connection, place).run(before)
    finally:
        await connection.close()


def own_sums(stores, directory):
    """What the bots' own reports come to, by mode, account and year; and each of them."""
    sums = defaultdict(lambda: defaultdict(lambda: defaultdict(Decimal)))
    costs, reports = defaultdict(Decimal), {}
    for name, (account, mode, _) in BOTS.items():
        report = write_report(stores[name], [SYMBOL], None, Method.FIFO, directory / "tax.csv")
        reports[name] = own = document(report, Method.FIFO)["symbols"][SYMBOL]
        costs[mode, account] += Decimal(own["open_cost"])
        for year, figures in own["years"].items():
            for figure, amount in figures.items():
                if figure not in {"disposals", "other_fees"}:
                    sums[mode, account][year][figure] += Decimal(amount)
    return sums, costs, reports


def assert_equal(books, stores, directory):
    sums, costs, reports = own_sums(stores, directory)
    assert {book.bot for book in books} == set(reports)
    for book in books:
        found = book.document()
        assert {name: found[name] for name in reports[book.bot]} == reports[book.bot]
    accounts = by_account(books)
    assert len(accounts) == len(sums)
    for account in accounts:
        name = account["mode"], account["account"]
        assert Decimal(account["open_cost"]) == costs[name]
        found = {
            year: {figure: Decimal(amount) for figure, amount in figures.items()}
            for year, figures in account["years"].items()
        }
        assert found == sums[name]
    return {year for account in accounts for year in account["years"]}


def test_accounts_are_the_sums_of_their_bots_own_reports(address, tmp_path):
    stores, lives = {}, {}
    for number, name in enumerate(BOTS):
        (tmp_path / name).mkdir()
        stores[name] = Store(tmp_path / name)
        # A minute apart each: trades of different bots lie between each other.
        lives[name] = Life(stores[name], start_ms=1_735_675_200_000 + number * 60_000)
    (tmp_path / "archive").mkdir()
    place = Place(Archive(str(tmp_path / "archive"), 90, None, "us-east-1", None, None))

    async def run():
        async with await pool(address, 3) as connections:
            ledger = Ledger(connections, History(connections, place))
            for days in (20, 200, 250, 30):
                for name, (account, mode, times) in BOTS.items():
                    life = lives[name]
                    life.swing(times)
                    life.disturb("part", times)
                    life.settle(kept=2)
                    life.minutes += days * MINUTES_OF_A_DAY
                    await copied(address, bot_of(tmp_path / name, name, mode, account))
                years = assert_equal(await ledger.books(), stores, tmp_path)
                now_ms = min(life.now_ms for life in lives.values())
                await archived(address, place, datetime.fromtimestamp(now_ms / 1000, UTC))
                assert_equal(await ledger.books(), stores, tmp_path)
            again = await Ledger(connections, History(connections, place)).books()
            assert assert_equal(again, stores, tmp_path) == years
            return years

    try:
        assert asyncio.run(run()) == {"2024", "2025", "2026"}
    finally:
        for store in stores.values():
            store.close()
