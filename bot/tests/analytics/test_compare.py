"""The comparison by itself: every step once, every amount of money in one class."""

from dataclasses import replace
from decimal import Decimal
from random import Random

import numpy as np
import pytest
from analytics.compare.books import Stretch, Traded
from analytics.compare.day import Comparison
from analytics.compare.expected import Begin, expect, fresh
from analytics.compare.match import pair
from analytics.compare.prices import Prices
from analytics.compare.reasons import Reasons
from analytics.compare.steps import Attempt, Leg, Step, Why
from gridbase.candles.price_units import UNITS_PER_QUOTE, from_units
from gridbase.errors import UserError
from gridbase.market import EXACT, Market
from gridbot.backtest import Candles, run_backtest
from gridbot.backtest.data import Columns
from gridbot.core.grid import Fees, FeesIn, GridSpec, Plan, Spacing, make_plan
from gridbot.core.orders import Role, Side
from gridbot.store import GridResult, GridRun

from bot.tests.bot.backtest.conftest import random_case

MARKET = Market(
    "BTC/USDT", "BTC", "USDT", Decimal("0.01"), Decimal("0.00001"), Decimal(0), Decimal(0)
)
FEES = Fees(Decimal("0.001"), FeesIn.RECEIVED)
SPEC = GridSpec(Decimal(90), Decimal(110), 4, Spacing.ARITHMETIC, Decimal(1000))
PLAN = make_plan(SPEC, MARKET, FEES, Decimal(100))
LOW, MIDDLE, HIGH = 1, 2, 3  # lines at 95, 100 and 105
MINUTE = 60_000
END = 1_000_000


def rows_of(*prices: tuple[int, str | int]) -> Candles:
    """Trades: time in ms, and price."""
    times = np.array([time for time, _ in prices], dtype=np.int64)
    units = np.array([int(Decimal(price) * UNITS_PER_QUOTE) for _, price in prices], dtype=np.int64)
    return Candles("trades", Columns(times, units, units, units, units))


def run_of(plan: Plan = PLAN, **changes: object) -> GridRun:
    run = GridRun(
        id=1,
        symbol="BTC/USDT",
        tag="abc123",
        settings={},
        market=MARKET,
        plan=plan,
        investment=plan.investment,
        opening={},
        first_cursor="0",
        trade_cursor="0",
        started_ms=0,
    )
    return replace(run, **changes)


def leg_of(step: Step, created_ms: int, **changes: object) -> Leg:
    """A leg that traded one step whole."""
    leg = Leg(
        name=f"{step.line}{step.side}{step.time_ms}",
        role=step.role,
        side=step.side,
        line=step.line,
        price=step.quote / step.quantity,
        quantity=step.quantity,
        attempts=(Attempt(created_ms, sent=True),),
        complete=True,
        trades=1,
        first_ms=step.time_ms,
        took=False,
        step=step,
    )
    return replace(leg, **changes)


def resting(line: int, side: Side, created_ms: int, **changes: object) -> Leg:
    """An order that has not traded."""
    step = Step(0, line, side, Role.GRID, PLAN.quantity, PLAN.quantity * PLAN.lines[line], {})
    leg = leg_of(step, created_ms, complete=False, trades=0, first_ms=0)
    return replace(leg, **({"step": None} | changes))


def explained(candles, legs, *, interval=0, gaps=(), pauses=(), halts=(), run=None) -> Comparison:
    """A grid whose empty line is the middle one at time 0, and that has run before."""
    run = run or run_of()
    prices = Prices(candles, interval, list(gaps))
    begin = Begin(0, PLAN.empty_line, {})
    expected = expect(candles, run.plan, MARKET, FEES, begin)
    last = from_units(int(candles.closes[-1]))
    reasons = Reasons(Traded(run, legs), prices, FEES, last, end_ms=END, pauses=pauses, halts=halts)
    done = [leg for leg in legs if leg.step is not None]
    return Comparison(run, Stretch(0, END), last, reasons.explain(pair(expected, done)))


def as_expected(candles) -> list[Step]:
    return [each.step for each in expect(candles, PLAN, MARKET, FEES, Begin(0, MIDDLE, {}))]


def check_sums(comparison: Comparison) -> None:
    """The money of all classes is what both differ by, to the last digit; each step counts once."""
    money = sum((amount for _, amount in comparison.classes().values()), Decimal(0))
    bot, backtest = comparison.side(done=True), comparison.side(done=False)
    assert money == EXACT.subtract(bot.result, backtest.result)
    assert sum(count for count, _ in comparison.classes().values()) == len(comparison.differences)


