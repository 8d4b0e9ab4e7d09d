"""Recorded days in the format of Binance's public dumps: a zip with one CSV, and its checksum."""

import csv
import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

from gridbase.errors import UserError
from gridbase.market import plain

from recorder.core.rows import COLUMNS, Kind, Row, Stream
from recorder.core.steps import Sizes
from recorder.files.catalog import Catalog
from recorder.files.layout import READY
from recorder.files.parquet import groups, schema_of, sizes_of
from recorder.recording.messages import INTERVAL, INTERVAL_MS

NAMES = {Kind.TRADES: "aggTrades", Kind.CANDLES: INTERVAL}
MICROSECONDS = 1_000  # in a millisecond: the unit of spot dumps since 2025


def export_day(catalog: Catalog, stream: Stream, date: str, target: Path) -> Path:
    """Write one day as Binance does.

    Args:
        catalog: of the data directory.
        stream: trades or candles of a symbol.
        date: the day, such as 2026-01-31.
        target: directory of the zip.

    Returns:
        The zip; its checksum lies beside it.

    Raises:
        UserError: nothing is recorded of that day.
    """
    entries = [entry for entry in catalog.files(stream, date) if catalog.is_local(entry.path)]
    if not entries:
        raise UserError(f"{stream.symbol}: no {stream.kind} of {date} are here")
    name = f"{stream.symbol}-{NAMES[stream.kind]}-{date}"
    path = target / f"{name}.zip"
    temporary = path.with_suffix(".tmp")
    with (
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(f"{name}.csv", "w") as raw,
        io.TextIOWrapper(raw, encoding="ascii", newline="") as text,
    ):
        write = csv.writer(text, lineterminator="\n").writerow
        for entry in entries:
            file = catalog.directory / READY / entry.path
            sizes = sizes_of(schema_of(file))
            for row in _rows(file, stream.kind):
                write(_trade(row, sizes) if stream.kind == Kind.TRADES else _candle(row, sizes))
    digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
    temporary.replace(path)
    path.with_name(f"{path.name}.CHECKSUM").write_text(f"{digest}  {path.name}\n", encoding="ascii")
    return path


def _rows(path: Path, kind: Kind) -> Iterator[Row]:
    for batch in groups(path):
        columns = [batch.column(name).to_pylist() for name in COLUMNS[kind]]
        yield from zip(*columns, strict=True)


def _trade(row: Row, sizes: Sizes) -> list[object]:
    time_ms, number, price, quantity, first, last, seller_took = row
    return [
        number,
        plain(price * sizes.price),
        plain(quantity * sizes.quantity),
        first,
        last,
        time_ms * MICROSECONDS,
        bool(seller_took),
        True,
    ]


def _candle(row: Row, sizes: Sizes) -> list[object]:
    time_ms, *prices, volume, quote_volume, trades, taker_volume, taker_quote_volume = row
    return [
        time_ms * MICROSECONDS,
        *(plain(price * sizes.price) for price in prices),
        plain(volume * sizes.quantity),
        (time_ms + INTERVAL_MS) * MICROSECONDS - 1,
        plain(quote_volume * sizes.quote),
        trades,
        plain(taker_volume * sizes.quantity),
        plain(taker_quote_volume * sizes.quote),
        0,
    ]
