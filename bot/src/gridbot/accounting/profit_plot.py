"""The report as a drawing: profit that adds up, profit of each period, prices."""

from datetime import UTC, datetime

import numpy as np
from gridbase.market import plain

from gridbot.accounting.profit_report import SymbolReport, total
from gridbot.plot.figure import BLUE, GREEN, ORANGE, Figure, Layer, Panel, band


def report_figure(reports: dict[str, SymbolReport]) -> Figure:
    """One drawing of all symbols."""
    panels: list[Panel] = []
    facts: list[tuple[str, str]] = []
    for symbol, report in reports.items():
        panels += _panels(symbol, report)
        whole = total(report)
        facts += [
            (f"{symbol}: grid profit", f"{plain(whole.grid_profit)} {report.market.quote}"),
            (f"{symbol}: pairs", str(whole.pairs)),
            (f"{symbol}: fees", f"{plain(whole.fees)} {report.market.quote}"),
        ]
    return Figure("gridbot report", tuple(panels), tuple(facts))


def _panels(symbol: str, report: SymbolReport) -> list[Panel]:
    names, periods = list(report.periods), list(report.periods.values())
    times = np.array([_begin_ms(name) for name in names], dtype=float)
    profits = np.array([float(period.grid_profit) for period in periods])
    results = np.array([float(period.result) for period in periods])
    quote = report.market.quote
    seen = [index for index, period in enumerate(periods) if period.low is not None]
    low = np.array([float(periods[index].low or 0) for index in seen])
    high = np.array([float(periods[index].high or 0) for index in seen])
    return [
        Panel(
            f"{symbol}: profit since the beginning ({quote})",
            (
                Layer("grid profit", times, np.cumsum(profits), BLUE),
                Layer("equity less investment", times, results, ORANGE),
            ),
            weight=2,
        ),
        Panel(
            f"{symbol}: grid profit of each period ({quote})",
            (Layer("grid profit", times, profits, GREEN, "dots"),),
        ),
        Panel(f"{symbol}: price ({quote})", (band("seen", times[seen], low, high),)),
    ]


def _begin_ms(name: str) -> float:
    """When a period begins (Unix milliseconds)."""
    date = name if len(name) > len("2026-01") else f"{name}-01"
    return datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp() * 1000
