"""A real TimescaleDB for the hub, and bots whose books it copies."""

import asyncio
import itertools
import tempfile
from pathlib import Path

import pytest
from gridbot.store import Store
from hub.books import Books
from hub.collector import Copier
from hub.config import Bot
from hub.database import Address, connect, migrate

from tests.postgres import Server
from tests.trixie_root import MachineMissingError

# TimescaleDB's workers hold connections, which no database that is copied may have.
QUICK = {"fsync": "off", "full_page_writes": "off", "timescaledb.max_background_workers": "0"}
_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def server():
    with tempfile.TemporaryDirectory() as directory:
        try:
            started = Server(Path(directory) / "server", settings=QUICK)
        except MachineMissingError as error:
            pytest.skip(f"TimescaleDB: {error}")
        with started:
            yield started


def database(server, name=None):
    """A new, empty database."""
    name = name or f"hub{next(_NUMBERS)}"
    server.sql(f"CREATE DATABASE {name}")
    return Address(server.host, server.port, name, "postgres")


@pytest.fixture(scope="session")
def template(server):
    """A database with the newest schema, to be copied."""
    made = database(server, "template")
    in_database(made, migrate)
    return made


@pytest.fixture
def address(server, template):
    """A new database with the newest schema."""
    name = f"hub{next(_NUMBERS)}"
    server.sql(f"CREATE DATABASE {name} TEMPLATE {template.database} STRATEGY file_copy")
    return Address(server.host, server.port, name, "postgres")


def in_database(address, action, *arguments):
    """What a coroutine function returns that is given a connection."""

    async def run():
        connection = await connect(address)
        try:
            return await action(connection, *arguments)
        finally:
            await connection.close()

    return asyncio.run(run())


def rows(address, query, *arguments):
    async def fetch(connection):
        return [tuple(row) for row in await connection.fetch(query, *arguments)]

    return in_database(address, fetch)


def bot_of(directory, name="pi1", mode="paper", account="main"):
    return Bot(name, mode, "binance", account, directory, None)


def collect(address, bot):
    """One run of the collector over all that is there; the number of new trades."""

    async def run(connection):
        books = Books(bot.state)
        try:
            copier = Copier(connection, books, bot)
            await copier.begin()
            return await copier.round()
        finally:
            books.close()

    return in_database(address, run)


@pytest.fixture
def store(tmp_path):
    directory = tmp_path / "state"
    directory.mkdir()
    opened = Store(directory)
    yield opened
    opened.close()


# Sums by day that are not those of the hours.
WRONG_DAYS = """
SELECT * FROM flow_days FULL JOIN (
    SELECT run_id, (hour AT TIME ZONE 'UTC')::date AS day, coin, sum(amount) AS amount,
           sum(fees) AS fees, sum(fills)::bigint AS fills
    FROM flows GROUP BY 1, 2, 3
) AS hours USING (run_id, day, coin, amount, fees, fills)
WHERE flow_days IS NULL OR hours IS NULL
"""
