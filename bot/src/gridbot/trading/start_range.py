"""Whether a grid may begin at a price: outside its range only where the user has said so. Pure."""

from gridbase.errors import UserError
from gridbase.market import Market, plain

from gridbot.config.load import GridConfig
from gridbot.core.grid import GridSettings, Plan
from gridbot.exchanges.port import BrokerError, Failure
from gridbot.policies.kill_switches import check as check_stops
from gridbot.trading.handover import Takeover

CONFIRM = "grid.start_outside_range = true"


def check_start(grid: GridSettings, plan: Plan, market: Market) -> None:
    """Refuse to begin a grid outside of its range.

    Below it every line is a sell, so that nearly the whole investment is spent at once; above it
    nothing trades before the price has fallen that far. Either is rather a mistake in a price.

    Args:
        grid: the settings; they may confirm it.
        plan: the grid at its start price.
        market: the exchange's rules.

    Raises:
        UserError: names the bound that the price is beyond, and what is allowed.
    """
    price, lower, upper = plan.start_price, plan.lines[0], plan.lines[-1]
    if grid.start_outside_range or lower <= price <= upper:
        return
    if price < lower:
        bound = f"grid.lower = {plain(lower)} is above"
        effect = (
            f"it would buy {plain(plan.initial_quantity)} {market.base} for "
            f"{plain(plan.initial_cost)} {market.quote} at once"
        )
    else:
        bound = f"grid.upper = {plain(upper)} is below"
        effect = "no order would trade before the price has fallen into the range"
    raise UserError(
        f"{bound} the price at the start, {plain(price)}: {effect}; move the range to the price, "
        f"or confirm it with {CONFIRM}"
    )


def check_first(config: GridConfig, plan: Plan, market: Market, takeover: Takeover | None) -> None:
    """Refuse the first plan of a grid where its range does not fit the kill switches or the price.

    Args:
        config: the settings.
        plan: the grid at the price of now.
        market: the exchange's rules.
        takeover: what it takes over; None for nothing. A move has chosen its range at the price.

    Raises:
        UserError: a kill switch is within the range.
        BrokerError: the price is outside the range; the next one may be in it.
    """
    check_stops(config.stop, plan.lines[0], plan.lines[-1])
    if takeover is not None and takeover.next_range is not None:
        return
    try:
        check_start(config.grid, plan, market)
    except UserError as error:
        raise BrokerError(Failure.REJECTED, str(error)) from error
