"""The hub's database on this machine: inserts, savings, answers, and a month of absence.

    python bot/benchmarks/hub_load.py [--fills N] [--seconds S] [--candles FILE]

Six measurements, of which each compares in one run:

inserts   rows a second through the collector's path from a bot's books, beside pgbench's own
          transactions with as many connections (one)
savings   bytes a row of trades, orders and hours in the database and in the archive, with indexes;
          equal sums on both sides, and equal answers before and after; of real candles, too, where
          a file of them is given
books     what `hub keep` needs to book all trades for the first time, and again; then how long
          a hub that starts needs for them, and how long others wait meanwhile
answers   p50, p95 and p99 of the API at 50 requests a second, by kind, with N fills stored, while
          100 clients listen to the fleet, and the processor time of each, which does not depend on
          what else the machine does
page      all that the page asks for, one after the other, and until when each of the clients has
          heard what a bot said, at that load
absence   a month of trades that the database has missed: how long it takes to catch up, and the
          bot's CPU time a step with a collector beside it and without, by turns

Needs root, for a server from Debian's packages (tests/postgres.py). Exits 1 beyond a limit.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import selectors
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

BOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(BOT / "src"), str(BOT.parent)]

from gridbase.candles.price_units import print_units  # noqa: E402  the path is set above
from gridbase.candles.reader import open_candles  # noqa: E402  the path is set above
from gridbot.store import Store  # noqa: E402  the path is set above
from hub.archive.archiver import Archiver  # noqa: E402  the path is set above
from hub.archive.place import Place  # noqa: E402  the path is set above
from hub.archive.rows import KINDS, Kind  # noqa: E402  the path is set above
from hub.books import Books  # noqa: E402  the path is set above
from hub.collector import Copier  # noqa: E402  the path is set above
from hub.config import Archive, Bot  # noqa: E402  the path is set above
from hub.database import Address, connect, migrate, pool  # noqa: E402  the path is set above
from hub.history import BEGIN, END, History  # noqa: E402  the path is set above
from hub.keeper import book  # noqa: E402  the path is set above
from hub.writing import COUNT_LATE  # noqa: E402  the path is set above

from bot.tests.bot.books.conftest import Life  # noqa: E402  the path is set above
from bot.tests.together.hub.test_api import Client, subprocess_hub  # noqa: E402  the path is set above
from tests.postgres import Server  # noqa: E402  the path is set above

LEAST_SAVED, MOST_P95_MS, LEAST_ROWS = 90.0, 50.0, 1000.0
MOST_PAGE_SECONDS, LISTENERS, TELL_SECONDS = 2.0, 100, 1.0
# Processor time of an answer, hub and database together: what other programs do does not change it.
MOST_CPU_MS = 10.0
BOTS = 20
TURNS = 20
T_95 = 2.093  # Student's t of 19 degrees of freedom
MOST_RATIO = 1.05
ASKED = 40
# A year that ends today: the page asks for the last month.
DAYS = 364
FIRST = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(DAYS)
MIDDLE = f"{FIRST + timedelta(DAYS // 2):%Y-%m-%dT%H:%M:%SZ}"
# A grid's trades: prices walk on lines, quantities are lots, a fee is a thousandth.
MADE_UP = """
INSERT INTO fills
SELECT date_trunc('milliseconds', $4::timestamptz + i * $1::interval)
       + (random() * 900)::int * interval '1 ms',
       i % 20 + 1, 1, CASE WHEN i / 20 % 2 = 0 THEN 'b' ELSE 's' END::"char", 'g', true,
       6000000 + ((sin(i / 5000.0) * 40)::bigint + (random() * 4)::bigint) * 12345,
       100 + i % 20, NULL,
       round((60000 + (sin(i / 5000.0) * 40)::numeric * 123) * 0.001 * 0.001, 8), 'USDT',
       (900000000 + i * 7)::text,
       'pi' || (i % 20 + 1) || '-BTCUSDT-abc123-' || (random() * 40)::int || 'b' || i / 800
FROM generate_series($2::bigint, $3::bigint) i
"""
# A bot that has ended: its latest trades are behind millions of others'.
LONG_AGO = """
INSERT INTO fills
SELECT $1::timestamptz + i * interval '5 minutes', 21, 1,
       CASE i % 2 WHEN 1 THEN 'b' ELSE 's' END::"char", 'g', true, 6000000, 100, NULL, 0.06, 'USDT',
       i::text, 'pi21-BTCUSDT-abc123-' || i
