"""The tax report: every disposal with its lot, streamed from the books to CSV."""

import csv
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from gridbase.atomic_file import WholeFile
from gridbase.errors import ExitCode, UserError
from gridbase.market import Market, plain
from gridbase.tax_lots import Disposal, LotBook, Method, Sums

from gridbot.accounting.trade_history import trades
from gridbot.store import Store

COLUMNS = (
    "symbol", "acquired", "sold", "quantity", "proceeds", "cost_basis", "fees", "gain", "currency",
    "days_held", "term", "other_fees", "buy_trade", "sell_trade",
)  # fmt: skip


@dataclass(frozen=True)
class SymbolReport:
    """One symbol's part.

    Attributes:
        market: names the coins.
        years: sums by year, of the years that were asked for.
        open_lots: number of lots that are not sold, as of now.
        open_quantity: base in them.
        open_cost: what they have cost (quote).
    """

    market: Market
    years: dict[int, Sums]
    open_lots: int
    open_quantity: Decimal
    open_cost: Decimal


@dataclass(frozen=True)
class TaxReport:
    """What was written: the files, and the sums by symbol."""

    files: list[Path]
    symbols: list[SymbolReport]


def write_report(
    store: Store, symbols: list[str], year: int | None, method: Method, out: Path
) -> TaxReport:
    """Write the disposals of a year, or of every year with a file for each.

    All trades are read, from the first on: a lot may be older than the year.

    Args:
        store: the books, opened for reading.
        symbols: whose.
        year: of the sales (UTC); None for every year.
        method: which lots a sale takes first.
        out: the file; with every year, `out-2026.csv` for `out.csv`.

    Raises:
        UserError: it cannot be written, or the books cannot be read.
    """
    with ExitStack() as stack:
        output = _Output(stack, out, year)
        reports = [_report(store, symbol, method, output) for symbol in symbols]
        files = [file.path for _, file in sorted(output.files.items())]
    return TaxReport(files, reports)


class _Output:
    """One file for each year, opened when its first disposal comes."""

    def __init__(self, stack: ExitStack, out: Path, year: int | None) -> None:
        self._stack = stack
        self._out = out
        self._year = year
        self.files: dict[int, WholeFile] = {}
        self._writers: dict[int, Any] = {}
        if year is not None:
            self._open(year, out)

    def _open(self, year: int, path: Path) -> None:
        self.files[year] = self._stack.enter_context(WholeFile(path, "--out"))
        self._writers[year] = csv.writer(self.files[year].file, lineterminator="\n")
        self._writers[year].writerow(COLUMNS)

    def write(self, market: Market, year: int, disposal: Disposal) -> bool:
        """Write a disposal of a year that is asked for; whether it is."""
        if self._year is not None and year != self._year:
            return False
        if year not in self._writers:
            self._open(year, self._out.with_name(f"{self._out.stem}-{year}{self._out.suffix}"))
        self._writers[year].writerow(_cells(market, disposal))
        return True


def _report(store: Store, symbol: str, method: Method, output: _Output) -> SymbolReport:
    grid_run = store.grid_run(symbol)
    if grid_run is None:
        raise UserError(f"{store.path} holds no grid of {symbol}", ExitCode.STATE)
    market = grid_run.market
    book = LotBook(market, method)
    years: dict[int, Sums] = {}  # trades come in the order of time, and so do they
    for disposal in _disposals(store, symbol, book):
        year = disposal.year
        if output.write(market, year, disposal):
            years.setdefault(year, Sums()).add(disposal)
    return SymbolReport(market, years, book.open_lots, book.open_quantity, book.open_cost)


def _disposals(store: Store, symbol: str, book: LotBook) -> Iterator[Disposal]:
    for _, fill in trades(store, symbol):
        yield from book.book(fill)


def _cells(market: Market, disposal: Disposal) -> list[str | int]:
    return [
        market.symbol,
        _time(disposal.acquired_ms),
        _time(disposal.sold_ms),
        plain(disposal.quantity),
        plain(disposal.proceeds),
        plain(disposal.cost),
        plain(disposal.fees),
        plain(disposal.gain),
        market.quote,
        disposal.days,
        "long" if disposal.is_long_term else "short",
        " + ".join(f"{plain(amount)} {coin}" for coin, amount in disposal.other_fees.items()),
        disposal.buy_trade,
        disposal.sell_trade,
    ]


def _time(time_ms: int) -> str:
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def document(report: TaxReport, method: Method) -> dict[str, Any]:
    """The report as a JSON object; amounts are texts."""
    return {
        "method": str(method),
        "files": [str(path) for path in report.files],
        "symbols": {
            part.market.symbol: {
                "currency": part.market.quote,
                "years": {str(year): sums.document() for year, sums in part.years.items()},
                "open_lots": part.open_lots,
                "open_quantity": plain(part.open_quantity),
                "open_cost": plain(part.open_cost),
            }
            for part in report.symbols
        },
    }