@pytest.mark.parametrize("seed", range(60))
def test_what_is_expected_is_what_a_backtest_does(seed):
    case = random_case(seed)
    try:
        result = run_backtest(case.candles, case.spec, case.market, case.fees)
    except UserError:
        pytest.skip("no such grid")
    begin = fresh(result.plan, case.market, case.fees, Decimal(0), 0)
    found = [each.step for each in expect(case.candles, result.plan, case.market, case.fees, begin)]
    if begin.initial is not None:
        assert found.pop(0).quantity == result.plan.initial_quantity
    fills = list(result.fills())
    assert len(found) == len(fills)
    for step, fill in zip(found, fills, strict=True):
        assert (step.time_ms, step.line, step.side) == (fill.time_ms, fill.line, fill.side)
        assert step.quantity == fill.quantity
        assert step.quote == fill.quantity * fill.price
        assert step.fees == ({fill.fee_coin: fill.fee} if fill.fee else {})


@pytest.mark.parametrize("seed", range(60))
def test_all_money_is_in_one_class_whatever_the_bot_did(seed):
    random = Random(seed)  # noqa: S311
    price, walk = Decimal(100), []
    for number in range(300):
        price = min(Decimal(115), max(Decimal(85), price + random.randint(-3, 3)))
        walk.append((number * 3_000, price))
    candles = rows_of(*walk)
    legs = []
    for step in as_expected(candles):
        fate = random.random()
        if fate < 0.2:
            continue
        late = random.choice((0, 0, 5_000, 90_000))
        more = random.choice((Decimal(0), Decimal("0.00002")))
        quantity = step.quantity - more
        done = replace(
            step,
            time_ms=step.time_ms + late,
            quantity=quantity,
            quote=quantity * PLAN.lines[step.line] - random.choice((0, 1)),
            fees={random.choice(("BTC", "USDT", "BNB")): Decimal("0.001")},
        )
        legs.append(leg_of(done, max(0, step.time_ms - 9_000), complete=fate < 0.95))
    comparison = explained(candles, legs, run=run_of(closed_ms=END))
    check_sums(comparison)
    told = [each.pairing.done for each in comparison.differences if each.pairing.done]
    assert sorted(leg.name for leg in told) == sorted(leg.name for leg in legs)


def test_a_bot_that_does_the_same_differs_in_nothing():
    candles = rows_of((1_000, 100), (2_000, 95), (3_000, 100), (4_000, 105), (5_000, 94))
    legs = [leg_of(step, 0) for step in as_expected(candles)]
    comparison = explained(candles, legs)
    assert set(comparison.classes()) == {Why.EQUAL}
    assert comparison.classes()[Why.EQUAL] == (len(legs), Decimal(0))


DIP = rows_of((1_000, 100), (200_000, 95), (201_000, 94), (300_000, 97))
(BUY,) = as_expected(DIP)
BACK = rows_of((1_000, 100), (200_000, 94), (230_000, 101))
BOUGHT, SOLD = as_expected(BACK)
TOUCH = rows_of((1_000, 100), (200_000, 95), (201_000, 97))
OLD = resting(LOW, Side.BUY, 10_000)
ENDED = GridResult(*(Decimal(0),) * 4, reason="")


def moved(step: Step, ms: int, **changes: object) -> Step:
    return replace(step, time_ms=step.time_ms + ms, **changes)


