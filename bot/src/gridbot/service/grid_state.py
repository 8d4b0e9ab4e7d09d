"""States of a grid, and what a waiting one waits for: words that people and metrics see. Pure."""

from decimal import Decimal
from typing import Any

from gridbase.errors import MismatchError
from gridbase.market import EXACT

from gridbot.exchanges.port import BrokerError, Failure
from gridbot.store import StoreError
from gridbot.trading.trader import Trader

# What most asks for attention comes first.
STATES = ("waiting", "halted", "ending", "starting", "closed", "paused", "stopped", "trading")
BOOKS_UNEQUAL, KEY_REFUSED = "books_unequal", "key_refused"
CAUSES = (BOOKS_UNEQUAL, KEY_REFUSED, "rate_limited", "exchange", "state", "unexpected")


def cause_of(error: Exception) -> str:
    """What a grid waits for after an error, in one word: one of `CAUSES`."""
    if isinstance(error, MismatchError):
        return BOOKS_UNEQUAL
    if isinstance(error, BrokerError):
        causes = {Failure.AUTH: KEY_REFUSED, Failure.RATE_LIMITED: "rate_limited"}
        return causes.get(error.failure, "exchange")
    return "state" if isinstance(error, StoreError) else "unexpected"


class Drawdown:
    """How far a grid's equity is below its highest, since the bot started or the grid began."""

    def __init__(self) -> None:
        self._grid: int | None = None  # when it began (Unix milliseconds)
        self._peak = Decimal(0)

    def see(self, document: dict[str, Any]) -> float | None:
        """Look at a grid's document; a share of the highest, None without a grid and a price."""
        if document["started_ms"] is None or document["equity"] is None:
            return None
        equity = Decimal(document["equity"])
        if document["started_ms"] != self._grid:
            self._grid, self._peak = document["started_ms"], Decimal(document["investment"])
        self._peak = max(self._peak, equity)
        if self._peak <= 0:
            return None
        return float(EXACT.divide(EXACT.subtract(self._peak, equity), self._peak))


def is_held(trader: Trader) -> bool:
    """Whether a grid has nothing left to do for its move, and buys pause: as long as they do."""
    moves = trader.wind_down is not None and trader.wind_down.next_range is not None
    return moves and bool(trader.paused) and trader.engine is not None and not trader.engine.live


def state_of(trader: Trader) -> tuple[str, str]:
    """State and reason after a completed step."""
    if trader.held_back:
        return "waiting", trader.held_back
    if trader.wind_down is not None:
        return "ending", f"the grid ends: {trader.wind_down.reason}"
    if trader.engine is None or trader.paused_by_hand:
        return _idle_state(trader)
    if not trader.engine.grid_started:
        return "starting", "the base for the sells is being bought"
    if trader.unsettled:
        return "starting", f"{trader.unsettled} orders are not confirmed by the exchange yet"
    return "trading", ""


def _idle_state(trader: Trader) -> tuple[str, str]:
    """State and reason where there is no grid to work on."""
    if trader.halt is not None:
        return "halted", trader.halt.text
    if trader.paused:
        return "paused", trader.paused
    return "starting", "the next grid begins"
