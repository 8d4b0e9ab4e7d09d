"""What a bot earned, day by day or month by month. Streamed from the books.

Prices are those of the trades and, where the bot has noted them, of the hours' ends: a fall between
two of them is not seen.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from gridbase.market import EXACT, Market, plain

from gridbot.accounting.trade_history import trades
from gridbot.core.orders import Fill, Side
from gridbot.store import GridRun, Sample, Store

ZERO = Decimal(0)
HOUR_MS = 3_600_000


class By(StrEnum):
    """How long a period is."""

    DAY = "day"
    MONTH = "month"

    def period(self, time_ms: int) -> str:
        """The period that a time is in: ``2026-01-05`` or ``2026-01`` (UTC)."""
        date = datetime.fromtimestamp(time_ms / 1000, UTC).date().isoformat()
        return date if self is By.DAY else date[:7]


@dataclass
class Period:
    """One day or month.

    Attributes:
        pairs: matched pairs, by the sell's time.
        grid_profit: what they earned (quote).
        fills: trades.
        fees: in base and quote, each at its trade's price (quote).
        result: equity less what was invested, at the period's last price (quote).
        low: lowest price that was seen (quote).
        high: highest.
    """

    pairs: int = 0
    grid_profit: Decimal = ZERO
    fills: int = 0
    fees: Decimal = ZERO
    result: Decimal = ZERO
    low: Decimal | None = None
    high: Decimal | None = None


@dataclass(frozen=True)
class Drawdown:
    """The largest fall of the result from a peak before it.

    Attributes:
        quote: how much (quote).
        share: of the equity at that peak.
        peak_ms: when the peak was (Unix milliseconds).
        low_ms: when the fall was deepest.
    """

    quote: Decimal
    share: Decimal
    peak_ms: int
    low_ms: int


@dataclass
class SymbolReport:
    """One symbol.

    Attributes:
        market: names the coins.
        periods: by name, in the order of time.
        fees_by_coin: all fees, by coin.
        liquidation_profit: what selling the rest of grids that ended earned (quote).
        drawdown: None where there were no trades.
        watched_seconds: how long the bot has noted whether the price was in the range.
        in_range_seconds: how long of that it was.
    """

    market: Market
    periods: dict[str, Period] = field(default_factory=dict)
    fees_by_coin: dict[str, Decimal] = field(default_factory=dict)
    liquidation_profit: Decimal = ZERO
    drawdown: Drawdown | None = None
    watched_seconds: int = 0
    in_range_seconds: int = 0

    def period(self, name: str) -> Period:
        """The period of this name."""
        return self.periods.setdefault(name, Period())


class _Result:
    """Equity less what was invested, along the trades; and its largest fall."""

    def __init__(self, market: Market, grid_runs: list[GridRun]) -> None:
        self._market = market
        self._starts = [(grid.started_ms, grid.investment) for grid in grid_runs]
        self._base = self._quote = ZERO
        self._peak: tuple[Decimal, int] | None = None
        self.drawdown: Drawdown | None = None

    def trade(self, fill: Fill) -> Decimal:
        """Book a trade; its fee in quote (quote)."""
        sign = Decimal(1 if fill.side is Side.BUY else -1)
        self._base = EXACT.add(self._base, EXACT.multiply(fill.quantity, sign))
        self._quote = EXACT.subtract(self._quote, EXACT.multiply(fill.quote, sign))
        if fill.commission_coin == self._market.base:
            self._base = EXACT.subtract(self._base, fill.commission)
            return EXACT.multiply(fill.commission, fill.price)
        if fill.commission_coin == self._market.quote:
            self._quote = EXACT.subtract(self._quote, fill.commission)
            return fill.commission
        return ZERO

    def at(self, price: Decimal) -> Decimal:
        """The result at a price (quote)."""
        return EXACT.add(self._quote, EXACT.multiply(self._base, price))

    def see(self, price: Decimal, time_ms: int) -> Decimal:
        """The result at a price that was seen; counts for the drawdown."""
        result = self.at(price)
        if self._peak is None or result > self._peak[0]:
            self._peak = (result, time_ms)
        fall = EXACT.subtract(self._peak[0], result)
        if self.drawdown is None or fall > self.drawdown.quote:
            equity = EXACT.add(self._investment(self._peak[1]), self._peak[0])
            share = EXACT.divide(fall, equity) if equity > 0 else ZERO
            self.drawdown = Drawdown(fall, share, self._peak[1], time_ms)
        return result

    def _investment(self, time_ms: int) -> Decimal:
        """What the grid of that time was given (quote)."""
        given = [investment for started, investment in self._starts if started <= time_ms]
        return (given or [self._starts[0][1]])[-1]


def make_report(store: Store, symbol: str, by: By, year: int | None) -> SymbolReport:
    """Everything about one symbol.

    Args:
        store: the books, opened for reading.
        symbol: unified name.
        by: how long a period is.
        year: only this one (UTC); None for all.

    Raises:
        UserError: the books cannot be read.
    """
    # Trades and hours as of one moment.
    with store.transaction("DEFERRED"):
        return _read(store, symbol, by, year)


def _read(store: Store, symbol: str, by: By, year: int | None) -> SymbolReport:
    grid_runs = list(store.grid_runs(symbol))
    report = SymbolReport(grid_runs[-1].market)
    result = _Result(report.market, grid_runs)
    for grid in grid_runs:
        ended = grid.closed_ms is not None and _in_year(grid.closed_ms, year)
        if ended and grid.result is not None:
            profit = grid.result.liquidation_profit
            report.liquidation_profit = EXACT.add(report.liquidation_profit, profit)
    for seen in _events(store, symbol):
        if isinstance(seen, Sample):
            if _in_year(seen.hour_ms, year):
                _see_sample(report, result, by, seen)
            continue
        fill, earned = seen
        fee = result.trade(fill)
        if not _in_year(fill.time_ms, year):
            continue
        period = report.period(by.period(fill.time_ms))
        _count_trade(report, period, fill, fee)
        period.result = result.see(fill.price, fill.time_ms)
        if earned is not None:
            _count_pair(period, earned)
    report.periods = dict(sorted(report.periods.items()))
    report.drawdown = result.drawdown
    return report


_Traded = tuple[Fill, Decimal | None]


def _events(store: Store, symbol: str) -> Iterator[_Traded | Sample]:
    """Trades, with the profit of pairs, and hours by their ends: in the order of time."""
    traded = (
        (fill.time_ms, number, (fill, row.profit))
        for number, (row, fill) in enumerate(trades(store, symbol))
    )
    hours = (
        (sample.hour_ms + HOUR_MS, number, sample)
        for number, sample in enumerate(list(store.samples(symbol)))
    )
    events: Iterator[tuple[int, int, _Traded | Sample]] = heapq.merge(
        traded, hours, key=lambda event: event[0]
    )
    for _, _, event in events:
        yield event


def _see_sample(report: SymbolReport, result: _Result, by: By, sample: Sample) -> None:
    report.watched_seconds += sample.seconds
    report.in_range_seconds += sample.in_range_seconds
    period = report.period(by.period(sample.hour_ms))
    _see_price(period, sample.low)
    _see_price(period, sample.high)
    period.result = result.see(sample.close, sample.hour_ms + HOUR_MS)


def _count_trade(report: SymbolReport, period: Period, fill: Fill, fee: Decimal) -> None:
    period.fills += 1
    _see_price(period, fill.price)
    period.fees = EXACT.add(period.fees, fee)
    if fill.commission:
        coin = fill.commission_coin
        before = report.fees_by_coin.get(coin, ZERO)
        report.fees_by_coin[coin] = EXACT.add(before, fill.commission)


def _see_price(period: Period, price: Decimal) -> None:
    period.low = price if period.low is None else min(period.low, price)
    period.high = price if period.high is None else max(period.high, price)


def _count_pair(period: Period, profit: Decimal) -> None:
    period.pairs += 1
    period.grid_profit = EXACT.add(period.grid_profit, profit)


def _in_year(time_ms: int, year: int | None) -> bool:
    return year is None or datetime.fromtimestamp(time_ms / 1000, UTC).year == year


def total(report: SymbolReport) -> Period:
    """All periods as one; its result is the last one's."""
    whole = Period()
    for period in report.periods.values():
        whole.pairs += period.pairs
        whole.grid_profit = EXACT.add(whole.grid_profit, period.grid_profit)
        whole.fills += period.fills
        whole.fees = EXACT.add(whole.fees, period.fees)
        whole.result = period.result
        for price in (period.low, period.high):
            if price is not None:
                _see_price(whole, price)
    return whole