FROM generate_series(1, 2000) i
"""
# Sums by hour and day, as the collector adds them up.
COUNT_ALL = COUNT_LATE.replace("FROM late", "FROM fills")
FLEET = """
INSERT INTO bots (name, mode, exchange, account, heard)
SELECT 'pi' || i, 'paper', 'binance', 'main', now() FROM generate_series(1, 21) i;
INSERT INTO markets (base, quote, tick_size, lot_size) VALUES ('BTC', 'USDT', 0.01, 0.00001);
INSERT INTO grid_runs (bot_id, tag, number, symbol, base, quote, investment, carried, carried_cost,
                       settings, lines, started)
SELECT i, 'abc123', 1, 'BTC/USDT', 'BTC', 'USDT', 1000, 0, 0, '{}', '[]',
       now() - interval '365 days'
FROM generate_series(1, 21) i;
"""
AFTER = """
INSERT INTO candles
SELECT date_trunc('day', now(), 'UTC') - interval '364 days' + (i / 20) * interval '1 hour',
       i % 20 + 1, 'BTC/USDT', price,
       price + (random() * 9000)::int * 0.01, price - (random() * 9000)::int * 0.01,
       price + (random() * 9000 - 4500)::int * 0.01, 3600, 3600
FROM (SELECT i, 60000 + (sin(i / 9000.0) * 500000)::int * 0.01 + (random() * 9000)::int * 0.01
      AS price FROM generate_series(1, 20 * 24 * 364) i) hours;
INSERT INTO orders
SELECT time - (random() * 3600000)::int * interval '1 ms', run_id, 1, side, 'g',
       CASE WHEN random() < 0.05 THEN 'c' ELSE 'f' END::"char", (random() * 40)::int, 1, price,
       quantity, client_id || '-' || trade_id, (trade_id::bigint * 3 + (random() * 3)::int)::text
FROM fills WHERE random() < 0.25;
ANALYZE;
"""
REQUESTS = {
    "fills of all": "fills?limit=100",
    "fills of a bot": "fills?bot=pi7&limit=100",
    "fills of long ago": "fills?bot=pi21&limit=100",
    "a later page": f"fills?bot=pi3&limit=100&to={MIDDLE}",
    "orders": "orders?bot=pi5&limit=100",
    "orders of long ago": "orders?bot=pi21&limit=100",
    "orders that trade": "orders?state=live&limit=100",
    "earlier orders": f"orders?bot=pi6&limit=100&to={MIDDLE}",
    "equity": f"equity?bot=pi2&symbol=BTC%2FUSDT&from={MIDDLE}&limit=720",
    "candles": "candles?bot=pi2&symbol=BTC%2FUSDT&limit=720",
    "profit": "profit?bot=pi4&limit=100",
    "bots": "bots",
}
_MONTH = f"{datetime.now(UTC) - timedelta(30):%Y-%m-%dT%H:%M:%SZ}"
# What the page asks for when it is opened, in its order.
PAGE = (
    "/",
    "/api/v1/bots",
    "/api/v1/profit?bot=pi1&symbol=BTC%2FUSDT&mode=paper&limit=60",
    f"/api/v1/equity?bot=pi1&symbol=BTC%2FUSDT&mode=paper&limit=1000&from={_MONTH}",
    "/api/v1/fills?limit=20",
    "/api/v1/incidents?limit=10",
)
SAYS = """
UPDATE bots SET heard = now(), answered = now(), status = jsonb_build_object('state', $2::text,
    'grids', jsonb_build_array(jsonb_build_object('symbol', 'BTC/USDT', 'quote', 'USDT',
    'equity', '1000', 'profit', jsonb_build_object('total', '1')))) WHERE name = $1
