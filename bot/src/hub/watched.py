"""What an option watcher has kept: its Parquet files, in order, and how their rows are written.

A file appears as a whole when its day is over. The latest day that was copied is read again where
its file has changed: rows that came later are in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

# More would keep the bot's trades waiting; a day has 20, of which a new collector reads all again.
MOST_FILES = 50
# Of each kind of file: the table, and its columns beside time and symbol.
_TABLES: dict[str, tuple[str, dict[str, str]]] = {
    "options": (
        "option_snapshots",
        {"expiry": "date", "strike": "numeric", "right": "text"}
        | dict.fromkeys(
            ("under_price", "bid", "ask", "model", "volatility", "delta", "gamma", "vega", "theta"),
            "numeric",
        ),
    ),
    "bars": (
        "stock_bars",
        dict.fromkeys(("open", "high", "low", "close", "volume"), "numeric"),
    ),
}


@dataclass(frozen=True)
class DayFile:
    """One file of the watcher.

    Attributes:
        path: where it is.
        kind: options or bars.
        symbol: of the stock.
        date: its day, such as ``2026-11-10``.
        changed: when it was written (ns).
    """

    path: Path
    kind: str
    symbol: str
    date: str
    changed: int

    @property
    def insert(self) -> str:
        """Writes its rows, those that are new; tells how many. Arguments as `columns` has them."""
        table, types = _TABLES[self.kind]
        names = ", ".join(f'"{name}"' for name in types)
        arrays = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(types.values(), 3))
        return (
            f"WITH new AS (INSERT INTO {table} (symbol, time, {names})"  # noqa: S608  constants
            f" SELECT $1::text, to_timestamp(ms / 1000) + ms % 1000 * interval '1 ms', {names}"
            f" FROM unnest($2::bigint[], {arrays}) AS seen (ms, {names})"
            " ON CONFLICT DO NOTHING RETURNING 1) SELECT count(*) FROM new"
        )

    def columns(self) -> list[Any]:
        """The symbol, times, and a list for each column of the table.

        Raises:
            ValueError: it cannot be read, or has other columns.
            OSError: it is gone.
        """
        import pyarrow.parquet as pq  # a collector beside no watcher does without

        rows = pq.ParquetFile(self.path).read()
        names = ["time_ms", *_TABLES[self.kind][1]]
        if missing := set(names) - set(rows.column_names):
            raise ValueError(f"it has no {', '.join(sorted(missing))}")
        return [self.symbol, *([_exact(one) for one in rows[name].to_pylist()] for name in names)]


class Watched:
    """A watcher's directory.

    Args:
        directory: its `directory`.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: dict[Path, int] = {}
        self._unreadable: dict[Path, str] = {}

    @property
    def problem(self) -> str:
        """Which file cannot be read, and why; empty where all can."""
        return next((f"{path}: {why}" for path, why in self._unreadable.items()), "")

    def since(self, date: str) -> Iterator[tuple[DayFile, list[Any]]]:
        """Files of a day and later ones that were not read yet, and their columns.

        A file that cannot be read is left out until it is another one: see `problem`.

        Args:
            date: such as ``2026-11-10``; empty: all of them.
        """
        try:
            found = [one for one in self._files(date) if self._read.get(one.path) != one.changed]
        except OSError as error:  # not the database's, which would be left in peace for it
            self._unreadable[self._directory] = str(error.strerror or error)
            return
        self._unreadable.pop(self._directory, None)
        found.sort(key=lambda one: (one.date, one.kind, one.symbol))
        for one in islice(found, MOST_FILES):
            self._unreadable.pop(one.path, None)
            try:
                columns = one.columns()
            except (ValueError, OSError) as error:
                self._unreadable[one.path] = " ".join(str(error).split())
            else:
                yield one, columns
            self._read[one.path] = one.changed  # only once its rows are committed

    def _files(self, date: str) -> Iterator[DayFile]:
        for kind in _TABLES:
            for place in self._directory.glob(f"ready/exchange=ib/kind={kind}/symbol=*"):
                for day in place.iterdir():
                    path, its = day / "day.parquet", day.name.removeprefix("date=")
                    if its >= date and path.exists():
                        symbol = place.name.removeprefix("symbol=")
                        yield DayFile(path, kind, symbol, its, path.stat().st_mtime_ns)


def _exact(value: Any) -> Any:
    """Without floats: their shortest texts are what the Gateway wrote."""
    return Decimal(str(value)) if isinstance(value, float) else value