def document(report: SymbolReport) -> dict[str, Any]:
    """One symbol's part as a JSON object; amounts are texts, times Unix milliseconds."""
    fall, watched = report.drawdown, report.watched_seconds
    return {
        "currency": report.market.quote,
        "total": _period(total(report)),
        "fees_by_coin": {coin: plain(amount) for coin, amount in report.fees_by_coin.items()},
        "liquidation_profit": plain(report.liquidation_profit),
        "drawdown": None
        if fall is None
        else {
            "quote": plain(fall.quote),
            "share": share_text(fall.share),
            "peak_ms": fall.peak_ms,
            "low_ms": fall.low_ms,
        },
        "time_in_range": None if not watched else round(report.in_range_seconds / watched, 6),
        "watched_seconds": watched,
        "periods": {name: _period(period) for name, period in report.periods.items()},
    }


def share_text(share: Decimal) -> str:
    """A share with six decimals."""
    return f"{share:.6f}"


def _period(period: Period) -> dict[str, Any]:
    return {
        "pairs": period.pairs,
        "grid_profit": plain(period.grid_profit),
        "fills": period.fills,
        "fees": plain(period.fees),
        "result": plain(period.result),
        "low": None if period.low is None else plain(period.low),
        "high": None if period.high is None else plain(period.high),
    }