"""


def bot_of(directory: Path, name: str = "pi1") -> Bot:
    """A bot whose books are in a directory."""
    return Bot(name, "paper", "binance", "main", directory, None)


async def copied(address: Address, bot: Bot) -> int:
    """Copy all that is new; how many trades."""
    connection = await connect(address)
    books = Books(bot.state)
    try:
        copier = Copier(connection, books, bot)
        await copier.begin()
        return await copier.round()
    finally:
        books.close()
        await connection.close()


def many(store: Store, count: int, begin_ms: int, step_ms: int) -> None:
    """So many more orders, each with its trade, as a bot would have settled them."""
    with store.transaction() as connection:
        last = connection.execute("SELECT coalesce(max(rowid), 0) FROM settled").fetchone()[0]
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2)"
            ' INSERT INTO settled (generation, pair, leg, role, side, line, "order", cycle,'
            " exchange_id, state, order_price, order_quantity, created_ms, trade_id, time_ms,"
            " price, quantity, quote, fee, fee_coin, maker, profit)"
            " SELECT 1, '', 'leg' || i, 'grid', CASE i % 2 WHEN 0 THEN 'buy' ELSE 'sell' END, 1,"
            " 'pi1-BTCUSDT-abc123-' || i % 40 || 'b' || i, i, i, 'filled', '50000.01', '0.00100',"
            " ?3 + i * ?4, CAST(5000000 + i AS TEXT), ?3 + i * ?4, '50000.01', '0.00100',"
            " '50.00001', '0.05000001', 'USDT', 1, NULL FROM n",
            (last + 1, last + count, begin_ms, step_ms),
        )


def inserts(server: Server, address: Address, directory: Path, seconds: int) -> bool:
    """Rows a second by the collector, beside pgbench's."""
    server.run(["pgbench", *_SOCKET, "-i", "-q", "-s", "1", "postgres"])
    done = server.run(["pgbench", *_SOCKET, "-c", "1", "-T", str(seconds), "postgres"])
    peer = float(re.findall(r"tps = ([\d.]+)", done)[0])
    store = Store(directory)
    Life(store)
    count = 2000 * seconds
    many(store, count, 1_767_225_600_000, 60_000)
    begin = time.monotonic()
    found = asyncio.run(copied(address, bot_of(directory)))
    rate = found / (time.monotonic() - begin)
    store.close()
    print(f"inserts: {rate:,.0f} trades a second with their orders; pgbench {peer:,.0f} tps;")
    print(f"         ratio {rate / peer:.1f}")
    return rate >= LEAST_ROWS


_SOCKET = ("-h", "/srv/socket", "-U", "postgres")


async def fill(address: Address, count: int) -> None:
    """Store made-up trades of a year."""
    connection = await connect(address)
    await connection.execute(FLEET)
    step = timedelta(DAYS) / count
    batch = 200_000
    for begin in range(0, count, batch):
        await connection.execute(MADE_UP, step, begin, min(count, begin + batch) - 1, FIRST)
        print(f"  {min(count, begin + batch):,} trades", file=sys.stderr, flush=True)
    await connection.execute(LONG_AGO, FIRST)
    await connection.execute(COUNT_ALL)
    await connection.execute(AFTER)
    await connection.close()


async def saved(address: Address, place: Place, until: datetime) -> bool:
    """Bytes a row before and after, of each table."""
    connection = await connect(address)
    before = {kind.table: await _sums(connection, kind, until) for kind in KINDS}
    begin = time.monotonic()
    moved = await Archiver(connection, place).run(until)
    took = time.monotonic() - begin
    enough = True
    for kind in KINDS:
        one = moved[kind.table]
        if not one.rows:
            continue
        files = await connection.fetch(
            "SELECT rows, sums FROM archive_files WHERE hypertable = $1", kind.table
        )
        after = [sum(file["rows"] for file in files)]
        after += [sum(Decimal(file["sums"][name]) for file in files) for name in kind.summed]
        stored, kept = one.before / one.rows, one.size / one.rows
        percent = 100 * (1 - kept / stored)
        print(f"savings: {kind.table:8} {stored:.1f} bytes a row in the database, {kept:.2f} in the"
              f" archive: {percent:.1f} % saved, {one.rows:,} rows; equal sums:"
              f" {after == before[kind.table]}")  # fmt: skip
        enough = enough and percent >= LEAST_SAVED and after == before[kind.table]
    await connection.close()
    rows = sum(one.rows for one in moved.values())
    print(f"savings: {rows / took:,.0f} rows a second")
    return enough


