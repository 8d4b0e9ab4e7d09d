"""When the pairs that are not archived were closed, and what each earned."""

from decimal import Decimal

from gridbase.market import EXACT

from gridbot.core.engine import Carried, GridEngine
from gridbot.core.orders import Fill
from gridbot.store import Generation, Store


class _Recorder(GridEngine):
    """An engine that notes each pair while it takes its history back."""

    def __init__(self, generation: Generation) -> None:
        super().__init__(
            bot_name=generation.settings["bot_name"],
            tag=generation.tag,
            market=generation.market,
            plan=generation.plan,
            investment=generation.investment,
            carried=Carried(generation.carried, generation.carried_cost),
        )
        self.pairs: list[tuple[int, Decimal]] = []
        self._latest: dict[str, int] = {}

    def restore_fill(self, leg_id: str, fill: Fill) -> None:
        super().restore_fill(leg_id, fill)
        self._latest[leg_id] = fill.time_ms

    def restore_complete(self, leg_id: str, shares: int) -> None:
        books = self.books
        sells, profit = books.sells, books.grid_profit
        super().restore_complete(leg_id, shares)
        closed_ms = self._latest.pop(leg_id, 0)
        if books.sells > sells:
            self.pairs.append((closed_ms, EXACT.subtract(books.grid_profit, profit)))


def stored_pairs(store: Store, generation: Generation) -> list[tuple[int, Decimal]]:
    """Time (Unix milliseconds) and profit (quote) of a grid's pairs that are not archived."""
    engine = _Recorder(generation)
    store.restore(generation.id, engine)
    return engine.pairs
