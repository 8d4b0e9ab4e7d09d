"""Watches from outside that the bot keeps to its stop price.

The bot *knows* a price once an answer or a message that tells it has been handed to the bot.
"""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from gridbot.store import GridRun, Store

if TYPE_CHECKING:
    from .world import World

HALT_SECONDS = 5.0
# A price may be this old when a buy leaves: the bot's own bound and what sending takes.
OLDEST_PRICE_SECONDS = 3.5
SYMBOL = "BTC/USDT"


class KillSwitch:
    """The stop price of one world, and what its bot knows of it.

    Args:
        world: whose bot.
    """

    def __init__(self, world: "World") -> None:
        self._world = world
        text = world.setup.more.get("stop", {}).get("loss_price")
        self._stop = None if text is None else Decimal(str(text))
        self._known: tuple[float, Decimal] | None = None  # own seconds, and the price
        self._asking = 0
        self.asked_since = self._waited = 0.0  # when the request that is under way began
        self.told = 0  # how often the bot has got to know a price beyond the stop

    @property
    def _own_seconds(self) -> float:
        """Time that the bot had to itself: not while it waits for an answer."""
        now = self._world.time.seconds
        return now - self._waited - (now - self.asked_since if self._asking else 0.0)

    def begin_life(self) -> None:
        """A new bot knows nothing."""
        self._known = None
        self._asking = 0

    def watch(self, ask: Callable[..., Any]) -> Callable[..., Any]:
        """A way to make requests that notes how long they take."""

        def asked(*arguments: Any) -> Any:
            self.look()
            if not self._asking:
                self.asked_since = self._world.time.seconds
            self._asking += 1
            try:
                return ask(*arguments)
            finally:
                self._asking -= 1
                if not self._asking:
                    self._waited += self._world.time.seconds - self.asked_since

        return asked

    def heard(self, text: str) -> None:
        """The bot has been handed a price of the latest trade."""
        price = Decimal(text)
        if self._stop is None or price > self._stop or self._known is not None:
            return
        trader = self._world.trader
        if trader is not None and trader.grid_run is not None and not self.halted():
            self.told += 1
            self._known = self._own_seconds, price
            self._world.note(f"the bot knows the price {price}")

    def leaving(self, client_id: str, side: str) -> None:
        """An order is about to leave."""
        if self._stop is None or side.upper() != "BUY":
            return
        if self._known is not None:
            self._violated(f"buy {client_id} left though {self._known[1]} was known")
        elif self._lasts(OLDEST_PRICE_SECONDS):
            self._violated(f"buy {client_id} left {OLDEST_PRICE_SECONDS} s below the stop")

    def look(self) -> None:
        """The bot has had time to halt, or not."""
        if self._known is None:
            return
        if self.halted():
            self._known = None
        elif self._own_seconds - self._known[0] > HALT_SECONDS:
            self._violated(f"no halt {HALT_SECONDS} s after {self._known[1]} was known")
            self._known = None

    def _violated(self, text: str) -> None:
        self._world.note(text)
        self._world.violations.append(text)

    def halted(self) -> bool:
        """Whether the books say that the grid is to end for good, or has."""
        reader = Store(self._world.state, read_only=True)
        try:
            grid_run = reader.grid_run(SYMBOL)
            return reader.open_halt(SYMBOL) is not None or _ends(grid_run)
        finally:
            reader.close()

    def _lasts(self, seconds: float) -> bool:
        """Whether the market has been at or below the stop for so long."""
        if self._stop is None:
            return False
        listing = self._world.listing
        now_ms = round(self._world.time.seconds * 1000)
        first, last = (
            listing.feed.limit(
                listing._anchor_position + listing._pace.legs(max(0, ms - listing._anchor_ms))
            )
            for ms in (now_ms - round(seconds * 1000), now_ms)
        )
        long_enough = now_ms - listing._anchor_ms >= seconds * 1000
        prices = (listing.feed.price(position) for position in range(first, last + 1))
        return long_enough and all(Decimal(units) / 10**8 <= self._stop for units in prices)


def _ends(grid_run: GridRun | None) -> bool:
    """Whether a grid ends for good, though the switch or the word for it was taken back."""
    ending = None if grid_run is None else (grid_run.watch or {}).get("ending")
    return ending is not None and ending["next_range"] is None


def price_in_answer(path: str, query: dict[str, Any], answer: Any) -> str | None:
    """The price of the latest trade that the answer to a request tells; None where it tells none.

    Args:
        path: of REST, or the method of the WebSocket API.
        query: the request's parameters.
        answer: as JSON.
    """
    if path in {"ticker/price", "ticker.price"} and isinstance(answer, dict):
        return answer.get("price")
    if path == "klines" and query.get("interval") == "1m" and isinstance(answer, list) and answer:
        return answer[-1][4]
    return None


def price_in_message(text: str) -> str | None:
    """The price of the latest trade that a message of the market stream tells."""
    data = json.loads(text).get("data", {})
    if not isinstance(data, dict):
        return None
    if data.get("e") == "kline":
        return data["k"]["c"]
    return data.get("c") if data.get("e") == "24hrMiniTicker" else None
