"""The schema comes up to date from every older version, by itself, and refuses what is wrong."""

import asyncio
from dataclasses import replace

import pytest
from hub.database import DatabaseError, connect, migrate, migrations, require_schema

from bot.tests.together.hub.conftest import database, in_database, rows
from tests.postgres import Server
from tests.trixie_root import MachineMissingError

STEPS = migrations()
# What a database of that version held, and what must be there afterwards.
CONTENT = {
    1: (
        """INSERT INTO bots (name, mode, exchange, account, heard)
        VALUES ('old', 'paper', 'binance', 'main', now())""",
        "SELECT name FROM bots",
        [("old",)],
    ),
    2: (
        """INSERT INTO incidents (bot_id, kind, symbol, at, code, text)
        SELECT id, 'pause', 'BTC/USDT', now(), 'kept', 'why' FROM bots""",
        "SELECT text FROM incidents",
        [("why",)],
    ),
    4: (
        """INSERT INTO flows VALUES
        (1, '2026-01-01 00:00Z', 'BTC', 0.1, 0, 1), (1, '2026-01-01 23:00Z', 'BTC', 0.02, 0.5, 2),
        (1, '2026-01-02 00:00Z', 'BTC', 7, 0, 4), (2, '2026-01-01 23:00Z', 'BTC', 9, 0, 5)""",
        "SELECT run_id, day::text, amount::text, fees::text, fills FROM flow_days ORDER BY 1, 2",
        [
            (1, "2026-01-01", "0.12", "0.5", 3),
            (1, "2026-01-02", "7", "0", 4),
            (2, "2026-01-01", "9", "0", 5),
        ],
    ),
    8: (
        """INSERT INTO stock_bars VALUES ('2026-11-10 14:30Z', 'SPY', 500.1, 500.2, 499.9, 500, 12);
        INSERT INTO option_snapshots (time, symbol, expiry, strike, "right", bid)
        VALUES ('2026-11-10 14:30:00.007Z', 'SPY', '2026-11-20', 500, 'C', 1.1)""",
        "SELECT close::text, bid::text FROM stock_bars JOIN option_snapshots USING (symbol)",
        [("500", "1.1")],
    ),
}


@pytest.mark.parametrize("version", range(len(STEPS) + 1))
def test_from_every_older_version(server, version):
    address = database(server)

    async def run(connection):
        await migrate(connection, STEPS[:version] or STEPS[:1])
        for number, (fill, _, _) in CONTENT.items():
            if number <= version:
                await connection.execute(fill)
        applied = await migrate(connection)
        assert await migrate(connection) == []
        await require_schema(connection)
        return applied

    applied = in_database(address, run)
    assert applied == [step.name for step in STEPS[max(version, 1) :]]
    for number, (_, look, expected) in CONTENT.items():
        if number <= version:
            assert rows(address, look) == expected


def test_two_programs_at_once(server):
    address = database(server)

    async def run():
        connections = [await connect(address) for _ in range(3)]
        return await asyncio.gather(*(migrate(one) for one in connections))

    assert sorted(map(len, asyncio.run(run()))) == [0, 0, len(STEPS)]


def test_a_step_that_fails_leaves_the_version_before(server):
    address = database(server)
    broken = replace(STEPS[1], text=STEPS[1].text + "\nSELECT 1 / 0;")

    async def run(connection):
        with pytest.raises(Exception, match="division by zero"):
            await migrate(connection, [STEPS[0], broken])
        with pytest.raises(
            DatabaseError, match=r"has schema 1, this hub needs \d+; run: hub migrate"
        ):
            await require_schema(connection)
        await migrate(connection)

    in_database(address, run)


def test_what_is_refused(address):
    async def run(connection):
        with pytest.raises(DatabaseError, match=r"has schema \d+, this hub knows 1; use the newer"):
            await migrate(connection, STEPS[:1])
        with pytest.raises(DatabaseError, match=r"0001_books.sql was applied with another text"):
            await migrate(connection, [replace(STEPS[0], text="SELECT 1"), *STEPS[1:]])

    in_database(address, run)


def test_without_timescaledb_one_line(tmp_path):
    try:
        server = Server(tmp_path / "plain", settings={"shared_preload_libraries": "''"})
    except MachineMissingError as error:
        pytest.skip(f"TimescaleDB: {error}")
    missing = r"^TimescaleDB is missing .* \(shared_preload"
    with server, pytest.raises(DatabaseError, match=missing):
        in_database(database(server), migrate)
