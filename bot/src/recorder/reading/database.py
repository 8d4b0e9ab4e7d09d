"""The recording as tables of DuckDB, which reaches no file: Arrow reads them for it.

Prices and quantities are decimals there, times are UTC. `gaps` says what is missing.
"""

from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
from gridbase.errors import ExitCode, UserError
from pyarrow.dataset import dataset

from recorder.core.rows import COLUMNS, SMALL, Kind, Stream
from recorder.core.steps import Sizes
from recorder.files.catalog import Catalog
from recorder.files.compact import PRICES, QUANTITIES, QUOTES
from recorder.files.layout import CATALOG, READY
from recorder.files.parquet import schema_of, sizes_of

NUMBERS = {"first_id", "last_id", "id", "update", "first_update", "last_update", "trades"}


def open_database(directory: Path, memory: str = "") -> duckdb.DuckDBPyConnection:
    """A database with the tables trades, quotes, depth, candles and gaps.

    It has the rows of the recording and no others, whatever SQL says, and writes nothing.

    Args:
        directory: the data directory.
        memory: most that it may take, such as 1GB; empty for DuckDB's own bound.

    Raises:
        UserError: it is no data directory.
    """
    if not (directory / CATALOG).is_file():
        raise UserError(f"--directory {directory}: holds no recording", ExitCode.STATE)
    catalog = Catalog(directory, read_only=True)
    ready = (directory / READY).resolve()
    database = duckdb.connect(":memory:")
    database.execute("SET TimeZone = 'UTC'")
    if memory:
        database.execute(f"SET memory_limit = {_quoted(memory)}")
    for kind in Kind:
        _add_view(database, catalog, ready, kind)
    _add_gaps(database, catalog)
    catalog.close()
    # No directory is allowed: where DuckDB may read, it may write as well.
    database.execute("SET enable_external_access = false")
    database.execute("SET python_enable_replacements = false")
    database.execute("SET lock_configuration = true")
    return database


def _add_view(
    database: duckdb.DuckDBPyConnection, catalog: Catalog, ready: Path, kind: Kind
) -> None:
    """Make the view of one kind of all files; an empty one where there are none."""
    parts: dict[tuple[Stream, Sizes], list[str]] = {}
    for entry in catalog.files():
        if entry.stream.kind == kind and catalog.is_local(entry.path):
            path = ready / entry.path
            parts.setdefault((entry.stream, sizes_of(schema_of(path))), []).append(path.as_posix())
    selects = []
    for number, ((stream, sizes), paths) in enumerate(parts.items()):
        database.register(f"{kind}_{number}", dataset(paths, format="parquet"))
        selects.append(_select(stream, sizes, f"{kind}_{number}"))
    if not selects:
        names = ", ".join(f"NULL::BIGINT AS {name}" for name in COLUMNS[kind])
        selects = [f"SELECT NULL::VARCHAR AS exchange, NULL::VARCHAR AS symbol, {names} LIMIT 0"]
    database.execute(f"CREATE VIEW {kind} AS " + " UNION ALL ".join(selects))


def _select(stream: Stream, sizes: Sizes, rows: str) -> str:
    columns = ", ".join(f"{_column(name, sizes)} AS {name}" for name in COLUMNS[stream.kind])
    # Names were checked when files were written, and are quoted all the same.
    named = f"{_quoted(stream.exchange)} AS exchange, {_quoted(stream.symbol)} AS symbol"
    return f"SELECT {named}, {columns} FROM {rows}"  # noqa: S608


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
