"""The grid: its lines, where it starts, what each order holds, and whether it can pay.

Pure: no I/O, no clock. The rules and their reference numbers are in docs/bot.md ("The grid").
"""

import itertools
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from enum import StrEnum

from gridbase.errors import UserError
from gridbase.market import EXACT, Market, floor_to_lot, plain, round_to_tick

from gridbot.core.order_rules import check_orders

# A root is computed to 60 digits and cut to 40: the noise in its last digits is gone before
# half up is decided on.
_ROOT = Context(prec=40, rounding=ROUND_HALF_EVEN)

MAX_GRIDS = 999


class Spacing(StrEnum):
    """How the lines divide the range: by equal steps or by equal ratios."""

    ARITHMETIC = "arithmetic"
    GEOMETRIC = "geometric"


class FeesIn(StrEnum):
    """What the exchange takes its fee from."""

    RECEIVED = "received"
    QUOTE = "quote"


@dataclass(frozen=True)
class Fees:
    """The fee that plans reckon with; books use what trades really say.

    Attributes:
        rate: share of each trade, such as 0.001.
        taken_in: the coin received, or always the quote coin.
    """

    rate: Decimal
    taken_in: FeesIn = FeesIn.RECEIVED


@dataclass(frozen=True)
class GridSpec:
    """What the user asks for.

    Attributes:
        lower: price of the lowest line (quote).
        upper: price of the highest line (quote).
        grids: number of intervals; there is one line more.
        spacing: how the lines divide the range.
        investment: what the grid may spend (quote); None where `quantity` says it.
        quantity: what every buy buys (base); None where `investment` says it.
    """

    lower: Decimal
    upper: Decimal
    grids: int
    spacing: Spacing
    investment: Decimal | None
    quantity: Decimal | None = None


@dataclass(frozen=True)
class AtrRange:
    """A range taken from the market at the start: the price, less and plus a multiple of ATR.

    Attributes:
        interval: length of the candles, as exchanges name it.
        period: of the average true range, in candles.
        multiple: how many of it the range reaches to each side.
    """

    interval: str
    period: int
    multiple: Decimal


@dataclass(frozen=True)
class GridSettings:
    """What a configuration says about the grid; its range may be known at the start only.

    Attributes:
        lower: price of the lowest line (quote); None with `atr`.
        upper: price of the highest line (quote); None with `atr`.
        grids: number of intervals.
        spacing: how the lines divide the range.
        investment: what the grid may spend (quote); None where `quantity` says it.
        quantity: what every buy buys (base); None where `investment` says it.
        atr: how the range is taken from the market; None where it is fixed.
        post_only: orders of the grid are refused rather than take.
        outside_range_purchase: the most that may be spent at once where the price at the start
            is outside the range (quote); None where no grid begins there.
        allow_losing_pairs: a grid may begin though some of its pairs show no profit.
    """

    lower: Decimal | None
    upper: Decimal | None
    grids: int
    spacing: Spacing
    investment: Decimal | None
    quantity: Decimal | None = None
    atr: AtrRange | None = None
    post_only: bool = False
    outside_range_purchase: Decimal | None = None
    allow_losing_pairs: bool = False

    def spec(self, lower: Decimal, upper: Decimal) -> GridSpec:
        """The grid in a range (quote)."""
        return GridSpec(lower, upper, self.grids, self.spacing, self.investment, self.quantity)

    @property
    def fixed(self) -> GridSpec | None:
        """The grid in its fixed range; None where the market decides."""
        if self.lower is None or self.upper is None:
            return None
        return self.spec(self.lower, self.upper)


