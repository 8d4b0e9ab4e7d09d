"""The exchange itself: matching, market and books tied together under one lock.

Time is read only from the clock it is given, and the market advances only when somebody looks:
each request first makes every leg that has come due, so nobody can see a difference from a market
that moves by itself, and an idle exchange costs nothing.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from threading import RLock

from gridbot.candles.units import MAX_UNITS, PRICE_DECIMALS, from_units
from gridbot.clock import Clock
from gridbot.errors import ExitCode, UserError
from gridbot.exchange.amounts import ZERO
from gridbot.exchange.engine import Changes, Engine, Rules
from gridbot.exchange.errors import ApiError, cancel_rejected, internal_error
from gridbot.exchange.feed import Feed, Pace
from gridbot.exchange.orders import Balance, Order, OrderRequest, Trade
from gridbot.exchange.store import FINGERPRINT, POSITION, SYMBOL, Store

# A stretch of market without a fill can be walked again after a power cut with the same result,
# so its position is saved seldom: an idle exchange spares the card.
SAVE_POSITION_MS = 30_000
RETRY_MS = 1_000


class Exchange:
    """One account on one symbol of a simulated market.

    Args:
        rules: what orders must keep to.
        feed: the market.
        pace: how fast it goes.
        store: the books.
        balances: what a new account starts with, by coin.
        clock: the time.

    Raises:
        UserError: the store holds the books of another symbol, or cannot be read or written.
    """

    def __init__(
        self,
        rules: Rules,
        *,
        feed: Feed,
        pace: Pace,
        store: Store,
        balances: dict[str, Decimal],
        clock: Clock,
    ) -> None:
        self.rules = rules
        self.feed = feed
        self.store = store
        self.clock = clock
        self.lock = RLock()
        self.trouble = ""
        self.restarted = False
        self._pace = pace
        self._last_ms = 0
        self._stale = False
        try:
            self._open_books(balances)
            self._load()
            if self.restarted:
                # The walk goes from the old market's price straight to the new one's open.
                with self._changing():
                    self.engine.move(from_units(feed.price(0)), self._now())
        except sqlite3.Error as error:
            raise UserError(f"{store.path}: cannot be used: {error}", ExitCode.STATE) from error

    def _open_books(self, start: dict[str, Decimal]) -> None:
        symbol = self.rules.market.symbol
        stored = self.store.fact(SYMBOL)
        facts = {SYMBOL: symbol, FINGERPRINT: self.feed.series.fingerprint, POSITION: "0"}
        if stored is None:
            coins = {self.rules.market.base, self.rules.market.quote, *start}
            balances = {coin: Balance(start.get(coin, ZERO)) for coin in coins}
            self.store.commit(Changes(assets=coins), balances, facts)
        elif stored != symbol:
            raise UserError(
                f"{self.store.path}: holds the books of {stored}, not of {symbol}:"
                " choose another state_directory",
                ExitCode.STATE,
            )
        elif self.store.fact(FINGERPRINT) != facts[FINGERPRINT]:
            self.restarted = True
            self.store.commit(Changes(), {}, facts)

    def _load(self) -> None:
        """Take books and position from the store, dropping what memory says."""
        self.position = self.feed.limit(int(self.store.fact(POSITION) or 0))
        next_order_id, next_trade_id = self.store.next_ids()
        self.engine = Engine(
            self.rules,
            balances=self.store.balances(),
            open_orders=self.store.open_orders(),
            next_order_id=next_order_id,
            next_trade_id=next_trade_id,
            price=from_units(self.feed.price(self.position)),
        )
        self._anchor_position = self.position
        self._anchor_ms = self._saved_ms = self._monotonic_ms()
        self._watch()

    def _watch(self) -> None:
        """Note between which prices, in units, the market can move without touching an order."""
        buy, sell = self.engine.best_buy, self.engine.best_sell
        self._below = -1 if buy is None else _units(buy, ROUND_FLOOR)
        self._above = MAX_UNITS if sell is None else _units(sell, ROUND_CEILING)

    def advance(self) -> None:
        """Make all legs that have come due, and store what they changed.

        Raises:
            ApiError: -1001, the books could not be written; the market stands still.
        """
        with self.lock:
            if self._stale:
                self._reload()
            monotonic = self._monotonic_ms()
            elapsed = monotonic - self._anchor_ms
            due = self.feed.limit(self._anchor_position + self._pace.legs(elapsed))
            if due > self.position:
                self._walk(due, self.clock.now_ms() - elapsed)
            if self.engine.changes:
                self._commit()
            elif monotonic - self._saved_ms >= (RETRY_MS if self.trouble else SAVE_POSITION_MS):
                self._save_position(monotonic)

    def _walk(self, due: int, anchor_wall_ms: int) -> None:
        price = self.feed.price
        for position in range(self.position + 1, due + 1):
            units = price(position)
            if self._below < units < self._above:
                continue
            leg_ms = anchor_wall_ms + self._pace.due_ms(position - self._anchor_position)
            self.engine.move(from_units(units), self._at(leg_ms))
            self._watch()
        self.position = due
        self.engine.price = from_units(price(due))

    def place(self, request: OrderRequest) -> tuple[Order, list[Trade]]:
        """Accept an order and store it before returning; see `Engine.place`."""
        with self._changing():
            return self.engine.place(request, self._now())

    def check(self, request: OrderRequest) -> None:
        """Raise what `place` would raise, and change nothing."""
        with self.lock:
            self.advance()
            self.engine.check(request)

    def cancel(self, order_id: int | None, client_order_id: str | None) -> Order:
        """Cancel the open order with this number or, failing a number, client order ID.

        Raises:
            ApiError: -2011, there is no such open order.
        """
        with self._changing():
            if order_id is None:
                order = self.engine.open_order(client_order_id or "")
                if order is None:
                    raise cancel_rejected("Unknown order sent.")
                order_id = order.order_id
            return self.engine.cancel(order_id, self._now())

    def cancel_all(self) -> list[Order]:
        """Cancel every open order.

        Raises:
            ApiError: -2011, there is none.
        """
        with self._changing():
            if not self.engine.orders:
                raise cancel_rejected("Unknown order sent.")
            now = self._now()
            return [self.engine.cancel(number, now) for number in sorted(self.engine.orders)]

    @contextmanager
    def looking(self) -> Iterator["Exchange"]:
        """Hold the market still, up to date, while an answer is put together."""
        with self.lock:
            self.advance()
            yield self

    def close(self) -> None:
        """Save the position and close the books.

        Raises:
            ApiError: -1001, the last changes could not be written.
        """
        with self.lock:
            try:
                self.advance()
                self._save_position(self._monotonic_ms())
            finally:
                self.store.close()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Change the books: all of it is stored, or memory goes back to what is stored."""
        with self.lock:
            self.advance()
            try:
                yield
                self._commit()
                self._watch()
            except ApiError:
                # Refused before anything changed, or already put back by `_commit`.
                raise
            except BaseException:
                self._reload()
                raise

    def _commit(self) -> None:
        changes = self.engine.take_changes()
        try:
            self.store.commit(changes, self.engine.balances, {POSITION: str(self.position)})
        except sqlite3.Error as error:
            self.trouble = f"books cannot be written: {error}"
            self._reload()
            raise internal_error() from error
        self._saved_ms = self._monotonic_ms()
        self.trouble = ""

    def _reload(self) -> None:
        """Drop what memory says for what is stored.

        Raises:
            ApiError: -1001, the store cannot be read either; the next request tries again.
        """
        self._stale = True
        try:
            self._load()
        except sqlite3.Error as error:
            self.trouble = f"books cannot be read: {error}"
            raise internal_error() from error
        self._stale = False

    def _save_position(self, monotonic: int) -> None:
        """Save the position; a failure loses nothing, so it only shows in `trouble`."""
        try:
            if self.trouble:
                self.store.probe()
            self.store.commit(Changes(), {}, {POSITION: str(self.position)})
        except sqlite3.Error as error:
            self.trouble = f"books cannot be written: {error}"
        else:
            self.trouble = ""
        self._saved_ms = monotonic

    def _monotonic_ms(self) -> int:
        return round(self.clock.monotonic() * 1000)

    def _now(self) -> int:
        return self._at(self.clock.now_ms())

    def _at(self, time_ms: int) -> int:
        """`time_ms`, but never before an earlier event: clocks of small machines jump."""
        self._last_ms = max(self._last_ms, time_ms)
        return self._last_ms


def _units(price: Decimal, rounding: str) -> int:
    return int(price.scaleb(PRICE_DECIMALS).to_integral_value(rounding=rounding))
