"""Reads candles from CSV (plain, gzip'd, zipped) and Parquet, row by row, and checks each one."""

import csv
import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import TextIO

from gridbase.candles.columns import COLUMNS, column_order
from gridbase.candles.price_units import to_units
from gridbase.candles.recorded import SECOND_MS, RecordedReader, per_second
from gridbase.candles.series import Candle, CandleSeries, Findings, Steps
from gridbase.errors import UserError

MAX_YEAR_MS = 253_402_300_800_000  # the year 10000: what a datetime can show

# Smallest magnitude of an integer time, and what turns it into milliseconds. Binance's dumps
# switched to microseconds in 2025, so the unit is told from each number's own size.
TIME_SCALES = ((10**17, 10**6), (10**14, 10**3), (10**11, 1))


@dataclass
class CandleReader:
    """One file's candles, checked and in order; `steps` and `findings` fill up while reading.

    Attributes:
        path: the file.
        format: what it was recognised as: csv, csv.gz, zip or parquet.
        findings: oddities met so far.
        steps: distances between candles met so far.
    """

    path: Path
    format: str
    findings: Findings
    steps: Steps
    _rows: Callable[[], Iterator[tuple[int, Sequence[str]]]]

    def __iter__(self) -> Iterator[Candle]:
        """Yield each candle.

        Raises:
            UserError: the file cannot be read, or a row is wrong; names file and line.
        """
        last = None
        rounded = 0
        try:
            for line, cells in self._rows():
                candle, rounded_here = self._parse(line, cells)
                rounded += rounded_here
                if last is not None:
                    step = candle.time - last
                    if step == 0:
                        self.findings.duplicates += 1
                        continue
                    if step < 0:
                        raise self._wrong(line, f"time goes backwards, to {_iso(candle.time)}")
                    self.steps.counts[step] += 1
                last = candle.time
                yield candle
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read: {_reason(error)}") from error
        except (EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise UserError(f"{self.path}: damaged {self.format} file: {error}") from error
        except (UnicodeDecodeError, csv.Error) as error:
            raise UserError(f"{self.path}: not a CSV text file: {error}") from error
        if last is None:
            raise UserError(f"{self.path}: holds no candles")
        self.findings.rounded_prices = rounded
        self.findings.gaps, self.findings.missing_candles = self.steps.gaps()

    def _parse(self, line: int, cells: Sequence[str]) -> tuple[Candle, int]:
        """One row's candle, and how many of its prices had to be rounded."""
        if len(cells) < len(COLUMNS):
            raise self._wrong(line, f"{len(cells)} columns where {', '.join(COLUMNS)} are needed")
        prices = []
        rounded = 0
        for name, text in zip(COLUMNS[1:5], cells[1:5], strict=True):
            try:
                units, was_rounded = to_units(text)
            except ValueError as error:
                raise self._wrong(line, f"{name} {text!r} is {error}") from error
            if units <= 0:
                raise self._wrong(line, f"{name} {text!r} is not above 0")
            prices.append(units)
            rounded += was_rounded
        opening, high, low, close = prices
        if high < low:
            raise self._wrong(line, f"high {cells[2]} is below low {cells[3]}")
        for name, value, text in (("open", opening, cells[1]), ("close", close, cells[4])):
            if not low <= value <= high:
                raise self._wrong(line, f"{name} {text} is outside low {cells[3]} high {cells[2]}")
        time = self._time(line, cells[0])
        return Candle(time, opening, high, low, close, self._volume(line, cells[5])), rounded

    def _time(self, line: int, text: str) -> int:
        try:
            return to_milliseconds(text)
        except ValueError as error:
            raise self._wrong(
                line, f"timestamp {text!r} is neither ISO 8601 nor milliseconds since 1970"
            ) from error

    def _volume(self, line: int, text: str) -> float:
        try:
            volume = float(text)
        except ValueError as error:
            raise self._wrong(line, f"volume {text!r} is not a number") from error
        if not isfinite(volume) or volume < 0:
            raise self._wrong(line, f"volume {text!r} is not a number of 0 or more")
        return volume

    def _wrong(self, line: int, what: str) -> UserError:
        return UserError(f"{self.path}: line {line}: {what}")


Reader = CandleReader | RecordedReader


def open_candles(path: Path) -> Reader:
    """Recognise a candle file by its first bytes, whatever its name is.

    Args:
        path: the file; or a directory of the recorder, see `RecordedReader`.

    Returns:
        A reader; iterate over it once.

    Raises:
        UserError: the file is missing, unreadable or empty.
    """
    if path.is_dir():
        return RecordedReader(path)
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {_reason(error)}") from error
    if not magic:
        raise UserError(f"{path}: is empty")
    if magic == b"PAR1":
        from gridbase.candles.parquet import parquet_rows

        kind, rows = "parquet", lambda: parquet_rows(path)
    elif magic == b"PK\x03\x04":
        kind, rows = "zip", lambda: _csv_rows(path, _open_zip)
    elif magic[:2] == b"\x1f\x8b":
        kind, rows = "csv.gz", lambda: _csv_rows(path, _open_gzip)
    else:
        kind, rows = "csv", lambda: _csv_rows(path, _open_plain)
    return CandleReader(path, kind, Findings(), Steps(), rows)


def load_series(path: Path) -> CandleSeries:
    """Read a whole file into memory (48 bytes a candle).

    Args:
        path: the file, in any format that `open_candles` knows.

    Returns:
        The candles with their fingerprint, interval and findings. Recorded trades become candles
        of a second, without holes.

    Raises:
        UserError: see `CandleReader`.
    """
    reader = open_candles(path)
    series = CandleSeries(path.name)
    ticks = isinstance(reader, RecordedReader) and reader.trades
    for candle in per_second(reader) if ticks else reader:
        series.append(candle)
    series.take_fingerprint()
    series.interval_ms = SECOND_MS if ticks else reader.steps.interval_ms()
    series.findings = reader.findings
    return series


def to_milliseconds(text: str) -> int:
    """A time as milliseconds since 1970 UTC.

    Args:
        text: ISO 8601 (UTC where no offset is given), or whole seconds, milliseconds,
            microseconds or nanoseconds since 1970, told apart by their size.

    Raises:
        ValueError: it is neither, or beyond the year 9999.
    """
    text = text.strip()
    if text.isdigit() and text.isascii():
        number = int(text)
        for smallest, divisor in TIME_SCALES:
            if number >= smallest:
                milliseconds = number // divisor
                break
        else:
            milliseconds = number * 1000
    elif text.replace(".", "", 1).isdigit() and text.isascii():
        return to_milliseconds(text.partition(".")[0])
    else:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        milliseconds = round(moment.timestamp() * 1000)
    if not 0 <= milliseconds < MAX_YEAR_MS:
        raise ValueError(f"{text} is outside the years 1970 to 9999")
    return milliseconds


def _csv_rows(
    path: Path, opener: Callable[[Path], AbstractContextManager[TextIO]]
) -> Iterator[tuple[int, Sequence[str]]]:
    """Line number and the six cells of each row of a CSV, with or without a header."""
    with opener(path) as text:
        rows = csv.reader(text)
        order: list[int] | None = None
        for cells in rows:
            if not cells:
                continue
            if order is None:
                first_is_time = _looks_like_time(cells[0])
                order = list(range(6)) if first_is_time else column_order(cells, path)
                if not first_is_time:
                    continue
            if len(cells) <= max(order):
                yield rows.line_num, cells[: len(COLUMNS) - 1]
            else:
                yield rows.line_num, [cells[position] for position in order]


def _looks_like_time(text: str) -> bool:
    try:
        to_milliseconds(text)
    except ValueError:
        return False
    return True


@contextmanager
def _open_plain(path: Path) -> Iterator[TextIO]:
    with path.open(encoding="utf-8-sig", newline="") as text:
        yield text


@contextmanager
def _open_gzip(path: Path) -> Iterator[TextIO]:
    with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as text:
        yield text


@contextmanager
def _open_zip(path: Path) -> Iterator[TextIO]:
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.lower().endswith(".csv")]
        if len(names) != 1:
            raise UserError(f"{path}: holds {len(names)} CSV files where one is expected")
        with archive.open(names[0]) as raw:
            yield io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")


def _iso(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat()


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
