"""A recording as a table, for notebooks."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
from gridbase.errors import UserError

from recorder.core.rows import Gap, Kind, Stream
from recorder.files.catalog import Catalog
from recorder.reading.database import open_database


@dataclass(frozen=True)
class Recording:
    """What was recorded of a symbol, and what was not.

    Attributes:
        table: the rows, in order; ``table.to_pandas()`` makes a data frame.
        gaps: stretches that are missing in it.
    """

    table: pa.Table
    gaps: list[Gap]


def load(
    directory: str | Path,
    kind: str,
    symbol: str,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    exchange: str = "binance",
) -> Recording:
    """Read what was recorded of one symbol.

    Args:
        directory: the data directory.
        kind: trades, quotes, depth or candles.
        symbol: the exchange's own name, such as BTCUSDT.
        start: the first time, in UTC; None for the beginning.
        end: the time after the last one; None for the end.
        exchange: binance or binanceus.

    Returns:
        Rows whose prices and quantities are decimals, and the gaps in that time.

    Raises:
        UserError: there is no such directory or kind.
    """
    if kind not in list(Kind):
        raise UserError(f"kind = {kind!r} needs one of {', '.join(Kind)}")
    database = open_database(Path(directory))
    table = database.sql(
        f"SELECT * FROM {Kind(kind)}"  # noqa: S608  one of four words
        " WHERE symbol = $symbol AND exchange = $exchange"
        " AND ($start IS NULL OR time >= $start) AND ($end IS NULL OR time < $end)",
        params={"symbol": symbol, "exchange": exchange, "start": start, "end": end},
    ).to_arrow_table()
    database.close()
    catalog = Catalog(Path(directory), read_only=True)
    gaps = catalog.gaps(Stream(exchange, Kind(kind), symbol))
    catalog.close()
    first = None if start is None else start.timestamp() * 1000
    last = None if end is None else end.timestamp() * 1000
    kept = [
        gap
        for gap in gaps
        if (first is None or gap.to_ms >= first) and (last is None or gap.from_ms < last)
    ]
    return Recording(table, kept)
