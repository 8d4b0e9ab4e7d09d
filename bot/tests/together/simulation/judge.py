"""The judge of the bot's account: what it says, when it is silent, and what must hold of that."""

from typing import TYPE_CHECKING

from gridbot.exchanges.binance.connection import SECONDS_BETWEEN_ORDERS
from gridbot.store import Store
from gridbot.trading.account_guard import AccountGuard

if TYPE_CHECKING:
    from .world import World

SYMBOL = "BTC/USDT"
SPEAKS_SECONDS = 2.0
SILENCE_SECONDS = 10.0
WELL, SILENT, FIRES = "well", "silent", "fires"


class Judge:
    """Speaks to whichever bot lives, as the setup says.

    Args:
        world: whose bot.
    """

    def __init__(self, world: "World") -> None:
        self._world = world
        self._says = WELL
        self._made_at = float("-inf")
        self._fired_at: float | None = None  # when the bot that lives was handed the verdict
        self.guard: AccountGuard | None = None
        self.fired = 0  # how many bots were handed the verdict
        for at, word in world.setup.judge:
            world.time.after(at, lambda word=word: self._turn_to(word))
        if world.setup.judge:
            world.time.after(0.0, self._speak)

    def begin_life(self) -> None:
        """A new bot has heard nothing."""
        self._made_at, self._fired_at = float("-inf"), None
        if self._world.setup.judge:
            self.guard = AccountGuard(SILENCE_SECONDS, self._world.clock)

    def calm(self) -> None:
        """From here on it is heard; a verdict stands."""
        if self._says == SILENT:
            self._turn_to(WELL)

    def leaving(self, client_id: str, side: str) -> None:
        """An order is about to leave: no buy may, but one that was waiting for its turn."""
        if self.guard is None or side.upper() != "BUY":
            return
        since = self._world.kill_switch.asked_since - SECONDS_BETWEEN_ORDERS
        if self._fired_at is not None and since > self._fired_at:
            self._violated(f"buy {client_id} left though the judge has ended the account's grids")
        elif since > self._made_at + SILENCE_SECONDS:
            self._violated(f"buy {client_id} left though the judge is silent")

    def problems(self) -> list[str]:
        """What is wrong in the end with a bot that was handed the verdict."""
        if self._fired_at is None:
            return []
        reader = Store(self._world.state, read_only=True)
        try:
            halted = reader.open_halt(SYMBOL) is not None
        finally:
            reader.close()
        return [] if halted else ["the judge has ended the account's grids, and one runs"]

    def _turn_to(self, word: str) -> None:
        self._world.note(f"the judge turns: {word}")
        # A person may clear a verdict at the judge; the bot stays halted.
        self._says = word

    def _speak(self) -> None:
        self._world.time.after(SPEAKS_SECONDS, self._speak)
        if self.guard is None or self._says == SILENT:
            return
        # An answer takes its time: it was made before the question's answer came.
        self._made_at = self._world.time.seconds - SPEAKS_SECONDS / 2
        fires = self._says == FIRES
        self.guard.hear(self._made_at, fired=fires)
        if not fires:
            self._fired_at = None
        elif self._fired_at is None:
            self.fired += 1
            self._fired_at = self._world.time.seconds
            self._world.note("the bot is handed the judge's verdict")

    def _violated(self, text: str) -> None:
        self._world.note(text)
        self._world.violations.append(text)