async def real_candles(address: Address, path: Path, place: Place) -> bool:
    """Bytes a row of real candles before and after, and whether each is the same afterwards."""
    rows = []
    for one in open_candles(path):
        prices = [Decimal(print_units(price)) for price in (one.open, one.high, one.low, one.close)]
        rows.append((BEGIN + timedelta(milliseconds=one.time), 1, "BTC/USDT", *prices, 60, 60))
    connection = await connect(address)
    await connection.copy_records_to_table("candles", records=rows)
    await connection.execute("ANALYZE")
    await connection.close()
    print(f"savings: {len(rows):,} real candles of {path.name}:")
    async with await pool(address, 1) as reading:
        history = History(reading, place)
        asked = (1, "BTC/USDT", BEGIN, END, len(rows))
        before = list(map(dict, await history.hours(*asked)))
        enough = await saved(address, place, END)
        equal = list(map(dict, await history.hours(*asked))) == before
    print(f"savings: equal answers before and after: {equal}")
    return enough and equal and len(before) == len(rows)


async def _sums(connection: Any, kind: Kind, until: datetime) -> list[Decimal]:
    """Count and sums of what is to be archived."""
    limit = await connection.fetchval(
        "SELECT max(range_end) FROM timescaledb_information.chunks"
        " WHERE hypertable_name = $1 AND range_end <= $2",
        kind.table,
        until,
    )
    sums = "".join(f", coalesce(sum({name})::numeric, 0)" for name in kind.summed)
    query = f"SELECT count(*){sums} FROM {kind.table} WHERE {kind.time} < $1"  # noqa: S608  constants
    return list(await connection.fetchrow(query, limit))


def alone(client: Client, processes: Callable[[], float]) -> None:
    """The same requests one after another: time, and CPU time of hub and database, of each."""
    for name, path in REQUESTS.items():
        took, before = [], processes()
        for _ in range(ASKED):
            begin = time.perf_counter()
            client.ask("/api/v1/" + path)
            took.append(1000 * (time.perf_counter() - begin))
        used = 1000 * (processes() - before) / ASKED
        print(f"alone:   {name:18} p50 {statistics.median(took):7.1f} ms, CPU time {used:5.1f} ms")


def cpu_seconds(roots: Sequence[int]) -> float:
    """CPU time of some processes and all that descend from them, by /proc."""
    # A backend of PostgreSQL is in a session and a group of its own: its parent tells.
    parents, used = dict[int, int](), dict[int, int]()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        number = int(stat.parent.name)
        parents[number], used[number] = int(fields[1]), int(fields[11]) + int(fields[12])
    counted = set(roots)
    for number in sorted(parents):  # a child mostly has a higher number than its parent
        if parents[number] in counted:
            counted.add(number)
    return sum(used.get(number, 0) for number in counted) / os.sysconf("SC_CLK_TCK")


class Listeners:
    """Clients that listen to the fleet, and a bot that says something now and then.

    Args:
        client: whose token and hub.
        address: of the database.
    """

    def __init__(self, client: Client, address: Address) -> None:
        self._address = address
        self._stack = ExitStack()
        self._heard: dict[socket.socket, bytes] = {}
        self._selector = self._stack.enter_context(selectors.DefaultSelector())
        for _ in range(LISTENERS):
            one = self._stack.enter_context(socket.create_connection(("127.0.0.1", client.port)))
            one.sendall(
                b"GET /api/v1/live HTTP/1.1\r\nHost: hub\r\n"
                b"Authorization: Bearer " + client.secret.encode() + b"\r\n\r\n"
            )
            self._selector.register(one, selectors.EVENT_READ)
            self._heard[one] = b""
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.waits: list[float] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self._stack.close()

    def _run(self) -> None:
        number = 0
        while not self._end.is_set():
            number += 1
            begin = time.monotonic()
            asyncio.run(self._say(f"said-{number}"))
            self.waits.append(self._all_hear(f"said-{number}".encode()) - begin)
            self._end.wait(max(0.0, begin + TELL_SECONDS - time.monotonic()))

    async def _say(self, word: str) -> None:
        connection = await connect(self._address)
        await connection.execute(SAYS, f"pi{int(word[5:]) % BOTS + 1}", word)
        await connection.execute("SELECT pg_notify('gridberry_fleet', 'pi')")
        await connection.close()

    def _all_hear(self, word: bytes) -> float:
        """When the last one has heard a word; never, where one is hung up or silent."""
        left, until = set(self._heard), time.monotonic() + 30
        while left and time.monotonic() < until:
            for found, _ in self._selector.select(1):
                one: Any = found.fileobj
                data = one.recv(65536)
                if not data:
                    return float("inf")
                self._heard[one] = (self._heard[one] + data)[-65536:]
                if b'"' + word + b'"' in self._heard[one]:
                    left.discard(one)
        return time.monotonic() if not left else float("inf")


