"""One symbol whose market is another exchange's: what that one says, applied in its order.

Whoever reads the messages puts them into `inbox`; they act when the exchange advances, so that
fills, balances and the number of the last trade are stored together. Trades of others are
numbered without holes: one that does not follow the last one makes the symbol *behind*, until the
missing ones have been asked for, or are told to be missed.
"""

import json
import logging
from collections import deque
from decimal import Decimal
from fractions import Fraction

from gridbase.candles.series import Candle

from gridexchange.faults.plan import maintenance
from gridexchange.live.depth import Depth
from gridexchange.live.engine import LiveEngine
from gridexchange.live.events import Event, Missed, Shown, Traded
from gridexchange.live.minutes import MINUTE_MS, Minutes
from gridexchange.market.feed import LEGS, Feed, Pace
from gridexchange.market.klines import average_price, window
from gridexchange.market.listing import Listing
from gridexchange.matching.orders import Balance
from gridexchange.matching.rules import Rules
from gridexchange.store.store import FINGERPRINT, POSITION, Store

LOG = logging.getLogger("gridexchange")
GAPS = "gaps"
MOST_GAPS = 20


class LiveListing(Listing):
    """What is traded under one symbol; see `Listing`.

    Args:
        rules: what orders must keep to, as far as it is known.
        name: of the exchange that is followed.

    Attributes:
        inbox: what has been said and has not acted.
        following: whether the market is seen: nobody trades otherwise.
        behind: whether trades are missing, which must be asked for.
        last_number: of the last trade that has acted; None before the first one.
        last_ms: its time, by the clock of the exchange that is followed.
        gaps: trades that were missed: from and until when (Unix time in ms), and how many.
    """

    engine: LiveEngine

    def __init__(self, rules: Rules, name: str) -> None:
        self.minutes = Minutes(name)
        super().__init__(rules, Feed(self.minutes), Pace(Fraction(1), MINUTE_MS))
        self.inbox: deque[Event] = deque()
        self.following = False
        self.behind = True
        self.last_number: int | None = None
        self.last_ms = 0
        self.gaps: list[dict[str, int]] = []
        self._depth = Depth()
        self._price: Decimal | None = None
        self._moves = 0

    @property
    def update(self) -> int:
        """A number that rises whenever the market moves."""
        return self._moves + 1

    @property
    def ready(self) -> bool:
        """Whether there has been a price."""
        return self._price is not None

    def check_reachable(self) -> None:
        """Refuse changes of orders while the market cannot be seen.

        Raises:
            ApiError: -1016.
        """
        if self.behind or not self.following:
            raise maintenance()

    def facts(self) -> dict[str, str]:
        """Single values that are stored with every change."""
        number = "" if self.last_number is None else f"{self.last_number} {self.last_ms}"
        return {self.fact(POSITION): number, self.fact(GAPS): json.dumps(self.gaps)}

    def open(self, store: Store, *, is_new: bool) -> dict[str, str]:
        """Compare the books' market with this one; see `Listing.open`."""
        before = None if is_new else store.fact(self.fact(FINGERPRINT))
        if before == self.minutes.fingerprint:
            return {}
        return {
            self.fact(FINGERPRINT): self.minutes.fingerprint,
            self.fact(POSITION): "",
            self.fact(GAPS): "[]",
        }

    def load(self, store: Store, balances: dict[str, Balance], monotonic_ms: int) -> None:  # noqa: ARG002  the time is another's
        """Take the last trade and the orders from the books, dropping what memory says."""
        self.inbox.clear()
        self.behind, self.following = True, False
        number, _, time_ms = (store.fact(self.fact(POSITION)) or "").partition(" ")
        self.last_number = int(number) if number else None
        self.last_ms = int(time_ms or 0)
        self.gaps = json.loads(store.fact(self.fact(GAPS)) or "[]")
        next_order_id, next_trade_id, next_match_id = store.next_ids(self.symbol)
        self.engine = LiveEngine(
            self.rules,
            balances=balances,
            open_orders=store.open_orders(self.symbol),
            next_order_id=next_order_id,
            next_trade_id=next_trade_id,
            next_match_id=next_match_id,
            price=self._price or Decimal(1),
        )
        self.engine.follow(self._depth)
        self.engine.average_price = lambda: self.average()[0]

    def learn(self, rules: Rules) -> None:
        """Go on with other rules."""
        self.rules = rules
        self.engine.learn(rules)

    @property
    def position(self) -> int:  # type: ignore[override]
        """How far the candles have come: to the end of the one that forms, as it is known."""
        return self.minutes.last * LEGS + LEGS - 1

    def average(self) -> tuple[Decimal, int]:
        """The average price (quote), and its time (Unix time in ms); see `Listing.average`."""
        candles = window(self.feed, self.position, self.average_minutes * MINUTE_MS)
        return average_price(candles) or self.engine.last_price, max(self.last_ms, candles[-1].time)

    def watch(self) -> None:
        """Nothing to note: every trade acts."""

    def wait_ms(self, monotonic_ms: int) -> None:
        """Nobody knows when the market moves next."""

    def advance(self, monotonic_ms: int, wall_ms: int) -> None:  # noqa: ARG002  others' time
        """Let what has been said act."""
        while self.inbox:
            event = self.inbox.popleft()
            if isinstance(event, Traded):
                self._trade(event)
            elif isinstance(event, Missed):
                self._miss(event)
            elif not self.behind:
                self._show(event)

    def lose(self) -> None:
        """The market is not seen any more."""
        self.behind, self.following = True, False

    def _trade(self, trade: Traded) -> None:
        if self.last_number is None:
            self.last_number = trade.number - 1
        if trade.number <= self.last_number:
            if self._price is None:  # it has acted before a restart, and nothing has traded since
                self._price = self.engine.price = trade.price
            return
        if trade.number > self.last_number + 1:
            self.behind = True
            return
        self.last_number, self.last_ms = trade.number, trade.time_ms
        self._price = trade.price
        self._moves += 1
        self.engine.trade(trade, self.at(trade.time_ms))

    def _show(self, event: Shown | Candle) -> None:
        """The book or the candle is another, now that no trade before it is missing."""
        self._moves += 1
        if isinstance(event, Shown):
            self._depth.show(event)
            self.engine.seen()
        else:
            self.minutes.add(event)
            self.feed.first_number = self.minutes.first

    def _miss(self, missed: Missed) -> None:
        """Trades are lost for good: what they would have filled is not filled."""
        if self.last_number is not None:
            number = missed.next_number - self.last_number - 1
            gap = {"from": self.last_ms, "until": missed.until_ms, "trades": max(0, number)}
            self.gaps = [*self.gaps, gap][-MOST_GAPS:]
            LOG.warning(
                "%s: %d trades of %s are missed (%d s); nothing was filled from them",
                self.symbol,
                gap["trades"],
                self.minutes.name,
                (missed.until_ms - self.last_ms) // 1000,
            )
        self.last_number = missed.next_number - 1
