"""The files of the archive: CSV that only ever grows, or one Parquet file for each batch.

Nothing of a file counts beyond the length that the database has recorded: what follows was written
by a process that was cut off, and is cut off as well.
"""

import csv
import io
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from gridbase.errors import UserError

from gridbot.core.orders import Fill, Order, OrderState, Role, Side, number_or_text
from gridbot.store import FileRecord, StoreError, TradeRow

CSV, PARQUET = "csv", "parquet"
COLUMNS = (
    "generation", "pair", "leg", "role", "side", "line", "order", "cycle", "exchange_id", "state",
    "order_price", "order_quantity", "created_ms", "trade_id", "time_ms", "price", "quantity",
    "quote", "fee", "fee_coin", "maker", "profit",
)  # fmt: skip
_INTEGERS = {"generation", "line", "cycle", "created_ms", "time_ms", "maker"}
_IDENTITIES = {"exchange_id", "trade_id"}  # numbers on some exchanges
_HEADER = (",".join(COLUMNS) + "\n").encode()


def file_name(symbol: str, year: int, form: str, batch: int) -> str:
    """``BTC-USDT-2026.csv``, or ``BTC-USDT-2026-000001.parquet`` for the first batch."""
    stem = f"{symbol.replace('/', '-')}-{year}"
    return f"{stem}-{batch:06}.{PARQUET}" if form == PARQUET else f"{stem}.{CSV}"


def _is_parquet(record: FileRecord) -> bool:
    return record.name.endswith("." + PARQUET)


def require_format(form: str) -> None:
    """Refuse a format that cannot be written here.

    Raises:
        UserError: names the setting and what is allowed.
    """
    if form == PARQUET:
        _require_pyarrow(
            'archive.format = "parquet" needs pyarrow, which is not installed here; install it, '
            'or set archive.format = "csv"'
        )


def _require_pyarrow(message: str) -> None:
    try:
        import pyarrow  # noqa: F401  is it there?
    except ImportError as error:
        raise UserError(message) from error


def append(directory: Path, record: FileRecord, rows: Iterable[TradeRow]) -> FileRecord:
    """Add rows to a file, on the disk when it returns; they count once the record is committed.

    Raises:
        StoreError: it cannot be written, or the file is shorter than it was.
    """
    try:
        _make_directory(directory)
        if _is_parquet(record):
            return _write_parquet(directory, record, list(rows))
        return _append_csv(directory, record, rows)
    except OSError as error:
        raise StoreError(
            f"archive {directory / record.name}: {error.strerror}", lasting=False
        ) from error


def _make_directory(directory: Path) -> None:
    if not directory.is_dir():
        directory.mkdir()
        _sync_directory(directory.parent)


def _sync_directory(directory: Path) -> None:
    """A new name is on the disk only once its directory is."""
    number = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _append_csv(directory: Path, record: FileRecord, rows: Iterable[TradeRow]) -> FileRecord:
    data, count = _csv_bytes(rows)
    if record.length == 0:
        data = _HEADER + data
    path = directory / record.name
    number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        size = os.fstat(number).st_size
        if size < record.length:
            # Not lasting: the grid goes on, its rows stay in the database until the file is back.
            raise _too_short(path, size, record, lasting=False)
        if size > record.length:
            os.ftruncate(number, record.length)
        os.lseek(number, record.length, os.SEEK_SET)
        _write(number, data)
        os.fsync(number)
    finally:
        os.close(number)
    if record.length == 0:
        _sync_directory(directory)
    return replace(
        record,
        length=record.length + len(data),
        checksum=zlib.crc32(data, record.checksum),
        rows=record.rows + count,
    )


def _write(number: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(number, rest) :]


def csv_lines(rows: Iterable[TradeRow]) -> Iterator[str]:
    """Rows as lines of CSV, without a header."""
    for row in rows:
        text = io.StringIO()
        values = ["" if value is None else value for value in _values(row)]
        csv.writer(text, lineterminator="\n").writerow(values)
        yield text.getvalue()


def row_of_line(line: str) -> TradeRow:
    """A line of `csv_lines` read back.

    Raises:
        ValueError: it is none.
    """
    try:
        return _row(next(csv.reader([line])))
    except (ArithmeticError, StopIteration) as error:
        raise ValueError(line) from error


def _csv_bytes(rows: Iterable[TradeRow]) -> tuple[bytes, int]:
    lines = list(csv_lines(rows))
    return "".join(lines).encode(), len(lines)


