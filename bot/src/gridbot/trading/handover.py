"""What a grid leaves to the next one, and whether that is still on the account. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from gridbase.market import EXACT, Market, plain

from gridbot.core.grid import smallest_order
from gridbot.exchanges.port import BrokerError, Failure
from gridbot.store import GridRun
from gridbot.trading.run_settings import WHERE


@dataclass(frozen=True)
class Takeover:
    """What a grid takes over from the one before.

    Attributes:
        base: what that held (base).
        quote: what it had left (quote); None where the settings say what may be spent.
        next_range: lowest and highest price to go on with (quote); None where the settings say.
        account: what the account had of the base when it ended (base); None where that is not to
            be compared.
    """

    base: Decimal
    quote: Decimal | None
    next_range: tuple[Decimal, Decimal] | None
    account: Decimal | None


def takeover_of(previous: GridRun | None, settings: Mapping[str, str]) -> Takeover | None:
    """What the next grid takes over.

    Args:
        previous: the grid before, which has ended or is about to.
        settings: the next grid's, as `gridbot.trading.run_settings.settings_of` has them.

    Returns:
        None where it begins with what is configured.
    """
    result = None if previous is None else previous.result
    if previous is None or result is None or not result.takes_over:
        return None
    if elsewhere(previous, settings):
        return None
    quote = None
    if result.next_range is not None or settings == previous.settings:
        quote = EXACT.subtract(result.equity, EXACT.multiply(result.base, result.price))
    return Takeover(result.base, quote, result.next_range, result.account)


def elsewhere(previous: GridRun, settings: Mapping[str, str]) -> str:
    """Why the coins of the grid before cannot be where the next one trades; empty if they can."""
    for key in WHERE:
        now, before = settings.get(key, "not set"), previous.settings.get(key, "not set")
        if now != before:
            return f"{key} = {now}, and the grid before ran with {before}"
    return ""


def base_to_carry(takeover: Takeover, market: Market, price: Decimal, held: Decimal) -> Decimal:
    """The base that a grid begins with: what the one before left, as far as it is there (base).

    What is gone since is not the bot's to make up from coins that are somebody else's. Only dust
    may be missing: less than a lot, or of what no order could sell.

    Args:
        takeover: what the grid before left.
        market: the exchange's rules.
        price: the price now (quote).
        held: what the account has, free or in orders (base).

    Raises:
        BrokerError: the account does not have it any more, or has lost so much that it may not.
    """
    base, coin = takeover.base, market.base
    if base >= smallest_order(market, price):
        if EXACT.subtract(base, held) >= market.lot_size:
            end = "gridbot resume --take-nothing"
            if takeover.next_range is not None:
                end = "gridbot close"
            raise BrokerError(
                Failure.REJECTED,
                f"market.symbol = {market.symbol}: a grid would go on with {plain(base)} {coin} of "
                f"the one before, and the account has {plain(held)} {coin}; bring them back, or "
                f"begin without them: {end}",
            )
        then = takeover.account
        if then is not None and EXACT.subtract(then, held) >= market.lot_size:
            raise BrokerError(
                Failure.REJECTED,
                f"market.symbol = {market.symbol}: the account has {plain(held)} {coin}, and had "
                f"{plain(then)} {coin} when the grid before ended with {plain(base)} {coin} of "
                "them; bring the rest back, or say whether the grid's are still there: gridbot "
                "resume --take-over, or else --take-nothing",
            )
    return min(base, held)


def watch_goes_on(previous: GridRun | None, takeover: Takeover | None) -> dict[str, Any] | None:
    """What the kill switches remember: a move changes the range, not what a loss is measured by."""
    if previous is None or takeover is None or takeover.next_range is None:
        return None
    return {key: value for key, value in (previous.watch or {}).items() if key != "ending"}