@dataclass(frozen=True)
class Plan:
    """A grid ready to be placed at one start price.

    Attributes:
        lines: prices from the lowest to the highest (quote).
        start_price: the price it was planned at (quote).
        empty_line: index of the line without an order.
        quantity: what every buy buys (base).
        investment: what the grid may spend (quote).
    """

    lines: tuple[Decimal, ...]
    start_price: Decimal
    empty_line: int
    quantity: Decimal
    investment: Decimal

    @property
    def buy_lines(self) -> range:
        """Indexes of the lines that start with a buy."""
        return range(self.empty_line)

    @property
    def sell_lines(self) -> range:
        """Indexes of the lines that start with a sell."""
        return range(self.empty_line + 1, len(self.lines))

    @property
    def initial_quantity(self) -> Decimal:
        """What is bought first, so that the sells have something to sell (base)."""
        return EXACT.multiply(self.quantity, Decimal(len(self.sell_lines)))

    @property
    def initial_cost(self) -> Decimal:
        """What the initial purchase costs at the start price, without fee (quote)."""
        return EXACT.multiply(self.initial_quantity, self.start_price)


def grid_lines(spec: GridSpec, tick_size: Decimal) -> tuple[Decimal, ...]:
    """The `grids + 1` prices of a grid, each rounded to the tick (nearest, half up).

    Raises:
        UserError: two lines fall on the same tick.
    """
    lines = tuple(
        round_to_tick(_raw_line(spec, index), tick_size) for index in range(spec.grids + 1)
    )
    for below, above in itertools.pairwise(lines):
        if above <= below:
            raise UserError(
                f"grid.grids = {spec.grids} puts two lines on the same price {plain(below)}: "
                f"the tick size is {plain(tick_size)}; use fewer grids or a wider range"
            )
    if lines[0] <= 0:
        raise UserError(
            f"grid.lower = {plain(spec.lower)} rounds to a price of 0 "
            f"at the tick size {plain(tick_size)}; use a higher one"
        )
    return lines


def _raw_line(spec: GridSpec, index: int) -> Decimal:
    if index == 0:
        return spec.lower
    if index == spec.grids:
        return spec.upper
    if spec.spacing is Spacing.ARITHMETIC:
        width = EXACT.subtract(spec.upper, spec.lower)
        return EXACT.add(
            spec.lower, EXACT.divide(EXACT.multiply(width, Decimal(index)), Decimal(spec.grids))
        )
    ratio = EXACT.divide(spec.upper, spec.lower)
    root = EXACT.power(ratio, EXACT.divide(Decimal(index), Decimal(spec.grids)))
    return _ROOT.plus(EXACT.multiply(spec.lower, root))


def nearest_line(lines: tuple[Decimal, ...], price: Decimal) -> int:
    """Index of the line nearest to `price` (quote); on a tie, the lower one."""
    return min(range(len(lines)), key=lambda index: (abs(lines[index] - price), index))


def break_even_ratio(fees: Fees) -> Decimal:
    """Price ratio of neighbouring lines at which a matched pair earns exactly nothing.

    With fees in quote a pair of quantity q earns ``q·s·(1-f) - q·b·(1+f)``, so the ratio s/b is
    ``(1+f)/(1-f)``. Where the fee is taken from what is received, only ``q·(1-f)`` can be sold
    and the ratio is ``1/(1-f)²``, a little more (1.002003 against 1.002002 at 0.1 %).
    """
    kept = EXACT.subtract(Decimal(1), fees.rate)
    if fees.taken_in is FeesIn.QUOTE:
        return EXACT.divide(EXACT.add(Decimal(1), fees.rate), kept)
    return EXACT.divide(Decimal(1), EXACT.multiply(kept, kept))


def check_spacing(spec: GridSpec, lines: tuple[Decimal, ...], fees: Fees) -> None:
    """Refuse a grid one of whose pairs could not pay its own fees.

    Raises:
        UserError: names the spacing, the smallest one that pays and the most grids.
    """
    ratio = break_even_ratio(fees)
    for below, above in itertools.pairwise(lines):
        if above <= EXACT.multiply(below, ratio):
            raise UserError(
                f"grid.grids = {spec.grids} puts lines at {plain(below)} and {plain(above)}, "
                f"too close to pay a fee of {plain(fees.rate * 100)} % twice: the smallest "
                f"spacing that pays is {_percent_up(ratio)} % (a price ratio above "
                f"{_ratio_text(ratio)}); {_most_grids(spec, ratio)}"
            )


