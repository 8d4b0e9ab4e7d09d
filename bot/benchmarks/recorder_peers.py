"""What `recorder.py` measures the recorder against: two other ways from messages to Parquet.

Neither notices what is missing in trades, and a kill loses the files that are open.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

PLAIN_ROWS, CRYPTOFEED_ROWS = 100, 10_000  # in a group


class Groups:
    """Parquet with pyarrow's defaults: a file for each symbol, written each so many rows.

    Args:
        directory: of the files.
        names: of the columns.
        rows: in a group.
    """

    def __init__(self, directory: Path, names: tuple[str, ...], rows: int) -> None:
        self._directory, self._names, self._rows = directory, names, rows
        self._waiting: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self._writers: dict[str, Any] = {}

    def add(self, symbol: str, row: dict[str, Any]) -> None:
        """Take a row."""
        waiting = self._waiting[symbol]
        waiting.append(row)
        if len(waiting) >= self._rows:
            self._write(symbol)

    def _write(self, symbol: str) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = self._waiting.pop(symbol)
        table = pa.table({name: [row[name] for row in rows] for name in self._names})
        if symbol not in self._writers:
            path = self._directory / f"{symbol}.parquet"
            self._writers[symbol] = pq.ParquetWriter(path, table.schema)
        self._writers[symbol].write_table(table)

    def close(self) -> None:
        """Write what waits."""
        for symbol in list(self._waiting):
            self._write(symbol)
        for writer in self._writers.values():
            writer.close()


def plain(texts: list[str], directory: Path, kind: str, _: Callable[[str], Any]) -> None:
    """JSON, then groups of 100 rows, prices as texts: what a first version of a pipeline does."""
    names = ("T", "a", "p", "q", "f", "l", "m") if kind == "trades" else ("E", "U", "u", "b", "a")
    groups = Groups(directory, names, PLAIN_ROWS)
    for text in texts:
        data = json.loads(text)["data"]
        groups.add(data["s"], data)
    groups.close()


def cryptofeed(
    texts: list[str], directory: Path, kind: str, snapshot: Callable[[str], Any]
) -> None:
    """Cryptofeed's own feed of Binance, its callbacks, then groups of 10,000 rows.

    It keeps the books, and asks for their snapshots; of a difference its levels are written.
    """
    from cryptofeed.defines import L2_BOOK, TRADES
    from cryptofeed.exchanges import Binance
    from cryptofeed.symbols import Symbols

    known = {text[11 : text.index("@")].upper() for text in texts}
    Symbols.set(Binance.id, {f"{name[:-4]}-{name[-4:]}": name for name in known}, {})
    trade_names = ("symbol", "side", "amount", "price", "id", "timestamp")
    level_names = ("timestamp", "sequence", "side", "price", "size")
    groups = Groups(directory, trade_names if kind == "trades" else level_names, CRYPTOFEED_ROWS)

    async def traded(trade: Any, _: float) -> None:
        groups.add(trade.symbol, trade.to_dict(numeric_type=float))

    async def changed(book: Any, _: float) -> None:
        for side, levels in (book.delta or {}).items():
            for price, size in levels:
                row = (book.timestamp, book.sequence_number, side, float(price), float(size))
                groups.add(book.symbol, dict(zip(level_names, row, strict=True)))

    class Snapshots:
        async def read(self, address: str) -> str:
            return json.dumps(snapshot(address.partition("symbol=")[2].partition("&")[0]))

    feed = Binance(
        symbols=sorted(Symbols.get(Binance.id)[0]),
        channels=[TRADES if kind == "trades" else L2_BOOK],
        callbacks={TRADES: traded, L2_BOOK: changed},
    )
    feed.http_conn = Snapshots()

    async def take() -> None:
        for text in texts:
            await feed.message_handler(text, None, 0.0)

    asyncio.run(take())
    groups.close()


def with_cryptofeed(packages: Path) -> None:
    """Load it in this process, of a directory that has the packages of `cryptofeed.lock`."""
    sys.path.insert(0, str(packages))
    __import__("cryptofeed.exchanges")
