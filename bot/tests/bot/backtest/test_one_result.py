"""One core, one result: backtest, plain reference and trading engine agree to the last digit."""

import itertools
from decimal import Decimal

import pytest
from gridbase.errors import UserError
from gridbot.backtest import run_backtest

from . import reference
from .conftest import MINUTE_MS, Case, random_case, stock_case
from .engine_loop import EngineLoop

SHARE = Decimal("1E-10")


def rows_of(result) -> list[tuple]:
    return [
        (fill.time_ms, str(fill.side), fill.price, fill.quantity, fill.fee, fill.fee_coin)
        for fill in result.fills()
    ]


def check_against_reference(case, result):
    expected = reference.run(case.rows, **case.settings)
    account = result.account
    assert list(result.plan.lines) == expected.lines
    assert result.plan.quantity == expected.quantity
    assert rows_of(result) == expected.fills
    assert result.ledger.candle.tolist() == expected.fill_candles
    assert (result.initial_base, result.initial_cost) == (
        expected.initial_base,
        expected.initial_cost,
    )
    assert (account.base, account.quote) == (expected.base, expected.quote)
    assert account.grid_profit == expected.grid_profit
    assert account.held_cost == expected.held_cost
    assert account.fees_in_quote == expected.fees
    assert result.drawdown.quote == expected.drawdown_quote
    assert abs(result.drawdown.share - expected.drawdown) <= SHARE / 2


def check_against_engine(case, result):
    rows = case.rows
    loop = EngineLoop(case, rows[0][1])
    loop.walk(rows)
    books, account = loop.engine.books, result.account
    assert rows_of(result) == loop.fills
    assert (account.base, account.quote) == (
        books.base_held,
        books.investment + books.quote_flow,
    )
    assert (account.buys, account.sells) == (books.buys, books.sells)
    assert account.grid_profit == books.grid_profit
    assert account.held_cost == books.held_cost
    assert account.fees_in_quote == books.fees_in_quote
    assert (result.initial_base, result.initial_cost) == (books.initial_base, books.initial_cost)
    assert result.equity == books.equity(result.price)


def check(case) -> int:
    """All three agree; how many fills there were."""
    result = run_backtest(case.candles, case.spec, case.market, case.fees)
    check_against_reference(case, result)
    check_against_engine(case, result)
    profit = result.account.grid_profit + result.account.unrealised_profit(result.price)
    assert result.equity - case.investment == profit
    return len(result.ledger)


@pytest.mark.parametrize("fee_in", ["received", "quote"])
@pytest.mark.parametrize("spacing", ["arithmetic", "geometric"])
@pytest.mark.parametrize("lines", [20, 100])
def test_the_recorded_market(recorded, lines, spacing, fee_in):
    case = Case(
        candles=recorded,
        lower=Decimal(33_000),
        upper=Decimal(48_000),
        grids=lines - 1,
        spacing=spacing,
        investment=Decimal(10_000),
        fee=Decimal("0.001"),
        fee_in=fee_in,
        tick=Decimal("0.01"),
        lot=Decimal("0.00000001"),
    )
    assert check(case) > 100


def test_two_hundred_random_markets():
    checked = fills = idle = outside = 0
    for seed in itertools.count():
        case = random_case(seed)
        try:
            fills_here = check(case)
        except UserError:
            continue  # two lines on one tick, or an investment too small
        start = case.rows[0][1]
        outside += not case.lower < start < case.upper
        idle += fills_here == 0
        fills += fills_here
        checked += 1
        if checked == 200:
            break
    # They are markets worth looking at.
    assert seed < 300
    assert fills > 20_000
    assert outside > 20
    assert idle < 40


def test_stocks_with_sessions():
    """Whole shares, nothing between the close and the next opening, and a jump over that."""
    fills = jumps = 0
    for seed in range(12):
        case = stock_case(seed)
        fills += check(case)
        rows = case.rows
        step = (case.upper - case.lower) / case.grids
        jumps += sum(
            later[0] - row[0] > MINUTE_MS and abs(later[1] - row[4]) > step
            for row, later in itertools.pairwise(rows)
        )
    assert fills > 500
    assert jumps > 20


def test_fees_rounded_up_as_the_embedded_exchange_does_change_no_price_and_no_quantity():
    """So that its fills are the backtest's, though its books differ in the ninth decimal."""
    fills = 0
    for seed in range(30):
        case = random_case(seed)
        exact = run_backtest(case.candles, case.spec, case.market, case.fees)
        unit = Decimal("0.00000001")
        rounded = run_backtest(case.candles, case.spec, case.market, case.fees, fee_unit=unit)
        assert [row[:4] for row in rows_of(exact)] == [row[:4] for row in rows_of(rounded)]
        for ours, theirs in zip(exact.fills(), rounded.fills(), strict=True):
            assert 0 <= theirs.fee - ours.fee < unit
            fills += 1
    assert fills > 5_000
