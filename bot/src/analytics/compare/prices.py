"""Recorded prices of one symbol over a stretch of time, and what is missing of them."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path

import numpy as np
from gridbase.candles.price_units import PRICE_DECIMALS, from_units
from gridbase.candles.reader import open_candles
from gridbase.candles.recorded import RecordedReader
from gridbase.candles.series import Steps
from gridbase.errors import UserError
from gridbot.backtest.data import Candles, Columns
from gridbot.core.orders import Side

from analytics.compare.books import FOREVER, Stretch

REPORT_EVERY = 20_000  # rows


@dataclass(frozen=True)
class Prices:
    """Trades or candles in order of time.

    Attributes:
        rows: the prices.
        interval_ms: length of a candle; 0 for trades, whose order is known.
        gaps: stretches of which prices are missing.
    """

    rows: Candles
    interval_ms: int
    gaps: list[Stretch]

    def between(self, start_ms: int, end_ms: int) -> Candles | None:
        """Rows that begin in a stretch of time; None where there are none."""
        first, last = np.searchsorted(self.rows.times, (start_ms, end_ms)).tolist()
        return self.rows.window(first, last) if first < last else None

    def missing(self, from_ms: int, to_ms: int) -> bool:
        """Whether a gap meets a stretch of time."""
        return any(gap.meets(from_ms, to_ms) for gap in self.gaps)

    def went_beyond(self, price: Decimal, side: Side, from_ms: int, to_ms: int) -> bool:
        """Whether it traded beyond a line, so that no order there can have been left.

        Args:
            price: the line's (quote).
            side: of the order there.
            from_ms: the first time that counts (Unix milliseconds).
            to_ms: the last one.
        """
        rows = self.between(from_ms - from_ms % max(self.interval_ms, 1), to_ms + 1)
        if rows is None:
            return False
        units = price.scaleb(PRICE_DECIMALS)
        if side is Side.BUY:
            return int(rows.lows.min()) < int(units.to_integral_value(ROUND_CEILING))
        return int(rows.highs.max()) > int(units.to_integral_value(ROUND_FLOOR))

    def reached(self, price: Decimal, time_ms: int) -> bool:
        """Whether the candle at a time has a price in it (quote)."""
        start = time_ms - time_ms % max(self.interval_ms, 1)
        rows = self.between(start, start + max(self.interval_ms, 1))
        if rows is None:
            return False
        low, high = rows.reach
        return from_units(int(low.min())) <= price <= from_units(int(high.max()))


def read_prices(
    paths: Sequence[Path],
    start_ms: int,
    end_ms: int,
    progress: Callable[[int], None] | None = None,
) -> Prices:
    """Read what there is of a stretch of time, and note what is not.

    Args:
        paths: files that follow each other in time, or directories of the recorder.
        start_ms: Unix milliseconds.
        end_ms: the same, exclusive.
        progress: told how many rows were read.

    Raises:
        UserError: a file cannot be read, files overlap, or there is nothing of that time.
    """
    columns = [array("q") for _ in range(5)]
    times = columns[0]
    gaps: list[Stretch] = []
    steps, interval, count = Steps(), 0, 0
    for path in paths:
        reader = open_candles(path)
        ticks = isinstance(reader, RecordedReader) and reader.trades
        if isinstance(reader, RecordedReader):
            reader.only(start_ms, end_ms)
            gaps += [Stretch(begin, end) for begin, end, _ in reader.gaps]
        for candle in reader:
            count += 1
            if progress is not None and count % REPORT_EVERY == 0:
                progress(count)
            if not start_ms <= candle.time < end_ms:
                continue
            if times and candle.time < times[-1]:
                raise UserError(f"{path}: is not later than the file before it")
            for column, value in zip(columns, candle[:5], strict=True):
                column.append(value)
        steps.counts += reader.steps.counts
        interval = 0 if ticks else reader.steps.interval_ms()
    if not times:
        raise UserError(f"{', '.join(map(str, paths))}: nothing of that day is in it")
    rows = Columns(*(np.frombuffer(column, dtype=np.int64) for column in columns))
    gaps += _holes(rows, interval, start_ms, end_ms)
    return Prices(Candles(paths[0].name, rows), interval, gaps)


def _holes(rows: Columns, interval: int, start_ms: int, end_ms: int) -> list[Stretch]:
    """Stretches before the first row, after the last one, and between candles."""
    first, last = int(rows.times[0]), int(rows.times[-1])
    found = [Stretch(-FOREVER, first - 1), Stretch(last + max(interval, 1), FOREVER)]
    if interval:
        wide = np.flatnonzero(np.diff(rows.times) > interval)
        found += [
            Stretch(int(rows.times[at]) + interval, int(rows.times[at + 1]) - 1) for at in wide
        ]
    return [each for each in found if each.meets(start_ms, end_ms)]
