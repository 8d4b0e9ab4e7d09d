"""What the books say about one symbol: its days, its ended grids, its prices."""

from collections.abc import Iterable
from dataclasses import asdict
from decimal import Decimal
from itertools import islice
from typing import Any

from gridbase.market import EXACT, plain

from gridbot.accounting.grid_figures import DAY_MS, profit
from gridbot.accounting.profit_report import HOUR_MS, By, SymbolReport, make_report
from gridbot.store import GridRun, Sample, Store

DAYS = 90
ENDED = 50
# Prices that are kept of each age: every hour, every sixth, and of all before so many in all.
_FINE_MS = 7 * DAY_MS
_COARSE_MS = 30 * DAY_MS
_COARSE_HOURS = 6
_OLDEST = 250


def overview(store: Store, symbol: str, now_ms: int) -> dict[str, Any]:
    """Everything about one symbol; amounts are texts, times Unix milliseconds.

    It reads all trades, as `gridbot report` does: call it rarely.

    Args:
        store: the books, opened for reading.
        symbol: unified name, of which there is a grid.
        now_ms: when.

    Raises:
        UserError: the books cannot be read.
    """
    with store.transaction("DEFERRED"):  # all of it as of one moment
        ended = [_ended(grid) for grid in store.grid_runs(symbol) if grid.closed_ms is not None]
        report = make_report(store, symbol, By.DAY, None)
        hours = thinned(store.samples(symbol), now_ms)
    total = Decimal(0)
    for grid in ended:
        total = EXACT.add(total, Decimal(grid["profit"] or 0))
    return {
        "days": _days(report),
        "ended": ended[: -ENDED - 1 : -1],
        "ended_count": len(ended),
        "ended_profit": plain(total),
        "hours": hours,
    }


def _days(report: SymbolReport) -> list[dict[str, Any]]:
    """The latest days on which anything was seen, newest first."""
    days, before, peak = [], Decimal(0), Decimal(0)
    for name, period in report.periods.items():
        change = EXACT.subtract(period.result, before)
        before, peak = period.result, max(peak, period.result)
        days.append(
            {
                "day": name,
                "pairs": period.pairs,
                "grid_profit": plain(period.grid_profit),
                "fees": plain(period.fees),
                "change": plain(change),
                "result": plain(period.result),
                "peak": plain(peak),
                "drawdown": plain(EXACT.subtract(peak, period.result)),
            }
        )
    return days[: -DAYS - 1 : -1]


def _ended(grid: GridRun) -> dict[str, Any]:
    document: dict[str, Any] = {
        "started_ms": grid.started_ms,
        "ended_ms": grid.closed_ms,
        "investment": plain(grid.investment),
        "equity": None,
        "profit": None,
        "percent": None,
        "reason": "",
    }
    result = grid.result
    if result is None or grid.closed_ms is None:
        return document
    earned = asdict(profit(grid.investment, result.equity, grid.closed_ms - grid.started_ms))
    return document | {
        "equity": plain(result.equity),
        "profit": plain(earned["total"]),
        "percent": None if earned["percent"] is None else plain(earned["percent"]),
        "reason": result.reason,
    }


def thinned(samples: Iterable[Sample], now_ms: int) -> list[tuple[int, str]]:
    """The hours' last prices with their times (Unix milliseconds), fewer the older they are.

    Args:
        samples: of one symbol, oldest first.
        now_ms: from when on their age counts.
    """
    fine: list[tuple[int, str]] = []
    coarse: list[tuple[int, str]] = []
    old: list[tuple[int, str]] = []
    for sample in samples:
        end = sample.hour_ms + HOUR_MS
        seen = (end, plain(sample.close))
        if end > now_ms - _FINE_MS:
            fine.append(seen)
        elif end <= now_ms - _COARSE_MS:
            old.append(seen)
        elif end // HOUR_MS % _COARSE_HOURS == 0:
            coarse.append(seen)
    step = -(-len(old) // _OLDEST) or 1
    return [*islice(old, 0, None, step), *coarse, *fine]