def answers(client: Client, address: Address, seconds: int, used: Callable[[], float]) -> bool:
    """Percentiles at 50 requests a second, while others listen and one opens the page."""
    alone(client, used)
    took: dict[str, list[float]] = {name: [] for name in REQUESTS}
    threads, names, pages = list[threading.Thread](), list(REQUESTS), list[float]()

    def ask(path: str) -> float:
        begin = time.perf_counter()
        try:
            status, _, _ = client.ask(path)
        except OSError:
            status = 0
        return 1000 * (time.perf_counter() - begin) if status == 200 else 1e9

    def ask_one(name: str) -> None:
        took[name].append(ask("/api/v1/" + REQUESTS[name]))

    def open_page() -> None:
        pages.append(sum(map(ask, PAGE)) / 1000)

    with Listeners(client, address) as listeners:
        before, begin = used(), time.monotonic()
        for number in range(50 * seconds):
            time.sleep(max(0.0, begin + number / 50 - time.monotonic()))
            threads.append(threading.Thread(target=ask_one, args=(names[number % len(names)],)))
            threads[-1].start()
            if number % 100 == 50:
                threads.append(threading.Thread(target=open_page))
                threads[-1].start()
        for thread in threads:
            thread.join()
        cpu = used() - before
    every = [one for part in took.values() for one in part]
    for name, part in [*took.items(), ("all", every)]:
        cut = statistics.quantiles(part, n=100)
        print(f"answers: {name:18} p50 {cut[49]:7.1f} ms  p95 {cut[94]:7.1f}  p99 {cut[98]:7.1f}")
    cpu_ms = 1000 * cpu / len(every)
    print(f"answers: CPU time {cpu_ms:.1f} ms each; the machine's load: {os.getloadavg()[0]:.1f}"
          f" on {os.cpu_count()} cores")  # fmt: skip
    waits = listeners.waits
    print(f"page:    {statistics.median(pages):.3f} s (median of {len(pages)}), at most"
          f" {max(pages):.3f}")  # fmt: skip
    print(f"live:    {LISTENERS} clients heard {len(waits)} messages, the last client after"
          f" {statistics.median(waits):.2f} s (median), at most {max(waits):.2f}")  # fmt: skip
    quick = statistics.quantiles(every, n=100)[94] <= MOST_P95_MS and cpu_ms <= MOST_CPU_MS
    return quick and max(pages) <= MOST_PAGE_SECONDS and max(waits) < float("inf")


def history_of(client: Client) -> list[bytes]:
    """What the API says of the past, of the time that is to be archived and of the rest."""
    asked = [path for name, path in REQUESTS.items() if name != "bots"]
    old = [f"{path}{'&' if '?' in path else '?'}to={MIDDLE}" for path in asked if "to=" not in path]
    old = [path for path in old if "from=" not in path]
    return [client.ask("/api/v1/" + path)[2] for path in [*asked, *old, "ledger"]]


def booked(address: Address, archive: Archive) -> None:
    """Book all trades as `hub keep` does, for the first time and again."""
    for which in ("for the first time", "again"):
        begin, before = time.monotonic(), time.process_time()
        asyncio.run(book(address, archive))
        took, used = time.monotonic() - begin, time.process_time() - before
        print(f"books:   booked {which} in {took:.1f} s, CPU time without the database's"
              f" {used:.1f} s")  # fmt: skip


