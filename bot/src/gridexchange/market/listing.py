"""One symbol of the exchange: the walk of its market, and the orders that rest on it."""

from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from gridbase.candles.price_units import MAX_UNITS, PRICE_DECIMALS, from_units

from gridexchange.faults.plan import Faults
from gridexchange.market.feed import LEGS, Feed, Pace
from gridexchange.market.klines import MINUTE_MS, average_price, window
from gridexchange.market.ladder import rungs
from gridexchange.market.synthetic import MADE_UP
from gridexchange.matching.matching import Engine, Level
from gridexchange.matching.orders import Balance
from gridexchange.matching.rules import Rules
from gridexchange.store.store import FINGERPRINT, POSITION, Store

CLOCK_JUMP_MS = 1_000
Past = Callable[..., object]  # of an interval, with start_ms, end_ms and limit
AVERAGE_MINUTES = 5  # of GET avgPrice, as on Binance


class Listing:
    """What is traded under one symbol.

    Args:
        rules: what orders must keep to.
        feed: the market.
        pace: how fast it goes.
        faults: what goes wrong on purpose; None for nothing.
        depth: levels of the book that others offer on each side.
    """

    position: int
    engine: Engine

    def __init__(
        self,
        rules: Rules,
        feed: Feed,
        pace: Pace,
        faults: Faults | None = None,
        *,
        depth: int = 1,
    ) -> None:
        self.rules = rules
        self.feed = feed
        self.symbol = rules.market.exchange_symbol
        self.past: Past | None = None  # who else knows the klines; None for the feed alone
        self.restarted = ""  # why the market starts anew; empty for one that goes on
        self._pace = pace
        self._faults = faults
        self._depth_levels = depth
        self._last_ms = self._wall_ms = 0

    @property
    def update(self) -> int:
        """A number that rises whenever the market moves."""
        return self.position + 1

    def rungs(self) -> tuple[list[Level], list[Level]]:
        """Bids and asks of others behind the best ones, the best first."""
        if self._depth_levels == 1:
            return [], []
        bid, ask = self.engine.offer("SELL"), self.engine.offer("BUY")
        return rungs(self.rules, self.position, bid, ask, self._depth_levels - 1)

    def due_at(self, position: int) -> int:
        """When a leg that is done was due (Unix time in ms)."""
        return self._wall_ms + self._pace.due_ms(position - self._anchor_position)

    def check_reachable(self) -> None:
        """Refuse changes of orders while the market cannot be seen.

        Raises:
            ApiError: -1016, it follows another exchange, which is away.
        """

    def fact(self, name: str) -> str:
        """What the books call a single value of this symbol."""
        return f"{name} {self.rules.market.symbol}"

    def facts(self) -> dict[str, str]:
        """Single values that are stored with every change."""
        return {self.fact(POSITION): str(self.position)}

    def open(self, store: Store, *, is_new: bool) -> dict[str, str]:
        """Compare the books' market with this one.

        Args:
            store: the books.
            is_new: whether they do not know the symbol.

        Returns:
            Single values to store before anything else: empty for a market that goes on.
        """
        fingerprint = self.feed.series.fingerprint
        before = None if is_new else store.fact(self.fact(FINGERPRINT))
        if before == fingerprint:
            return {}
        self.restarted = "" if is_new else _why_anew(before or "", fingerprint)
        return {self.fact(FINGERPRINT): fingerprint, self.fact(POSITION): "0"}

    def load(self, store: Store, balances: dict[str, Balance], monotonic_ms: int) -> None:
        """Take position and orders from the books, dropping what memory says.

        Args:
            store: the books.
            balances: the account's coins, shared by all symbols.
            monotonic_ms: now; the walk goes on from here.
        """
        self.position = self.feed.limit(int(store.fact(self.fact(POSITION)) or 0))
        next_order_id, next_trade_id, next_match_id = store.next_ids(self.symbol)
        self.engine = Engine(
            self.rules,
            balances=balances,
            open_orders=store.open_orders(self.symbol),
            next_order_id=next_order_id,
            next_trade_id=next_trade_id,
            next_match_id=next_match_id,
            price=from_units(self.feed.price(self.position)),
        )
        if self._faults is not None:
            self.engine.parts_of = self._faults.parts
        if self.rules.band.minutes:
            self.engine.average_price = lambda: self.average()[0]
        self._anchor_position, self._anchor_ms = self.position, monotonic_ms
        self.watch()

    @property
    def average_minutes(self) -> int:
        """How many minutes `average` looks at."""
        return self.rules.band.minutes or AVERAGE_MINUTES

    def average(self) -> tuple[Decimal, int]:
        """The average price (quote), and the market's time (Unix time in ms)."""
        candles = window(self.feed, self.position, self.average_minutes * MINUTE_MS)
        length = self.feed.series.interval_ms
        passed = self.position % LEGS * length // LEGS
        return average_price(candles) or self.engine.last_price, candles[-1].time + passed

    def watch(self) -> None:
        """Note between which prices, in units, the market can move without touching an order."""
        if self.engine.is_filling:
            self._below, self._above = MAX_UNITS, -1
            return
        buy, sell = self.engine.best_buy, self.engine.best_sell
        self._below = -1 if buy is None else _units(buy, ROUND_FLOOR)
        self._above = MAX_UNITS if sell is None else _units(sell, ROUND_CEILING)

    def advance(self, monotonic_ms: int, wall_ms: int) -> None:
        """Make all legs that have come due.

        Args:
            monotonic_ms: now, on a clock that never goes backwards.
            wall_ms: the same moment as Unix time.
        """
        elapsed = monotonic_ms - self._anchor_ms
        # A trade keeps its time: only a jump of the clock counts.
        if abs(wall_ms - elapsed - self._wall_ms) > CLOCK_JUMP_MS:
            self._wall_ms = wall_ms - elapsed
        due = self.feed.limit(self._anchor_position + self._pace.legs(elapsed))
        if due > self.position:
            self._walk(due, wall_ms - elapsed)

    def wait_ms(self, monotonic_ms: int) -> int | None:
        """Milliseconds until the next leg is due; None when the market stands still for good."""
        following = self.position + 1
        if self.feed.limit(following) == self.position:
            return None
        due = self._pace.due_ms(following - self._anchor_position)
        return max(0, self._anchor_ms + due - monotonic_ms)

    def _walk(self, due: int, anchor_wall_ms: int) -> None:
        price = self.feed.price
        cancels = self._faults is not None and self._faults.cancels
        for position in range(self.position + 1, due + 1):
            units = price(position)
            if cancels and position % LEGS == 0:
                self._cancel_one(anchor_wall_ms, position)
            if self._below < units < self._above:
                continue
            self.engine.move(from_units(units), self._leg_ms(anchor_wall_ms, position))
            self.watch()
        self.position = due
        self.engine.price = from_units(price(due))

    def _leg_ms(self, anchor_wall_ms: int, position: int) -> int:
        """When a leg was due, as Unix time."""
        return self.at(anchor_wall_ms + self._pace.due_ms(position - self._anchor_position))

    def _cancel_one(self, anchor_wall_ms: int, position: int) -> None:
        """Once a candle the exchange may end an order by itself."""
        struck = None if self._faults is None else self._faults.cancelled(self.engine.orders)
        if struck is not None:
            order_id, status = struck
            self.engine.cancel(order_id, self._leg_ms(anchor_wall_ms, position), status=status)
            self.watch()

    def at(self, time_ms: int) -> int:
        """`time_ms`, but never before an earlier event: clocks of small machines jump."""
        self._last_ms = max(self._last_ms, time_ms)
        return self._last_ms


def _why_anew(before: str, now: str) -> str:
    """What differs between the market of the last run and this one, by their fingerprints."""
    rules, new_rules = (text.partition(" ")[0] for text in (before, now))
    if rules != new_rules and rules.startswith(MADE_UP) and new_rules.startswith(MADE_UP):
        return f"this version makes up prices by other rules ({new_rules} instead of {rules})"
    return "its prices are others than in the last run"


def _units(price: Decimal, rounding: str) -> int:
    return int(price.scaleb(PRICE_DECIMALS).to_integral_value(rounding=rounding))