def _percent_up(ratio: Decimal) -> str:
    percent = (ratio - 1) * 100
    return plain(percent.quantize(Decimal("0.0001"), rounding=ROUND_CEILING))


def _ratio_text(ratio: Decimal) -> str:
    return plain(ratio.quantize(Decimal("0.000001"), rounding=ROUND_HALF_EVEN))


def _most_grids(spec: GridSpec, ratio: Decimal) -> str:
    if spec.spacing is Spacing.GEOMETRIC:
        most = EXACT.divide(EXACT.ln(spec.upper / spec.lower), EXACT.ln(ratio))
    else:
        step = spec.upper - spec.upper / ratio
        most = EXACT.divide(spec.upper - spec.lower, step)
    grids = int(most.to_integral_value(rounding=ROUND_FLOOR))
    if grids == most:
        grids -= 1
    if grids < 1:
        return "widen the range"
    return f"use at most {grids} grids in this range"


def sell_quantity(brought: Decimal, lot_size: Decimal) -> Decimal:
    """What can be sold of the base that a buy brought (base)."""
    return floor_to_lot(brought, lot_size)


def brought_by(quantity: Decimal, fees: Fees) -> Decimal:
    """What a buy of `quantity` brings after the fee that a plan reckons with (base)."""
    if fees.taken_in is FeesIn.QUOTE:
        return quantity
    return EXACT.multiply(quantity, EXACT.subtract(Decimal(1), fees.rate))


def make_plan(spec: GridSpec, market: Market, fees: Fees, price: Decimal) -> Plan:
    """Place a grid at a start price.

    Args:
        spec: what the user asks for.
        market: the exchange's rules.
        fees: what a trade costs.
        price: the start price (quote).

    Returns:
        The plan; every order in it is within the market's rules.

    Raises:
        UserError: the grid cannot pay its fees, or an order would be outside the rules.
    """
    lines = grid_lines(spec, market.tick_size)
    check_spacing(spec, lines, fees)
    empty = nearest_line(lines, price)
    check_orders(market, lines, price, empty)
    denominator = _denominator(lines, empty, price, fees)
    quantity = _quantity(spec, market, denominator)
    needed = _smallest_quantity(market, fees, lines)
    if quantity < needed:
        raise UserError(_too_small(spec, market, quantity, needed, denominator))
    most = largest_order(market, lines[-1])
    if most is not None and quantity > most:
        raise UserError(
            f"{_asked(spec)} makes orders of {plain(quantity)} "
            f"{market.base}, above the exchange's maximum of {plain(most)}; "
            "invest less or use more grids"
        )
    investment = spec.investment
    if investment is None:
        investment = EXACT.multiply(quantity, denominator)
    return Plan(lines, price, empty, quantity, investment)


def _quantity(spec: GridSpec, market: Market, denominator: Decimal) -> Decimal:
    """What every buy buys (base): as asked for, or what the investment allows, on the lot."""
    if spec.quantity is None:
        if spec.investment is None:
            raise UserError("grid.investment and grid.quantity are both missing; set one of them")
        return floor_to_lot(EXACT.divide(spec.investment, denominator), market.lot_size)
    quantity = floor_to_lot(spec.quantity, market.lot_size)
    if quantity != spec.quantity:
        raise UserError(
            f"grid.quantity = {plain(spec.quantity)} is no multiple of the exchange's lot size "
            f"{plain(market.lot_size)}; use {plain(_ceil_to_lot(spec.quantity, market.lot_size))}"
        )
    return quantity


def _denominator(lines: tuple[Decimal, ...], empty: int, price: Decimal, fees: Fees) -> Decimal:
    """What one unit of quantity on every line costs (quote)."""
    sells = Decimal(len(lines) - 1 - empty)
    total = EXACT.multiply(sells, price)
    for line in lines[:empty]:
        total = EXACT.add(total, line)
    if fees.taken_in is FeesIn.QUOTE:
        total = EXACT.multiply(total, EXACT.add(Decimal(1), fees.rate))
    return total


