"""The recording as tables of DuckDB, which can read nothing else.

Prices and quantities are decimals there, times are UTC. `gaps` says what is missing.
"""

from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
from gridbase.errors import ExitCode, UserError

from recorder.core.rows import COLUMNS, SMALL, Kind, Stream
from recorder.core.steps import Sizes
from recorder.files.catalog import Catalog
from recorder.files.compact import PRICES, QUANTITIES, QUOTES
from recorder.files.layout import CATALOG, READY
from recorder.files.parquet import schema_of, sizes_of

NUMBERS = {"first_id", "last_id", "id", "update", "first_update", "last_update", "trades"}


def open_database(directory: Path) -> duckdb.DuckDBPyConnection:
    """A database with the tables trades, quotes, depth, candles and gaps.

    It reads the files of the recording and no others, whatever SQL says, and writes none.

    Args:
        directory: the data directory.

    Raises:
        UserError: it is no data directory.
    """
    if not (directory / CATALOG).is_file():
        raise UserError(f"--directory {directory}: holds no recording", ExitCode.STATE)
    catalog = Catalog(directory, read_only=True)
    ready = (directory / READY).resolve()
    database = duckdb.connect(":memory:")
    database.execute("SET TimeZone = 'UTC'")
    for kind in Kind:
        database.execute(_view(catalog, ready, kind))
    _add_gaps(database, catalog)
    catalog.close()
    # In this order: what is locked cannot be opened again.
    database.execute(f"SET allowed_directories = [{_quoted(f'{ready.as_posix()}/')}]")
    database.execute("SET enable_external_access = false")
    database.execute("SET python_enable_replacements = false")
    database.execute("SET lock_configuration = true")
    return database


def _view(catalog: Catalog, ready: Path, kind: Kind) -> str:
    """SQL that makes the view of one kind of all files; an empty one where there are none."""
    parts: dict[tuple[Stream, Sizes], list[str]] = {}
    for entry in catalog.files():
        if entry.stream.kind == kind and catalog.is_local(entry.path):
            path = ready / entry.path
            parts.setdefault((entry.stream, sizes_of(schema_of(path))), []).append(path.as_posix())
    selects = [_select(stream, sizes, paths) for (stream, sizes), paths in parts.items()]
    if not selects:
        names = ", ".join(f"NULL::BIGINT AS {name}" for name in COLUMNS[kind])
        selects = [f"SELECT NULL::VARCHAR AS exchange, NULL::VARCHAR AS symbol, {names} LIMIT 0"]
    return f"CREATE VIEW {kind} AS " + " UNION ALL ".join(selects)


def _select(stream: Stream, sizes: Sizes, paths: list[str]) -> str:
    columns = ", ".join(f"{_column(name, sizes)} AS {name}" for name in COLUMNS[stream.kind])
    files = ", ".join(map(_quoted, paths))
    # Names were checked when files were written, and are quoted all the same.
    named = f"{_quoted(stream.exchange)} AS exchange, {_quoted(stream.symbol)} AS symbol"
    return f"SELECT {named}, {columns} FROM read_parquet([{files}])"  # noqa: S608


def _column(name: str, sizes: Sizes) -> str:
    """SQL that makes a column as people read it of one as files have it."""
    if name == "time":
        return "make_timestamp(time * 1000)"
    if name == "seller_took":
        return "seller_took = 1"
    step = next(
        (
            step
            for names, step in (
                (PRICES, sizes.price),
                (QUANTITIES, sizes.quantity),
                (QUOTES, sizes.quote),
            )
            if name in names
        ),
        None,
    )
    if step is None or name in NUMBERS or name in SMALL:
        return name
    return _multiplied(name, step)


def _multiplied(name: str, step: Decimal) -> str:
    """SQL for a whole number of steps as an exact decimal."""
    decimals = max(0, -int(step.normalize().as_tuple().exponent))
    return f"CAST({name} AS DECIMAL(19, 0)) * CAST('{step:f}' AS DECIMAL(18, {decimals}))"


def _add_gaps(database: duckdb.DuckDBPyConnection, catalog: Catalog) -> None:
    gaps = catalog.gaps()
    rows = pa.table(
        {
            "exchange": pa.array([gap.stream.exchange for gap in gaps], pa.string()),
            "kind": pa.array([str(gap.stream.kind) for gap in gaps], pa.string()),
            "symbol": pa.array([gap.stream.symbol for gap in gaps], pa.string()),
            "from_time": pa.array([gap.from_ms for gap in gaps], pa.timestamp("ms")),
            "to_time": pa.array([gap.to_ms for gap in gaps], pa.timestamp("ms")),
            "first": pa.array([gap.first for gap in gaps], pa.int64()),
            "last": pa.array([gap.last for gap in gaps], pa.int64()),
            "reason": pa.array([gap.reason for gap in gaps], pa.string()),
        }
    )
    database.register("recorded_gaps", rows)
    database.execute("CREATE TABLE gaps AS SELECT * FROM recorded_gaps")
    database.unregister("recorded_gaps")


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
