"""When the pairs that are not archived were closed, and what each earned."""

from decimal import Decimal

from gridbase.market import EXACT

from gridbot.core.engine import Carried, GridEngine
from gridbot.core.orders import Fill
from gridbot.store import GridRun, Store


class _Recorder(GridEngine):
    """An engine that notes each pair while it takes its history back."""

    def __init__(self, grid_run: GridRun) -> None:
        super().__init__(
            bot_name=grid_run.settings["bot_name"],
            tag=grid_run.tag,
            market=grid_run.market,
            plan=grid_run.plan,
            investment=grid_run.investment,
            carried=Carried(grid_run.carried, grid_run.carried_cost),
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


def stored_pairs(store: Store, grid_run: GridRun) -> list[tuple[int, Decimal]]:
    """Time (Unix milliseconds) and profit (quote) of a grid's pairs that are not archived."""
    engine = _Recorder(grid_run)
    store.restore(grid_run.id, engine)
    return engine.pairs