def first_books(client: Client, processes: Callable[[], float]) -> None:
    """Wait until the ledger's books are read; how long, and how long others waited meanwhile."""
    begin, before, waited = time.monotonic(), processes(), list[float]()
    reader = threading.Thread(target=_profit, args=(client,))
    reader.start()
    while reader.is_alive():
        asked = time.perf_counter()
        client.ask("/api/v1/fills?limit=10")
        waited.append(1000 * (time.perf_counter() - asked))
        reader.join(0.1)
    took, used = time.monotonic() - begin, processes() - before
    print(f"books:   read in {took:.1f} s, CPU time of what goes on {used:.1f} s;"
          f" others waited {statistics.median(waited):.1f} ms (median)")  # fmt: skip


def _profit(client: Client) -> None:
    while True:
        try:
            if client.ask("/api/v1/profit")[0] == 200:
                return
        except OSError:  # it waits for longer than this client does
            time.sleep(1)


def absence(address: Address, directory: Path) -> bool:
    """A month that the database has missed; the bot's CPU time with and without a collector."""
    store = Store(directory)
    life = Life(store)
    for _ in range(30):
        life.minutes += 24 * 60
        life.swing(1)
    bot = bot_of(directory, "away")
    begin = time.monotonic()
    found = asyncio.run(copied(address, bot))
    print(f"absence: a month of {found} trades caught up in {time.monotonic() - begin:.2f} s")
    whole = found == len(life.fills)
    stop = threading.Event()
    ratios = []
    for _ in range(TURNS):
        alone = _step_cpu(life)
        stop.clear()
        beside = threading.Thread(target=_collecting, args=(address, bot, stop))
        beside.start()
        ratios.append(_step_cpu(life) / alone)
        stop.set()
        beside.join()
    store.close()
    middle = statistics.mean(ratios)
    around = T_95 * statistics.stdev(ratios) / TURNS**0.5
    print(f"absence: CPU time of a step with a collector beside it, ratio {middle:.3f} ±"
          f" {around:.3f} (95 %, {TURNS} turns)")  # fmt: skip
    return whole and middle - around <= MOST_RATIO


def _collecting(address: Address, bot: Bot, stop: threading.Event) -> None:
    while not stop.is_set():
        asyncio.run(copied(address, bot))


def _step_cpu(life: Any) -> float:
    begin = time.thread_time()
    life.swing(1)
    return time.thread_time() - begin


def main() -> int:
    """Measure and print; 1 where a limit is passed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fills", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=int, default=20, help="of each load")
    parser.add_argument("--candles", type=Path, metavar="FILE", help="a month of real candles")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        for name in ("bot", "away", "archive", "hub"):
            (directory / name).mkdir()
        with Server(directory / "server", settings={"shared_buffers": "256MB"}) as server:
            results = run(server, directory, arguments)
    print(f"{len(results)} measurements, {results.count(False)} failed")
    return int(not all(results))


def run(server: Server, directory: Path, arguments: argparse.Namespace) -> list[bool]:
    """All measurements over one server."""

    async def made(name: str) -> Address:
        server.sql(f"CREATE DATABASE {name}")
        address = Address(server.host, server.port, name, "postgres")
        connection = await connect(address)
        await migrate(connection)
        await connection.close()
        return address

    first, large = asyncio.run(made("small")), asyncio.run(made("large"))
    results = [
        inserts(server, first, directory / "bot", arguments.seconds),
        absence(first, directory / "away"),
    ]
    if arguments.candles is not None:
        place = Place(Archive(str(directory / "archive")))
        real = asyncio.run(made("real"))
        results.append(asyncio.run(real_candles(real, arguments.candles, place)))
    asyncio.run(fill(large, arguments.fills))
    (directory / "hub" / "archive").mkdir()
    archive = Archive(str(directory / "hub" / "archive"))
    booked(large, archive)
    client, process = subprocess_hub(directory / "hub", server, large)

    def used() -> float:
        return cpu_seconds((server.process, process.pid))

    try:
        first_books(client, used)
        results.append(answers(client, large, arguments.seconds, used))
        before = history_of(client)
        place = Place(archive)
        results.append(asyncio.run(saved(large, place, FIRST + timedelta(DAYS // 2))))
        results.append(history_of(client) == before)
        print(f"savings: equal answers before and after: {results[-1]}")
        print("with half of the trades in the archive:")
        results.append(answers(client, large, arguments.seconds, used))
    finally:
        process.terminate()
        process.wait(timeout=30)
    return results


if __name__ == "__main__":
    sys.exit(main())
