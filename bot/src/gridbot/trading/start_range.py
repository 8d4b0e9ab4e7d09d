"""What a grid may begin with only where the user has confirmed it. Pure.

A purchase outside of its range, and pairs that show no profit.
"""

from decimal import ROUND_CEILING, Decimal

from gridbase.errors import UserError, named
from gridbase.market import EXACT, Market, floor_to_lot, plain

from gridbot.config.load import GridConfig
from gridbot.core.grid import Fees, FeesIn, Plan, pair_profit, plan_warnings, smallest_order
from gridbot.exchanges.port import BrokerError, Failure
from gridbot.policies.kill_switches import check as check_stops
from gridbot.trading.handover import Takeover

CONFIRM_PAIRS = "grid.allow_losing_pairs = true"
# The price moves before the user has answered: what is to be confirmed is rounded up to so many.
DIGITS_TO_CONFIRM = 3


def check_start(config: GridConfig, plan: Plan, market: Market) -> None:
    """Refuse to begin a grid that needs a confirmation which the settings do not have.

    Args:
        config: the settings.
        plan: the grid at its start price.
        market: the exchange's rules.

    Raises:
        UserError: names the setting that confirms it, and the value that does.
    """
    _check_pairs(config, plan, market)
    check_purchase(config, plan, market, first_purchase(plan, market, Decimal(0)))


def _check_pairs(config: GridConfig, plan: Plan, market: Market) -> None:
    """Pairs may lose to the lot size and the fees: a small account's most easily.

    A single one may lose a little where the others earn: which one that is depends on the price.
    """
    profits = [pair_profit(plan, line, market, config.fees) for line in range(len(plan.lines) - 1)]
    if config.grid.allow_losing_pairs or sum(profits) > 0:
        return
    (warning,) = plan_warnings(plan, market, config.fees)
    raise UserError(f"{warning}, or allow it with {CONFIRM_PAIRS}")


def first_purchase(plan: Plan, market: Market, carried: Decimal) -> Decimal:
    """The most that a grid buys at once, so that its sells have something to sell (base).

    Args:
        plan: the grid at its start price.
        market: the exchange's rules.
        carried: what the grid before left to it (base).
    """
    missing = EXACT.subtract(plan.initial_quantity, carried)
    quantity = floor_to_lot(max(missing, Decimal(0)), market.lot_size)
    return max(quantity, smallest_order(market, plan.start_price)) if quantity else quantity


def check_purchase(
    config: GridConfig,
    plan: Plan,
    market: Market,
    quantity: Decimal,
    spent: Decimal = Decimal(0),
) -> None:
    """Refuse to buy more at once than is confirmed where the price is outside the grid's range.

    Below the range every line is a sell, so that nearly the whole investment is spent at once;
    above it nothing trades before the price has fallen that far. Either is rather a mistake in a
    price.

    Args:
        config: the settings; they may confirm it.
        plan: the grid at its start price.
        market: the exchange's rules.
        quantity: what would be bought at once at that price (base).
        spent: what was spent on it before (quote).

    Raises:
        UserError: names the price, the range, what would be bought and the value that allows it.
    """
    price, lower, upper = plan.start_price, plan.lines[0], plan.lines[-1]
    if lower <= price <= upper:
        return
    cost = _with_fee(EXACT.multiply(quantity, price), config.fees)
    confirmed, total = config.grid.outside_range_purchase, EXACT.add(spent, cost)
    if confirmed is not None and total <= confirmed:
        return
    bought = f"buy {plain(quantity)} {market.base} for {plain(cost)} {market.quote} at once"
    if quantity == 0:
        bought = "buy nothing and trade only once the price has fallen into it"
    if spent > 0:
        bought += f", after {plain(spent)} {market.quote} that it has spent"
    if confirmed is not None:
        bought += f", more than grid.outside_range_purchase = {plain(confirmed)}"
    raise UserError(
        f"the price {plain(price)} is outside the range grid.lower = {plain(lower)} to grid.upper "
        f"= {plain(upper)}: the grid would {bought}; move the range to the price, or allow it with "
        f'grid.outside_range_purchase = "{plain(_rounded_up(total))}"'
    )


def _with_fee(cost: Decimal, fees: Fees) -> Decimal:
    """What a buy really takes from the account (quote)."""
    rate = fees.rate if fees.taken_in is FeesIn.QUOTE else Decimal(0)
    return EXACT.multiply(cost, EXACT.add(Decimal(1), rate))


def _rounded_up(amount: Decimal) -> Decimal:
    if amount == 0:
        return amount
    digit = Decimal(1).scaleb(amount.adjusted() + 1 - DIGITS_TO_CONFIRM)
    return amount.quantize(digit, rounding=ROUND_CEILING)


def check_first(
    config: GridConfig, plan: Plan, market: Market, takeover: Takeover | None, carried: Decimal
) -> None:
    """Refuse the first plan of a grid that needs a confirmation, or that a kill switch would end.

    Args:
        config: the settings.
        plan: the grid at the price of now.
        market: the exchange's rules.
        takeover: what it takes over; None for nothing. A move has chosen its range at the price.
        carried: how much base of that is there (base).

    Raises:
        UserError: a kill switch is within the range, or pairs show no profit.
        BrokerError: the price is outside the range; the next one may be in it.
    """
    check_stops(config.stop, plan.lines[0], plan.lines[-1])
    if takeover is not None and takeover.next_range is not None:
        return
    _check_pairs(config, plan, market)
    wait_for_range(config, plan, market, first_purchase(plan, market, carried))


def wait_for_range(
    config: GridConfig,
    plan: Plan,
    market: Market,
    quantity: Decimal,
    spent: Decimal = Decimal(0),
) -> None:
    """As `check_purchase`, of a bot that runs: the next price may be in the range.

    Raises:
        BrokerError: the price is outside the range.
    """
    try:
        check_purchase(config, plan, market, quantity, spent)
    except UserError as error:
        raise BrokerError(Failure.REJECTED, named(config.symbol, str(error))) from error
