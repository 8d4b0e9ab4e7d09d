"""One symbol's questions over REST: its rules, the trades that are missing, its book, its past."""

import logging
from dataclasses import replace
from decimal import Decimal
from typing import Any

from gridbase.clock import Clock
from gridbase.public_rest import INVALID_SYMBOL, Away, Rest

from gridexchange.exchange import Exchange
from gridexchange.live.events import Event, Missed, candle, listed, shown, traded
from gridexchange.live.listing import LiveListing
from gridexchange.live.minutes import MINUTE_MS
from gridexchange.matching.rules import BNB, IN_BNB, TRADING

LOG = logging.getLogger("gridexchange")
PAGE = 1_000
MOST_PAGES = 250  # 250,000 trades, a weight of 1,000; what is older counts as missed
DAY_MINUTES = 1_440
LEARN_S = 3_600.0
LEARN_AGAIN_S = 300.0  # while it is not traded
QUIET_MS = 600_000  # without a trade for so long, it is asked whether it is still traded
MOST_EMPTY = 3
LEVELS = 20
DELISTED = "BREAK"


class Symbol:
    """A symbol, and what is asked about it.

    Args:
        listing: the symbol.
        exchange: whose.
        rest: asks.
        clock: the time.

    Attributes:
        known: whether rules and a price are known.
    """

    def __init__(self, listing: LiveListing, exchange: Exchange, rest: Rest, clock: Clock) -> None:
        self.listing = listing
        self._exchange = exchange
        self._rest = rest
        self._clock = clock
        self._learn_at = float("-inf")
        self._listed = False

    @property
    def known(self) -> bool:
        """Whether rules and a price are known."""
        return self._listed and self.listing.ready

    def _learn_if_due(self) -> None:
        """Ask for its rules: once an hour, oftener while it is not traded, or nothing trades."""
        now = self._clock.monotonic()
        if now < self._learn_at:
            return
        listing = self.listing
        try:
            answer = self._rest.ask("exchangeInfo", symbol=listing.symbol)
            rules = listed(answer["symbols"][0], listing.rules)
        except Away as error:
            if error.code != INVALID_SYMBOL:
                raise
            if not self._listed and listing.rules.status == TRADING:
                said = "symbol = %s: %s has no such market, so nobody is answered"
                LOG.warning(said, listing.rules.market.symbol, listing.minutes.name)
            rules = replace(listing.rules, status=DELISTED)
        else:
            self._listed = True
        if rules.fee_in == IN_BNB and BNB not in (rules.market.base, rules.market.quote):
            found = self._rest.ask("ticker/price", symbol=BNB + rules.market.quote)
            rules = replace(rules, bnb_price=Decimal(found["price"]))
        if rules.status != listing.rules.status:
            said = "trades again" if rules.status == TRADING else f"is not traded: {rules.status}"
            LOG.warning("%s %s on %s", listing.symbol, said, listing.minutes.name)
        with self._exchange.lock:
            listing.learn(rules)
        usual = rules.status == TRADING and self._clock.now_ms() - listing.last_ms < QUIET_MS
        self._learn_at = now + (LEARN_S if usual else LEARN_AGAIN_S)

    def keep_up(self) -> None:
        """Ask for whatever is due; where nothing is missing any more, the symbol is followed.

        Raises:
            Away: nobody answers; what has come so far counts.
            ApiError: -1001, the books could not be written.
        """
        self._learn_if_due()
        listing = self.listing
        if self._clock.now_ms() - listing.last_ms >= QUIET_MS:
            self._learn_at = min(self._learn_at, self._clock.monotonic() + LEARN_AGAIN_S)
        if listing.following and not listing.behind:
            return
        since, missing_from = listing.last_ms, listing.last_number
        try:
            self._trades()
            candles = self._candles()
            book = self._rest.ask("depth", symbol=listing.symbol, limit=LEVELS)
        except Away as error:
            if error.code != INVALID_SYMBOL:
                raise
            if listing.rules.status == TRADING:
                self._learn_at = float("-inf")
                raise
            candles, book = [], {"bids": [], "asks": []}
        with self._exchange.lock:
            listing.behind, listing.following = False, True
            self._apply([*candles, shown(book)])
        if missing_from is None:
            LOG.info("%s: follows %s", listing.symbol, listing.minutes.name)
        elif listing.last_number is not None:
            LOG.info(
                "%s: goes on after %d trades of %d s",
                listing.symbol,
                listing.last_number - missing_from,
                max(0, listing.last_ms - since) // 1000,
            )

    def _trades(self) -> None:
        """Get the trades since the last one; what cannot be had is missed."""
        listing, empty = self.listing, 0
        for _ in range(MOST_PAGES if listing.last_number is not None else 0):
            since = listing.last_number or 0
            rows = self._ask_trades(fromId=since + 1, limit=PAGE)
            if rows:
                self._take(rows)
                if len(rows) < PAGE:
                    return
                continue
            empty += 1
            latest = self._ask_trades(limit=1)
            # Where something has traded since the answer, it is there in the next one.
            if not latest or latest[0]["a"] <= since or empty == MOST_EMPTY:
                self._take(latest)
                return
        self._take(self._ask_trades(limit=1))

    def _ask_trades(self, **parameters: int) -> list[Any]:
        rows: list[Any] = self._rest.ask("aggTrades", symbol=self.listing.symbol, **parameters)
        return rows

    def _take(self, rows: list[Any]) -> None:
        """Let trades act, after those between the last one and them are told to be missed."""
        events: list[Event] = [traded(row) for row in rows]
        last = self.listing.last_number
        if rows and last is not None and rows[0]["a"] not in (last, last + 1):
            events.insert(0, Missed(int(rows[0]["a"]), int(rows[0]["T"])))
        self._apply(events)

    def _candles(self) -> list[Event]:
        """The candles since the last one, at most a day's."""
        listing = self.listing
        rows = self._rest.ask("klines", symbol=listing.symbol, interval="1m", limit=PAGE)
        first = int(rows[0][0]) if rows else 0
        known = listing.minutes.last
        if rows and len(rows) == PAGE and known * MINUTE_MS < first:
            wanted = DAY_MINUTES - PAGE
            before = self._rest.ask(
                "klines", symbol=listing.symbol, interval="1m", limit=wanted, endTime=first - 1
            )
            rows = before + rows
        return [candle(row) for row in rows if int(row[0]) >= known * MINUTE_MS]

    def _apply(self, events: list[Event]) -> None:
        with self._exchange.lock:
            self.listing.inbox.extend(events)
            self._exchange.advance()