def _write_parquet(directory: Path, record: FileRecord, rows: list[TradeRow]) -> FileRecord:
    """One whole file under a name of its own; a file of that name was never committed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table: dict[str, Any] = {}
    for name, column in zip(COLUMNS, zip(*map(_values, rows), strict=True), strict=True):
        values = column
        if name in _IDENTITIES:
            numbers = [None if text is None else number_or_text(text) for text in column]
            values = column if any(isinstance(one, str) for one in numbers) else tuple(numbers)
        whole = name in _INTEGERS or values is not column
        table[name] = pa.array(values, pa.int64() if whole else pa.string())
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table(table), buffer)
    data = buffer.getvalue().to_pybytes()
    write_whole(directory / record.name, [data])
    return replace(record, length=len(data), checksum=zlib.crc32(data), rows=len(rows))


def write_whole(path: Path, parts: Iterable[bytes]) -> None:
    """Write a file that is there as a whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            for part in parts:
                _write(number, part)
            os.fsync(number)
        finally:
            os.close(number)
        os.replace(temporary, path)  # noqa: PTH105 - the disk is reached by `os` throughout
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def read(directory: Path, record: FileRecord) -> Iterator[TradeRow]:
    """The rows of a file that count, one after the other.

    Raises:
        StoreError: it is not what was written; told after its last row.
        UserError: it is a Parquet file, and pyarrow is not there.
    """
    path = directory / record.name
    try:
        size = path.stat().st_size
        if size < record.length:
            raise _too_short(path, size, record, lasting=True)
        if not _is_parquet(record):
            yield from _read_csv(path, record)
            return
        _require_pyarrow(
            f"archive {path} takes pyarrow to be read, which is not installed here; install it, "
            "or read a copy of the state directory where it is"
        )
        with path.open("rb") as file:
            _check(path, record, _checksum(iter(lambda: file.read(65_536), b"")))
        yield from _read_parquet(path)
    except OSError as error:
        raise StoreError(
            f"archive {path}: {error.strerror}; restore it from a backup", lasting=True
        ) from error


def _checksum(parts: Iterable[bytes]) -> int:
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    return checksum


def _read_csv(path: Path, record: FileRecord) -> Iterator[TradeRow]:
    checksum, left = 0, record.length
    with path.open("rb") as file:
        while left > 0:
            line = file.readline(left)
            left -= len(line)
            checksum = zlib.crc32(line, checksum)
            if left + len(line) == record.length:
                continue  # the header
            try:
                row = row_of_line(line.decode())
            except ValueError as error:
                raise _damaged(path) from error
            yield row
    _check(path, record, checksum)


def _read_parquet(path: Path) -> Iterator[TradeRow]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=1000):
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield _row(["" if value is None else str(value) for value in row])


def _check(path: Path, record: FileRecord, checksum: int) -> None:
    if checksum != record.checksum:
        raise _damaged(path)


def _damaged(path: Path) -> StoreError:
    return StoreError(
        f"archive {path} is damaged (its checksum differs); restore it from a backup", lasting=True
    )


def _too_short(path: Path, size: int, record: FileRecord, *, lasting: bool) -> StoreError:
    return StoreError(
        f"archive {path} has {size} bytes, and {record.length} were written; restore it from a "
        "backup",
        lasting=lasting,
    )


def _values(row: TradeRow) -> list[Any]:
    """A row in the order of `COLUMNS`."""
    order, fill = row.order, row.fill
    trade: list[Any] = [None] * 8
    if fill is not None:
        trade = [
            fill.trade_id,
            fill.time_ms,
            str(fill.price),
            str(fill.quantity),
            str(fill.quote),
            str(fill.commission),
            fill.commission_coin,
            int(fill.maker),
        ]
    return [
        row.grid_run,
        row.pair,
        order.leg,
        str(order.role),
        str(order.side),
        order.line,
        order.client_id,
        order.attempt,
        order.exchange_id,
        str(order.state),
        str(order.price),
        str(order.quantity),
        order.created_ms,
        *trade,
        None if row.profit is None else str(row.profit),
    ]


def _row(values: list[str]) -> TradeRow:
    cell = dict(zip(COLUMNS, values, strict=True))
    order = Order(
        client_id=cell["order"],
        leg=cell["leg"],
        role=Role(cell["role"]),
        side=Side(cell["side"]),
        line=int(cell["line"]),
        attempt=int(cell["cycle"]),
        price=Decimal(cell["order_price"]),
        quantity=Decimal(cell["order_quantity"]),
        state=OrderState(cell["state"]),
        exchange_id=cell["exchange_id"] or None,
        created_ms=int(cell["created_ms"]),
    )
    fill = None
    if cell["trade_id"]:
        fill = Fill(
            trade_id=cell["trade_id"],
            client_id=order.client_id,
            side=order.side,
            price=Decimal(cell["price"]),
            quantity=Decimal(cell["quantity"]),
            quote=Decimal(cell["quote"]),
            commission=Decimal(cell["fee"]),
            commission_coin=cell["fee_coin"],
            time_ms=int(cell["time_ms"]),
            maker=cell["maker"] == "1",
        )
    profit = Decimal(cell["profit"]) if cell["profit"] else None
    return TradeRow(int(cell["generation"]), cell["pair"], order, fill, profit)
