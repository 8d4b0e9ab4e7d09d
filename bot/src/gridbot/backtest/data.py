"""Recorded candles as arrays of whole numbers: what the backtest computes on."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from gridbase.candles.reader import open_candles
from gridbase.candles.series import DEFAULT_INTERVAL_MS

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

REPORT_EVERY = 20_000  # candles; a progress report's own cost then does not show


class Columns(NamedTuple):
    """A market's arrays, all of one length.

    Attributes:
        times: when each candle opens (Unix milliseconds).
        opens: first prices, in units of 10^-8 quote.
        highs: highest prices, in units.
        lows: lowest prices, in units.
        closes: last prices, in units.
    """

    times: Integers
    opens: Integers
    highs: Integers
    lows: Integers
    closes: Integers


class Candles:
    """Candles of one market in order of time.

    Args:
        name: the file's name, for people.
        columns: the candles.
        interval_ms: length of a candle in milliseconds.
        notes: oddities of the file, one short sentence each.
        reach: what `reach` would compute, where it is known.
    """

    def __init__(
        self,
        name: str,
        columns: Columns,
        *,
        interval_ms: int = DEFAULT_INTERVAL_MS,
        notes: tuple[str, ...] = (),
        reach: tuple[Integers, Integers] | None = None,
    ) -> None:
        self.name = name
        self.columns = columns
        self.times, self.opens, self.highs, self.lows, self.closes = columns
        self.interval_ms = interval_ms
        self.notes = notes
        if reach is not None:
            # A cached property that is set is not computed.
            self.reach = reach

    def __len__(self) -> int:
        return len(self.times)

    @cached_property
    def reach(self) -> tuple[Integers, Integers]:
        """Lowest and highest price of each candle's walk, the way from the previous close too."""
        before = np.empty_like(self.closes)
        before[0] = self.opens[0]
        before[1:] = self.closes[:-1]
        return np.minimum(self.lows, before), np.maximum(self.highs, before)

    def window(self, start: int, stop: int) -> Candles:
        """Candles `start` to `stop` (exclusive) as a market of their own; nothing is copied."""
        low, high = self.reach
        return Candles(
            self.name,
            Columns(*(column[start:stop] for column in self.columns)),
            interval_ms=self.interval_ms,
            # At the first candle this reaches further than needed: it may be looked at in vain.
            reach=(low[start:stop], high[start:stop]),
        )

    def repeated(self, times: int) -> Candles:
        """The same prices `times` times over, the clock going on."""
        span = int(self.times[-1] - self.times[0]) + self.interval_ms
        shift = np.repeat(np.arange(times, dtype=np.int64) * span, len(self))
        again = Columns(*(np.tile(column, times) for column in self.columns))
        columns = again._replace(times=again.times + shift)
        return Candles(self.name, columns, interval_ms=self.interval_ms)


def read_candles(path: Path, progress: Callable[[int], None] | None = None) -> Candles:
    """Read a candle file in any format that `gridbase.candles` knows.

    Args:
        path: CSV (with header, or Binance's kline dump), gzip'd or zipped, or Parquet.
        progress: told from time to time how many candles have been read.

    Raises:
        UserError: the file cannot be read or a row is wrong; names file and line.
    """
    reader = open_candles(path)
    columns = [array("q") for _ in range(5)]
    times, opens, highs, lows, closes = columns
    for candle in reader:
        times.append(candle.time)
        opens.append(candle.open)
        highs.append(candle.high)
        lows.append(candle.low)
        closes.append(candle.close)
        if progress is not None and len(times) % REPORT_EVERY == 0:
            progress(len(times))
    return Candles(
        path.name,
        Columns(*(np.frombuffer(column, dtype=np.int64) for column in columns)),
        interval_ms=reader.steps.interval_ms(),
        notes=tuple(reader.findings.sentences()),
    )
