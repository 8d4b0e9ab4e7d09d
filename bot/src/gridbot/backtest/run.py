"""Runs one grid over recorded candles."""

from __future__ import annotations

from decimal import Decimal
from time import perf_counter

from gridbase.candles.price_units import from_units
from gridbase.market import Market

from gridbot.backtest.crossings import find_crossings
from gridbot.backtest.data import Candles
from gridbot.backtest.equity import Curve
from gridbot.backtest.ledger import Ledger
from gridbot.backtest.result import Result
from gridbot.backtest.tariff import Tariff
from gridbot.core.grid import Fees, GridSpec, make_plan


def run_backtest(
    candles: Candles,
    spec: GridSpec,
    market: Market,
    fees: Fees,
    *,
    fee_unit: Decimal | None = None,
) -> Result:
    """Place a grid at the first candle's open and let it trade to the last one's close.

    Args:
        candles: the market; its walk is that of docs/backtest.md.
        spec: the grid.
        market: the exchange's rules.
        fees: what a trade costs.
        fee_unit: fees are rounded up to a multiple of it, as the practice exchange does at
            ``0.00000001``; None leaves them exact.

    Raises:
        UserError: no such grid can be placed; says what is allowed.
    """
    started = perf_counter()
    plan = make_plan(spec, market, fees, from_units(int(candles.opens[0])))
    tariff = Tariff(plan, market, fees, fee_unit)
    crossings = find_crossings(candles, plan.lines, plan.empty_line)
    ledger = Ledger(crossings, tariff)
    account = ledger.account(len(ledger))
    drawdown = Curve(candles, ledger).drawdown()
    seconds = perf_counter() - started
    return Result(candles, plan, ledger, account, drawdown, seconds)
