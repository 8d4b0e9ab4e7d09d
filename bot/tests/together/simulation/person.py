"""A person who pauses grids, lets them go on, and ends them; and what must hold of that.

Each word is written as the commands write it, beside the bot, dead or alive.
"""

import importlib
import io
from contextlib import redirect_stdout
from decimal import Decimal
from typing import TYPE_CHECKING
from unittest.mock import patch

from gridbase.errors import ExitCode
from gridbot.cli import main as gridbot
from gridbot.core.orders import Role
from gridbot.exchanges.binance.connection import SECONDS_BETWEEN_ORDERS
from gridbot.store import Store, StoreError

if TYPE_CHECKING:
    from .world import World

SYMBOL = "BTC/USDT"
# A word and its options.
PAUSE, CANCEL, RESUME = ("pause",), ("pause", "--cancel"), ("resume",)
FLATTEN, SELL = ("flatten", "--yes"), ("flatten", "--yes", "--sell")


class Person:
    """What one person says, and whether the bot does it.

    Args:
        world: whose bot.
    """

    def __init__(self, world: "World") -> None:
        self._world = world
        self._told_at: float | None = None  # when the grid was told to stand still
        self._calm = False
        self.told = 0  # how many words were new to the bot
        for at, word in world.setup.person:
            world.time.after(at, lambda word=word: self.say(*word))

    def say(self, *word: str) -> None:
        """Run a command; nothing is to do where the bot has no books yet."""
        world = self._world
        if self._calm or not self._has_books:
            return
        command = importlib.import_module(f"gridbot.commands.{word[0]}")
        said = io.StringIO()
        with patch.object(command, "load_config", lambda _: world.config), redirect_stdout(said):
            status = gridbot([*word, "--config", "bot.toml"])
        world.note(f"a person says {' '.join(word)}: {said.getvalue().strip()}")
        if status not in {ExitCode.OK, ExitCode.DIFFERS}:
            world.violations.append(f"gridbot {' '.join(word)} ended with {status}")
        self.told += status == ExitCode.OK
        if not self._stands_still():
            self._told_at = None
        elif self._told_at is None:
            self._told_at = world.time.seconds

    def calm(self) -> None:
        """From here on nothing is said, and no grid is paused; one that was to end stays ended."""
        self._calm = True
        if self._world.setup.person and self._has_books:
            store = Store(self._world.state, beside=True)
            store.clear_pause(SYMBOL, 0)
            store.close()

    def leaving(self, client_id: str) -> None:
        """An order is about to leave: at most one may, which was waiting for its turn."""
        world = self._world
        if self._told_at is None:
            return
        if world.kill_switch.asked_since <= self._told_at + SECONDS_BETWEEN_ORDERS:
            return
        engine = None if world.trader is None else world.trader.engine
        order = None if engine is None else engine.live.get(client_id)
        if self._stands_still() and (order is None or order.role is not Role.LIQUIDATION):
            text = f"order {client_id} left though a person has told the grid to stand still"
            world.note(text)
            world.violations.append(text)

    def problems(self) -> list[str]:
        """What is wrong in the end with a grid that was told to end."""
        reader = Store(self._world.state, read_only=True)
        try:
            halt, grid_run = reader.open_halt(SYMBOL), reader.grid_run(SYMBOL)
        finally:
            reader.close()
        if halt is None or halt.reason_code != "by_hand" or grid_run is None:
            return []
        result, found = grid_run.result, []
        if self._world.engine.orders:
            found.append(f"{len(self._world.engine.orders)} orders are open after flatten")
        if result is None:
            return [*found, "the grid has not ended after flatten"]
        least = self._world.listing.rules.market.min_notional * 2
        if halt.liquidate and result.base * result.price > max(least, Decimal(20)):
            found.append(f"{result.base} is held after flatten --sell")
        return found

    @property
    def _has_books(self) -> bool:
        """Whether the bot has made its books: a crash may have left the beginning of them."""
        try:
            Store(self._world.state, read_only=True).close()
        except StoreError:
            return False
        return True

    def _stands_still(self) -> bool:
        reader = Store(self._world.state, read_only=True)
        try:
            return reader.stands_still(SYMBOL)
        finally:
            reader.close()
