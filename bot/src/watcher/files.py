"""What the watcher keeps: a journal of the day, Parquet files of days that are over, the signal.

A journal has a line of JSON for each look, and is on the disk when it was written; a line that was
cut at the end of a killed process is left out. Parquet files are laid out as the recorder's, appear
as a whole, and take in what was there: a journal that was converted twice changes nothing.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from gridbase.atomic_file import write_whole
from gridbase.errors import ExitCode, UserError

from watcher.choosing import day_of
from watcher.cycle import Look
from watcher.listener import MOST

ACTIVE, READY, SIGNAL = "active", "ready", "signal.json"
PRICE = pa.decimal128(18, 6)
STEP = Decimal("0.000001")
OPTIONS = pa.schema(
    [
        ("time_ms", pa.int64()),
        ("under_price", PRICE),
        ("expiry", pa.date32()),
        ("strike", PRICE),
        ("right", pa.string()),
        ("bid", PRICE),
        ("ask", PRICE),
        *((name, pa.float64()) for name in ("model", "volatility", "delta", "gamma", "vega")),
        ("theta", pa.float64()),
    ]
)
BARS = pa.schema(
    [
        ("time_ms", pa.int64()),
        *((name, PRICE) for name in ("open", "high", "low", "close")),
        ("volume", pa.float64()),
    ]
)
Rows = dict[tuple[Any, ...], dict[str, Any]]
KEYS = {"options": ("time_ms", "expiry", "strike", "right"), "bars": ("time_ms",)}


class Files:
    """The data directory.

    Args:
        directory: created where it is missing.

    Raises:
        UserError: it cannot be written.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        try:
            for name in (ACTIVE, READY):
                (directory / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> UserError:
        reason = error.strerror or error
        return UserError(
            f"directory = {self.directory}: cannot be written: {reason}", ExitCode.STATE
        )

    def add(self, day: str, looks: list[Look]) -> None:
        """Write looks into the journal of a day.

        Args:
            day: the exchange's, such as ``20261110``.
            looks: of one cycle.

        Raises:
            UserError: the disk does not take them.
        """
        path = self.directory / ACTIVE / f"{day}.jsonl"
        lines = "".join(f"{json.dumps(asdict(look), allow_nan=False)}\n" for look in looks)
        try:
            with path.open("ab") as file:
                if file.tell() and not _ends_with_line(path):
                    file.write(b"\n")  # after a line that was cut
                file.write(lines.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise self._failed(error) from error

    def write_signal(self, document: dict[str, Any]) -> None:
        """Replace the signal file."""
        text = json.dumps(document, indent=1, allow_nan=False) + "\n"
        write_whole(self.directory / SIGNAL, text.encode())

    def convert(self, before: str = "99999999") -> list[Path]:
        """Make Parquet files of journals; returns those files.

        Args:
            before: days before this one are over.

        Raises:
            UserError: the disk does not take them.
        """
        written = []
        try:
            for journal in sorted((self.directory / ACTIVE).glob("*.jsonl")):
                if journal.stem < before:
                    written += self._convert(journal)
                    journal.unlink()
        except OSError as error:
            raise self._failed(error) from error
        return written

    def _convert(self, journal: Path) -> list[Path]:
        rows: dict[tuple[str, str], Rows] = {}
        for look in _read(journal):
            told = {
                "options": [_option(look, row) for row in look["options"]],
                # Of the first hour, some are of the day before.
                "bars": [_bar(row) for row in look["bars"]],
            }
            for kind, each in told.items():
                if each:
                    rows.setdefault((kind, look["symbol"]), {}).update(_keyed(kind, each))
        return [self._write(*key, journal.stem, each) for key, each in rows.items()]

    def _write(self, kind: str, symbol: str, day: str, rows: Rows) -> Path:
        directory = (
            self.directory / READY / "exchange=ib" / f"kind={kind}" / f"symbol={symbol}"
        ) / f"date={day_of(day)}"
        directory.mkdir(parents=True, exist_ok=True)
        path, schema = directory / "day.parquet", OPTIONS if kind == "options" else BARS
        latest = _keyed(kind, _earlier(path)) | rows
        table = pa.Table.from_pylist([latest[key] for key in sorted(latest)], schema=schema)
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd", compression_level=3)
        write_whole(path, sink.getvalue().to_pybytes())
        return path


def _earlier(path: Path) -> list[dict[str, Any]]:
    """Rows that are there already; a file that cannot be read is put aside."""
    if not path.exists():
        return []
    try:
        rows: list[dict[str, Any]] = pq.ParquetFile(path).read().to_pylist()
    except pa.ArrowException:
        path.rename(path.with_suffix(".unreadable"))
        return []
    return rows


def _ends_with_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _read(journal: Path) -> Iterator[dict[str, Any]]:
    """One after the other: a day of ten symbols is many times as large in memory."""
    with journal.open("rb") as file:
        for line in file:
            try:
                look = json.loads(line)
            except ValueError:  # cut
                continue
            yield look


def _keyed(kind: str, rows: Iterable[dict[str, Any]]) -> Rows:
    """Rows by what is there once."""
    return {tuple(row[name] for name in KEYS[kind]): row for row in rows}


def _price(value: float | None) -> Decimal | None:
    """ib_async's numbers are floats; their shortest texts are what the Gateway wrote."""
    known = value is not None and abs(value) < MOST
    return Decimal(str(value)).quantize(STEP) if known else None


def _option(look: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    amounts = {name: _price(row[name]) for name in ("strike", "bid", "ask")}
    return {
        **row,
        **amounts,
        "under_price": _price(look["price"]),
        "expiry": day_of(row["expiry"]),
    }


def _bar(row: dict[str, Any]) -> dict[str, Any]:
    amounts = {name: _price(row[name]) for name in ("open", "high", "low", "close")}
    return {"time_ms": row["time"] * 1000, "volume": row["volume"], **amounts}
