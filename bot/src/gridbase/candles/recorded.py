"""Candles and trades as the recorder keeps them: a directory of Parquet files and its manifests.

A trade is a candle of one price. Nothing but what the manifests name is read, and what they say is
missing is told.
"""

import importlib
import json
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from gridbase.candles.price_units import PRICE_DECIMALS
from gridbase.candles.series import Candle, Findings, Steps
from gridbase.errors import UserError

CANDLES, TRADES = "candles", "trades"
COLUMNS = {
    CANDLES: ("time", "open", "high", "low", "close", "volume"),
    TRADES: ("time", "price", "quantity"),
}
SECOND_MS = 1_000


class RecordedReader:
    """What was recorded of one symbol, in order; see `gridbase.candles.reader.CandleReader`.

    Args:
        path: such as ``ready/exchange=binance/kind=trades/symbol=BTCUSDT``.

    Attributes:
        path: the directory.
        format: ``recorded trades`` or ``recorded candles``.
        findings: oddities met so far, and the gaps of the recording.
        gaps: stretches that the recording lacks: from, to (Unix milliseconds), and why.
        steps: distances between candles met so far.

    Raises:
        UserError: it is no such directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.findings, self.steps = Findings(), Steps()
        parts = [part.partition("=") for part in self.path.parts[-3:]]
        named = {name: value for name, _, value in parts}
        self._kind = named.get("kind", "")
        if set(named) != {"exchange", "kind", "symbol"} or self._kind not in COLUMNS:
            raise UserError(
                f"{path}: is a directory; name a file, or what was recorded of a symbol, such as"
                " ready/exchange=binance/kind=trades/symbol=BTCUSDT"
            )
        self.format = f"recorded {self._kind}"
        self._ready = self.path.parents[2]
        self._files, gaps = _manifests(self._ready, named)
        self.findings.recorded_gaps = len(gaps)
        self.findings.recorded_gap_ms = sum(gap["to_ms"] - gap["from_ms"] for gap in gaps)
        self.gaps = [(gap["from_ms"], gap["to_ms"], str(gap["reason"])) for gap in gaps]

    def only(self, start_ms: int, end_ms: int) -> None:
        """Leave out files that have nothing of a stretch of time (Unix milliseconds)."""
        self._files = [
            each
            for each in self._files
            if each["last_ms"] >= start_ms and each["first_ms"] < end_ms
        ]

    @property
    def trades(self) -> bool:
        """Whether each candle is one trade."""
        return self._kind == TRADES

    def __iter__(self) -> Iterator[Candle]:
        """Yield each candle, or each trade as a candle of one price.

        Raises:
            UserError: a file is missing or damaged, pyarrow is not installed, or there is nothing.
        """
        last = None
        for candle in self._rows():
            if last is not None:
                if candle.time < last or (candle.time == last and self._kind == CANDLES):
                    raise UserError(f"{self.path}: time goes back at {candle.time}")
                if candle.time > last:
                    self.steps.counts[candle.time - last] += 1
            last = candle.time
            yield candle
        if last is None:
            raise UserError(f"{self.path}: nothing is recorded")
        if self._kind == CANDLES:
            self.findings.gaps, self.findings.missing_candles = self.steps.gaps()

    def _rows(self) -> Iterator[Candle]:
        try:
            pyarrow = importlib.import_module("pyarrow")
            parquet = importlib.import_module("pyarrow.parquet")
        except ImportError as error:
            raise UserError(f"{self.path}: reading it needs pyarrow: gridbot[parquet]") from error
        latest = 0
        for name in (each["path"] for each in self._files):
            try:
                with parquet.ParquetFile(self._ready / name) as file:
                    metadata = file.schema_arrow.metadata
                    price = Decimal(metadata[b"price_step"].decode()).scaleb(PRICE_DECIMALS)
                    lot = float(metadata[b"quantity_step"])
                    for candle in _candles(file, self._kind, int(price), lot):
                        # Trades are in order of their numbers; an exchange's clock may go back.
                        latest = max(latest, candle.time)
                        yield candle._replace(time=latest)
            except FileNotFoundError as error:
                raise UserError(f"{self._ready / name}: is not here; copy it back") from error
            except (pyarrow.ArrowException, KeyError, OSError) as error:
                raise UserError(f"{self._ready / name}: damaged parquet file: {error}") from error


def _candles(file: Any, kind: str, price: int, lot: float) -> Iterator[Candle]:
    for batch in file.iter_batches(batch_size=8192, columns=list(COLUMNS[kind])):
        columns = [batch.column(name).to_pylist() for name in COLUMNS[kind]]
        for time, *values in zip(*columns, strict=True):
            prices = [ticks * price for ticks in values[:-1]]
            opening, high, low, close = prices if kind == CANDLES else prices * 4
            yield Candle(time, opening, high, low, close, values[-1] * lot)


def per_second(trades: Iterable[Candle]) -> Iterator[Candle]:
    """Trades as candles of a second; one without a trade stands at the price before."""
    current: Candle | None = None
    for trade in trades:
        second = trade.time // SECOND_MS * SECOND_MS
        while current is not None and current.time < second:
            yield current
            close = current.close
            current = Candle(current.time + SECOND_MS, close, close, close, close, 0.0)
        if current is None or not current.volume:
            # The first trade of its second.
            current = trade._replace(time=second)
        else:
            current = current._replace(
                high=max(current.high, trade.high),
                low=min(current.low, trade.low),
                close=trade.close,
                volume=current.volume + trade.volume,
            )
    if current is not None:
        yield current


def _manifests(
    ready: Path, named: dict[str, str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Files and gaps of a symbol, in order, by the manifests of all days."""
    files: list[dict[str, Any]] = []
    gaps: dict[tuple[int, Any], dict[str, Any]] = {}
    for path in sorted((ready / "manifest").glob("*.json")):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            files += [each for each in document["files"] if named.items() <= each.items()]
            for gap in document["gaps"]:
                if named.items() <= gap.items():
                    gaps[gap["from_ms"], gap["first"]] = gap
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: is no manifest of a recording") from error
    files.sort(key=lambda each: (each["first"], each["first_ms"]))
    return files, list(gaps.values())