def _asked(spec: GridSpec) -> str:
    if spec.investment is None:
        return f"grid.quantity = {plain(spec.quantity or Decimal(0))}"
    return f"grid.investment = {plain(spec.investment)}"


def _too_small(
    spec: GridSpec, market: Market, quantity: Decimal, needed: Decimal, denominator: Decimal
) -> str:
    if spec.investment is None:
        would_do = f"quantity that is allowed is {plain(needed)}"
    else:
        smallest = EXACT.multiply(needed, denominator)
        rounded = smallest.quantize(Decimal("0.00000001"), rounding=ROUND_CEILING)
        would_do = f"investment that is allowed is {plain(rounded)}"
    return (
        f"{_asked(spec)} is too small for {spec.grids} grids: orders "
        f"of {plain(quantity)} {market.base} are below the exchange's minimum "
        f"({plain(market.min_quantity)} {market.base}, {plain(market.min_notional)} "
        f"{market.quote}); the smallest {would_do}"
    )


def _smallest_quantity(market: Market, fees: Fees, lines: tuple[Decimal, ...]) -> Decimal:
    """Smallest quantity of a buy for which every buy and every sell is within the rules."""
    buy = smallest_order(market, lines[0])
    sell = smallest_order(market, lines[1])
    # A buy must bring enough for a sell that is large enough.
    kept = brought_by(Decimal(1), fees)
    return max(buy, _ceil_to_lot(EXACT.divide(sell, kept), market.lot_size))


def smallest_order(market: Market, price: Decimal) -> Decimal:
    """Smallest quantity (base) of an order at `price` (quote) that the exchange takes."""
    by_notional = _ceil_to_lot(EXACT.divide(market.min_notional, price), market.lot_size)
    return max(by_notional, _ceil_to_lot(market.min_quantity, market.lot_size), market.lot_size)


def largest_order(market: Market, price: Decimal) -> Decimal | None:
    """Largest quantity (base) of an order at `price` (quote) that the exchange takes; None: any."""
    bounds = [] if market.max_quantity is None else [market.max_quantity]
    if market.max_notional is not None:
        bounds.append(EXACT.divide(market.max_notional, price))
    return floor_to_lot(min(bounds), market.lot_size) if bounds else None


def _ceil_to_lot(quantity: Decimal, lot_size: Decimal) -> Decimal:
    floored = floor_to_lot(quantity, lot_size)
    return floored if floored == quantity else EXACT.add(floored, lot_size)


def pair_profit(plan: Plan, line: int, market: Market, fees: Fees) -> Decimal:
    """What one matched pair earns: a buy on `line`, the sell on the line above (quote)."""
    bought, sold = plan.lines[line], plan.lines[line + 1]
    cost = EXACT.multiply(plan.quantity, bought)
    if fees.taken_in is FeesIn.QUOTE:
        cost = EXACT.multiply(cost, EXACT.add(Decimal(1), fees.rate))
    quantity = sell_quantity(brought_by(plan.quantity, fees), market.lot_size)
    proceeds = EXACT.multiply(quantity, sold)
    return EXACT.subtract(EXACT.multiply(proceeds, EXACT.subtract(Decimal(1), fees.rate)), cost)


def plan_warnings(plan: Plan, market: Market, fees: Fees) -> list[str]:
    """What a plan's owner should know, though it can be traded; one line each.

    A coarse lot can leave as much of every buy unsold as the pair earns, or more: the rest is kept
    as base, but the pair's profit in quote is not above zero.
    """
    losing = [
        line for line in range(len(plan.lines) - 1) if pair_profit(plan, line, market, fees) <= 0
    ]
    if not losing:
        return []
    brought = brought_by(plan.quantity, fees)
    unsold = EXACT.subtract(brought, sell_quantity(brought, market.lot_size))
    return [
        (
            f"{len(losing)} of {len(plan.lines) - 1} pairs show no profit in {market.quote}: of "
            f"each buy of {plain(plan.quantity)} {market.base}, {plain(unsold)} cannot be sold at "
            f"the lot size {plain(market.lot_size)} and stays as {market.base}; invest more or use "
            "fewer grids"
        )
    ]
