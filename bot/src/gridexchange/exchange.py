"""The exchange itself: matching, markets and books tied together under one lock.

Time is read only from the clock it is given, and the market advances only when somebody looks:
each request first makes every leg that has come due, so nobody can see a difference from a market
that moves by itself, and an idle exchange costs nothing.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from threading import RLock

from gridbase.candles.price_units import from_units
from gridbase.clock import Clock
from gridbase.errors import ExitCode, UserError

from gridexchange.counters import ORDERS, Counters
from gridexchange.errors import ApiError, cancel_rejected, internal_error, invalid_symbol
from gridexchange.market.listing import Listing
from gridexchange.matching.amounts import ZERO
from gridexchange.matching.ledger import Changes
from gridexchange.matching.orders import Balance, Order, OrderRequest, Report, Trade
from gridexchange.store.store import SYMBOLS, Store

# A stretch of market without a fill can be walked again after a power cut with the same result,
# so its position is saved seldom: an idle exchange spares the card.
SAVE_POSITION_MS = 30_000
RETRY_MS = 1_000

Listener = Callable[[Listing, list[Report]], None]


class Exchange:
    """One account on the symbols of a simulated market.

    Args:
        listings: the symbols.
        store: the books.
        balances: what a new account starts with, by coin.
        clock: the time.

    Raises:
        UserError: the store holds the books of other symbols, or cannot be read or written.

    Attributes:
        listeners: told of what happened to orders, once it is stored and with the lock held.
        counters: what has happened since the start.
    """

    def __init__(
        self,
        listings: Sequence[Listing],
        *,
        store: Store,
        balances: dict[str, Decimal],
        clock: Clock,
    ) -> None:
        self.listings = {listing.symbol: listing for listing in listings}
        self.store = store
        self.clock = clock
        self.lock = RLock()
        self.trouble = ""
        self.listeners: list[Listener] = []
        self.counters = Counters(clock.now_ms())
        self._stale = False
        try:
            self._open_books(balances)
            self._load()
            for listing in listings:
                if listing.restarted:
                    # The walk goes from the old market's price straight to the new one's open.
                    with self._changing(listing):
                        price = from_units(listing.feed.price(0))
                        listing.engine.move(price, listing.at(clock.now_ms()))
        except sqlite3.Error as error:
            raise UserError(f"{store.path}: cannot be used: {error}", ExitCode.STATE) from error

    def listing(self, symbol: str) -> Listing:
        """What is traded under the exchange's own name of a symbol.

        Raises:
            ApiError: -1121, there is no such symbol.
        """
        listing = self.listings.get(symbol)
        if listing is None:
            raise invalid_symbol()
        return listing

    def _open_books(self, start: dict[str, Decimal]) -> None:
        stored = self.store.symbols()
        symbols = [listing.rules.market.symbol for listing in self.listings.values()]
        if stored - set(symbols):
            raise UserError(
                f"{self.store.path}: holds the books of {', '.join(sorted(stored))}, not of"
                f" {', '.join(symbols)}: choose another state_directory",
                ExitCode.STATE,
            )
        facts: dict[str, str] = {}
        for listing in self.listings.values():
            is_new = listing.rules.market.symbol not in stored
            facts |= listing.open(self.store, is_new=is_new)
        if not facts:
            return
        known = self.store.balances()
        given = {} if known else start
        coins = set(given)
        for listing in self.listings.values():
            coins |= {listing.rules.market.base, listing.rules.market.quote} - known.keys()
        balances = {coin: Balance(given.get(coin, ZERO)) for coin in coins}
        facts[SYMBOLS] = ",".join(sorted(symbols))
        self.store.commit({"": Changes(assets=coins)}, balances, facts)

    def _load(self) -> None:
        """Take positions and books from the store, dropping what memory says."""
        self.balances = self.store.balances()
        self._saved_ms = self._monotonic_ms()
        for listing in self.listings.values():
            listing.load(self.store, self.balances, self._saved_ms)

    def advance(self) -> None:
        """Make all legs that have come due, and store what they changed.

        Raises:
            ApiError: -1001, the books could not be written; the market stands still.
        """
        with self.lock:
            if self._stale:
                self._reload()
            monotonic, wall = self._monotonic_ms(), self.clock.now_ms()
            changed = False
            for listing in self.listings.values():
                listing.advance(monotonic, wall)
                changed = changed or bool(listing.engine.changes)
            if changed:
                self._commit()
            elif monotonic - self._saved_ms >= (RETRY_MS if self.trouble else SAVE_POSITION_MS):
                self._save_position(monotonic)

    def wait_ms(self) -> int | None:
        """Milliseconds until a market moves next; None when all stand still for good."""
        with self.lock:
            monotonic = self._monotonic_ms()
            waits = [listing.wait_ms(monotonic) for listing in self.listings.values()]
        return min((wait for wait in waits if wait is not None), default=None)

    def place(self, listing: Listing, request: OrderRequest) -> tuple[Order, list[Trade]]:
        """Accept an order and store it before returning; see `Engine.place`."""
        with self._changing(listing):
            return listing.engine.place(request, self._now(listing))

    def check(self, listing: Listing, request: OrderRequest) -> None:
        """Raise what `place` would raise, and change nothing."""
        with self.lock:
            self.advance()
            listing.check_reachable()
            listing.engine.check(request)

    def check_filters(self, listing: Listing, request: OrderRequest) -> None:
        """Raise what `place` would raise for a filter, and change nothing."""
        with self.lock:
            self.advance()
            listing.check_reachable()
            listing.engine.check_filters(request)

    def cancel(
        self,
        listing: Listing,
        order_id: int | None,
        client_order_id: str | None,
        cancel_id: str,
        *,
        only: str | None = None,
    ) -> Order:
        """Cancel an open order.

        Args:
            listing: the symbol.
            order_id: its number, or None.
            client_order_id: its client order ID, or None; where both are named, both must fit.
            cancel_id: what the client calls the cancellation.
            only: the status that it must have; None for any.

        Raises:
            ApiError: -2011, there is no such open order, or it has another status.
        """
        with self._changing(listing):
            engine = listing.engine
            if order_id is None:
                order = engine.open_order(client_order_id or "")
            else:
                order = engine.orders.get(order_id)
            if order is None or client_order_id not in (None, order.client_order_id):
                raise cancel_rejected("Unknown order sent.")
            if only not in (None, order.status):
                raise cancel_rejected("Order was not canceled due to cancel restrictions.")
            return engine.cancel(order.order_id, self._now(listing), cancel_id=cancel_id)

    def cancel_all(self, listing: Listing, cancel_id: str) -> list[Order]:
        """Cancel every open order of a symbol.

        Raises:
            ApiError: -2011, there is none.
        """
        with self._changing(listing):
            engine = listing.engine
            if not engine.orders:
                raise cancel_rejected("Unknown order sent.")
            now = self._now(listing)
            return [
                engine.cancel(number, now, cancel_id=cancel_id) for number in sorted(engine.orders)
            ]

    @contextmanager
    def looking(self) -> Iterator["Exchange"]:
        """Hold the markets still, up to date, while an answer is put together."""
        with self.lock:
            self.advance()
            yield self

    def close(self) -> None:
        """Save the positions and close the books.

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
    def _changing(self, listing: Listing) -> Iterator[None]:
        """Change the books: all of it is stored, or memory goes back to what is stored."""
        with self.lock:
            self.advance()
            listing.check_reachable()
            try:
                yield
                self._commit()
                listing.watch()
            except ApiError:
                # Refused before anything changed, or already put back by `_commit`.
                raise
            except BaseException:
                self._reload()
                raise

    def _commit(self) -> None:
        changes = {
            symbol: listing.engine.take_changes() for symbol, listing in self.listings.items()
        }
        try:
            self.store.commit(changes, self.balances, self._positions())
        except sqlite3.Error as error:
            self.trouble = f"books cannot be written: {error}"
            self._reload()
            raise internal_error() from error
        self._saved_ms = self._monotonic_ms()
        self.trouble = ""
        for symbol, listing in self.listings.items():
            if reports := changes[symbol].reports:
                for report in reports:
                    self.counters.add(ORDERS, report.kind)
                for tell in self.listeners:
                    tell(listing, reports)

    def _positions(self) -> dict[str, str]:
        facts: dict[str, str] = {}
        for listing in self.listings.values():
            facts |= listing.facts()
        return facts

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
        """Save the positions; a failure loses nothing, so it only shows in `trouble`."""
        try:
            if self.trouble:
                self.store.probe()
            self.store.commit({}, {}, self._positions())
        except sqlite3.Error as error:
            self.trouble = f"books cannot be written: {error}"
        else:
            self.trouble = ""
        self._saved_ms = monotonic

    def _monotonic_ms(self) -> int:
        return round(self.clock.monotonic() * 1000)

    def _now(self, listing: Listing) -> int:
        return listing.at(self.clock.now_ms())