@pytest.mark.parametrize(
    ("why", "candles", "legs", "told"),
    [
        (Why.LATENCY, DIP, [leg_of(moved(BUY, 2_000), 198_000)], {}),
        (Why.LATENCY, DIP, [replace(OLD, attempts=(Attempt(198_000, sent=True),))], {}),
        (
            Why.LATENCY,
            BACK,
            [leg_of(BOUGHT, 0), leg_of(moved(SOLD, 9_000), 231_000)],
            {},
        ),
        (
            Why.OUTAGE,
            BACK,
            [leg_of(BOUGHT, 0), leg_of(moved(SOLD, 460_000), 690_000)],
            {},
        ),
        (Why.PARTIAL, DIP, [leg_of(moved(BUY, 90_000), 0, trades=3, first_ms=BUY.time_ms)], {}),
        (
            Why.PARTIAL,
            DIP,
            [leg_of(moved(BUY, 0, quantity=BUY.quantity / 2, quote=BUY.quote / 2), 0, trades=2)],
            {},
        ),
        (Why.FEES, DIP, [leg_of(replace(BUY, fees={"BTC": Decimal("0.01")}), 0)], {}),
        (Why.FEES, DIP, [leg_of(replace(BUY, fees={}), 0)], {}),
        (Why.PRICE, DIP, [leg_of(replace(BUY, quote=BUY.quote - 1), 0)], {}),
        (Why.HELD_BACK, DIP, [replace(OLD, attempts=(Attempt(10_000, sent=False),))], {}),
        (Why.HELD_BACK, DIP, [leg_of(moved(BUY, 50_000), 10_000, took=True)], {}),
        (Why.PAUSE, DIP, [OLD], {"pauses": [Stretch(150_000, 250_000)]}),
        (Why.PAUSE, DIP, [], {"pauses": [Stretch(150_000, 250_000)]}),
        (Why.KILL_SWITCH, DIP, [OLD], {"halts": [Stretch(150_000, 900_000)]}),
        (
            Why.KILL_SWITCH,
            DIP,
            [],
            {"halts": [Stretch(100_000, 160_000)], "run": run_of(closed_ms=150_000)},
        ),
        (
            Why.RANGE_LEFT,
            DIP,
            [],
            {"run": run_of(closed_ms=150_000, result=replace(ENDED, takes_over=True))},
        ),
        (
            Why.GRID_ENDED,
            DIP,
            [],
            {"halts": [Stretch(9_000, 10_000)], "run": run_of(closed_ms=150_000, result=ENDED)},
        ),
        (Why.GRID_ENDED, DIP, [], {"run": run_of(closed_ms=150_000, result=ENDED)}),
        (Why.TOUCHED, TOUCH, [OLD], {}),
        (Why.DATA_GAP, TOUCH, [leg_of(moved(BUY, -90_000), 0)], {"gaps": [Stretch(0, 199_000)]}),
        (Why.BEFORE, rows_of((1_000, 94)), [replace(OLD, attempts=(Attempt(-9, sent=True),))], {}),
        # What nothing explains.
        (Why.UNEXPLAINED, DIP, [OLD], {}),
        (Why.UNEXPLAINED, DIP, [], {}),
        # Another order was sent later, and not for this.
        (
            Why.UNEXPLAINED,
            rows_of((1_000, 100), (200_000, 94), (300_000, 101)),
            [replace(OLD, attempts=(*OLD.attempts, Attempt(600_000, sent=True)))],
            {},
        ),
        (Why.UNEXPLAINED, DIP, [leg_of(moved(BUY, 50_000), 10_000)], {}),
        (Why.UNEXPLAINED, TOUCH, [leg_of(moved(BUY, -90_000), 0)], {}),
        (
            Why.UNEXPLAINED,
            DIP,
            [leg_of(replace(BUY, quantity=BUY.quantity * 2, quote=BUY.quote * 2), 0)],
            {},
        ),
    ],
)
def test_each_reason(why, candles, legs, told):
    comparison = explained(candles, legs, **told)
    check_sums(comparison)
    reasons = set(comparison.classes()) - {Why.EQUAL}
    assert reasons == {why}


def test_a_round_trip_that_was_missed_has_one_reason_for_both_ways():
    candles = rows_of((1_000, 100), (200_000, 94), (400_000, 101), (500_000, 94))
    buys = [leg_of(as_expected(candles)[2], 0)]
    comparison = explained(candles, buys, pauses=[Stretch(150_000, 450_000)])
    check_sums(comparison)
    assert comparison.classes()[Why.PAUSE][0] == 2
    assert comparison.classes()[Why.EQUAL][0] == 1


def test_the_order_within_a_candle_is_not_known():
    units = [int(Decimal(price) * UNITS_PER_QUOTE) for price in (100, 106, 94, 100)]
    columns = [np.array([each], dtype=np.int64) for each in (180_000, *units)]
    candles = Candles("candles", Columns(*columns))
    step = Step(200_000, LOW, Side.BUY, Role.GRID, PLAN.quantity, PLAN.quantity * 95, {})
    sold = Step(210_000, MIDDLE, Side.SELL, Role.GRID, PLAN.quantity, PLAN.quantity * 100, {})
    comparison = explained(candles, [leg_of(step, 0), leg_of(sold, 201_000)], interval=MINUTE)
    check_sums(comparison)
    assert Why.UNEXPLAINED not in comparison.classes()
    assert Why.IN_CANDLE in comparison.classes()


def test_what_trades_in_parts_may_be_whole_after_the_price_has_come_back():
    candles = rows_of((1_000, 100), (200_000, 94), (210_000, 101), (300_000, 94), (400_000, 101))
    buy, sell, again, last = as_expected(candles)
    legs = [
        leg_of(moved(buy, 15_000), 0, trades=3, first_ms=buy.time_ms),
        leg_of(moved(sell, 190_000), 216_000),
    ]
    comparison = explained(candles, legs)
    check_sums(comparison)
    # The sale could not be ordered before the purchase was whole; the one after it could.
    assert {why: count for why, (count, _) in comparison.classes().items()} == {
        Why.PARTIAL: 3,
        Why.EQUAL: 1,
    }
    steps = [each.pairing.expected.step for each in comparison.differences]
    assert steps == [buy, sell, again, last]
