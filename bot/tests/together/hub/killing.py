"""Kills collector, archiver and database at random moments while a bot trades.

The bot is a grid on a price that walks, with a real store; collector and archiver are processes of
`hub`, the database is a real one with `fsync` on. At the end everything is copied and archived in
peace, and compared with the books: each trade once, every order's state, sums by hour, the ledger.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from gridbase.market import plain
from gridbase.tax_lots import Method
from gridbot.accounting import trade_history
from gridbot.accounting.settle import Settler
from gridbot.accounting.tax_report import document, write_report
from gridbot.store import Sample, Store
from hub.archive.place import Place
from hub.config import Archive
from hub.database import Address, migrate, pool
from hub.history import BEGIN, END, History, Wanted
from hub.ledger import Ledger
from hub.writing import moment

from bot.tests.bot.books.conftest import SYMBOL, Life
from bot.tests.together.hub.conftest import WRONG_DAYS, in_database, rows
from tests.postgres import Server

CONFIG = """
[database]
host = "{host}"
database = "kill"
user = "postgres"
[bot]
name = "pi1"
mode = "paper"
exchange = "binance"
account = "main"
state = "{state}"
[collector]
seconds = 1
status_file = "{directory}/status.json"
[archive]
place = "{directory}/archive"
after_days = 7
"""
KINDS = ("collector", "archiver", "database", "all")
# Days that pass between two kills: the oldest chunks become old enough to be archived.
_DAYS = 2
_LONGEST = 1.2
# Chunks of hours are four weeks long: of these, some are old enough at once.
_EARLIER_MS = 28 * 86_400_000
_PEACE_SECONDS = 120.0


class Killing:
    """One world.

    Args:
        directory: an empty one.
        seed: of moments and victims.
        kills: how many.
    """

    def __init__(self, directory: Path, seed: int, kills: int) -> None:
        self._directory = directory
        self._dice = random.Random(seed)  # noqa: S311  to be repeated
        self._kills = kills
        for name in ("state", "archive"):
            (directory / name).mkdir()
        self.server = Server(directory / "server")
        self.address = Address(self.server.host, self.server.port, "kill", "postgres")
        self.counts: Counter[str] = Counter()
        self._hours: list[tuple[datetime, str, int]] = []

    def run(self) -> Counter[str]:
        """Trade and kill, then compare; what was done, by kind.

        Raises:
            AssertionError: something is lost, doubled, or another one.
        """
        with self.server:
            self.server.sql("CREATE DATABASE kill")
            in_database(self.address, migrate)
            self._configure()
            store = Store(self._directory / "state")
            try:
                self._trade(store)
                self._settle_down()
                self._compare(store)
            finally:
                store.close()
        return self.counts

    def _configure(self) -> None:
        words = {"host": self.address.host, "state": self._directory / "state"}
        text = CONFIG.format(**words, directory=self._directory)
        (self._directory / "hub.toml").write_text(text)

    def _start(self, command: str) -> subprocess.Popen[bytes]:
        self.counts[f"{command} started"] += 1
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        config = str(self._directory / "hub.toml")
        with (self._directory / f"{command}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "hub", command, "--config", config],
                env=environment,
                stdout=log,
                stderr=log,
            )

    def _trade(self, store: Store) -> None:
        span = timedelta(days=_DAYS * self._kills + 15)
        begin = datetime.now(UTC) - span
        life = Life(store, start_ms=int(begin.timestamp() * 1000))
        settler = Settler(store, 5)
        collector = self._start("collect")
        for _ in range(self._kills):
            archiver = self._start("archive")
            life.minutes += _DAYS * 24 * 60
            life.swing(1)
            self._watch(store, life.now_ms - _EARLIER_MS)
            settler.run(life.grid_run, life.engine)
            time.sleep(self._dice.uniform(0, _LONGEST))
            victim = self._dice.choice(KINDS)
            self.counts[f"{victim} killed"] += 1
            if victim in {"collector", "all"}:
                collector.kill()
            if victim in {"archiver", "all"}:
                archiver.kill()
            if victim in {"database", "all"}:
                self.server.kill()
                self.server.start()
            archiver.wait(timeout=_PEACE_SECONDS)
            if victim in {"collector", "all"}:
                collector.wait(timeout=_PEACE_SECONDS)
                collector = self._start("collect")
            assert collector.poll() is None  # it outlives the database
        collector.kill()
        collector.wait()

    def _watch(self, store: Store, now_ms: int) -> None:
        """Two hours as the bot has seen its price; the second one is seen again, and grows."""
        close = Decimal(self._dice.randint(40_000, 60_000))
        for hour_ms in (
            now_ms // 3_600_000 * 3_600_000 - 3_600_000,
            now_ms // 3_600_000 * 3_600_000,
        ):
            for _ in range(2):
                store.sample([Sample(SYMBOL, hour_ms, close, close, close, close, 60, 60)])
            self._hours.append((moment(hour_ms), plain(close), 120))

    def _settle_down(self) -> None:
        """Copy and archive in peace; twice, for what comes late."""
        for _ in range(2):
            collector = self._start("collect")
            until = time.monotonic() + _PEACE_SECONDS
            quiet = 0
            while quiet < 3:
                assert collector.poll() is None
                assert time.monotonic() < until, self._status()
                before = self._total()
                time.sleep(1.2)
                status = self._status()
                well = '"problem": ""' in status and '"rounds": 0' not in status
                quiet = quiet + 1 if well and self._total() == before else 0
            collector.terminate()
            assert collector.wait(timeout=30) == 0
            archiver = self._start("archive")
            assert archiver.wait(timeout=_PEACE_SECONDS) == 0

    def _status(self) -> str:
        """What the collector says of itself; on a busy machine it may take its time."""
        path = self._directory / "status.json"
        return path.read_text() if path.exists() else '"rounds": 0'

    def _total(self) -> list[tuple[int, ...]]:
        return rows(
            self.address,
            "SELECT (SELECT count(*) FROM fills), (SELECT count(*) FROM late_fills),"
            " (SELECT sum(rows)::bigint FROM archive_files), (SELECT count(*) FROM orders),"
            " (SELECT count(*) FROM late_orders), (SELECT count(*) FROM candles),"
            " (SELECT count(*) FROM late_candles)",
        )

    def _compare(self, store: Store) -> None:
        found, ledger, orders, hours = asyncio.run(self._everything())
        names = [row.trade_id for row in found]
        expected = sorted(fill.trade_id for _, fill in trade_history.trades(store, SYMBOL))
        assert sorted(names) == expected
        assert len({row.client_id for row in orders}) == len(orders)
        states = {row.client_id: row.state for row in orders}
        every = trade_history.rows(store, SYMBOL)
        assert states == {row.order.client_id: row.order.state[0] for row in every}
        assert hours == self._hours
        known = rows(self.address, "SELECT sum(fills)::bigint FROM flows")
        assert known == [(len(expected),)]
        assert rows(self.address, WRONG_DAYS) == []
        report = write_report(store, [SYMBOL], None, Method.FIFO, self._directory / "tax.csv")
        own = document(report, Method.FIFO)["symbols"][SYMBOL]
        assert {name: ledger[name] for name in own} == own
        self.counts["trades"] = len(expected)
        archived = rows(
            self.address,
            "SELECT hypertable, sum(rows)::bigint FROM archive_files GROUP BY hypertable",
        )
        for table, count in archived:
            self.counts[f"{table} in the archive"] = count

    async def _everything(self):
        place = Place(Archive(str(self._directory / "archive"), 7, None, "us-east-1", None, None))
        async with await pool(self.address, 2) as connections:
            history = History(connections, place)
            runs = [row["id"] for row in await connections.fetch("SELECT id FROM grid_runs")]
            found = [row async for row in history.ordered(runs)]
            (book,) = await Ledger(connections, history).books()
            orders = await history.orders(Wanted(), 1_000_000)
            bot = await connections.fetchval("SELECT id FROM bots")
            hours = await history.hours(bot, SYMBOL, BEGIN, END, 1_000_000)
            seen = [(row["time"], row["close"], row["seconds"]) for row in hours]
            return found, book.document(), orders, seen
