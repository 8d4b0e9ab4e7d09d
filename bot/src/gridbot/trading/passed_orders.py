"""Open orders that the price has passed: what they traded should have been told. Pure.

Where the reports of an exchange are lost while its stream goes on, nothing else shows it.
"""

from gridbot.core.engine import GridEngine
from gridbot.core.orders import Order, OrderState, Side
from gridbot.core.prices import Seen

# One that turns out to be open all the same is not asked for again before this time.
AGAIN_SECONDS = 10.0


class PassedOrders:
    """Which orders of one grid are to be asked for, and which were."""

    def __init__(self) -> None:
        self._passed: set[str] = set()
        self._asked_at: dict[str, float] = {}

    def see(self, engine: GridEngine, seen: Seen, now: float) -> None:
        """Look at prices.

        Args:
            engine: the grid.
            seen: prices since the look before.
            now: monotonic seconds.
        """
        for order in engine.live.values():
            asked = self._asked_at.get(order.client_id, float("-inf"))
            if _passed(order, seen) and now - asked >= AGAIN_SECONDS:
                self._passed.add(order.client_id)

    def due(self, engine: GridEngine) -> bool:
        """Whether one of them is still to be asked for."""
        self._passed &= engine.live.keys()
        return bool(self._passed)

    def asked(self, engine: GridEngine, now: float) -> None:
        """The exchange has been asked for all open orders, at this monotonic time (seconds)."""
        known = self._asked_at | dict.fromkeys(self._passed, now)
        self._asked_at = {name: at for name, at in known.items() if name in engine.live}
        self._passed.clear()


def _passed(order: Order, seen: Seen) -> bool:
    """Whether an open order must have traded; one whose price was only touched need not."""
    if order.state is not OrderState.OPEN:
        return False
    return seen.low < order.price if order.side is Side.BUY else seen.high > order.price
