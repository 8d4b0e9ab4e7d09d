"""Follows the exchange: connects, reads its streams, and asks for the trades that it has missed.

One connection carries the streams of all symbols. Whatever ends it (a cut, the end that comes
after 24 hours, maintenance), the symbols are behind afterwards: the trades since the last one are
asked for by their numbers, and only then orders are accepted again.
"""

import logging
import threading
from collections.abc import Sequence
from typing import Any

from gridbase.backoff import Backoff
from gridbase.clock import Clock
from gridbase.public_rest import Away, Rest
from gridbase.sockets.dialer import Dialer
from gridbase.sockets.link import Link

from gridexchange.errors import ApiError
from gridexchange.exchange import Exchange
from gridexchange.faults.plan import maintenance
from gridexchange.live.catching_up import Symbol
from gridexchange.live.events import Event, shown, streamed_candle, traded
from gridexchange.live.listing import LiveListing

LOG = logging.getLogger("gridexchange")
STREAMS = ("aggTrade", "depth20", "kline_1m")
TIMEOUT_S = 10.0
QUIET_S = 10.0  # then the other end is asked something
WAIT_S = 1.0
PAUSE_S = 0.25  # between two looks: what comes meanwhile is taken together
MOST_AT_ONCE = 2_000
UNSEEN_S = 30.0  # then an old price is none, and nobody is answered
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0


class Follower:
    """Keeps the symbols up with the exchange that is followed; see `Link` for its methods.

    Args:
        name: of the exchange that is followed.
        exchange: whose symbols follow it.
        rest: asks it.
        streams: address of its streams.
        dialer: opens the connection.
        clock: the time.
    """

    def __init__(
        self,
        name: str,
        exchange: Exchange,
        *,
        rest: Rest,
        streams: str,
        dialer: Dialer,
        clock: Clock,
    ) -> None:
        self.name = name
        self._exchange = exchange
        self._rest = rest
        self._clock = clock
        live = [each for each in exchange.listings.values() if isinstance(each, LiveListing)]
        self._symbols = {each.symbol: Symbol(each, exchange, rest, clock) for each in live}
        for listing in live:
            listing.past = self._past(listing)
        names = [f"{name.lower()}@{stream}" for name in self._symbols for stream in STREAMS]
        url = f"{streams}/stream?streams={'/'.join(names)}"
        self._link = Link(
            f"streams of {name}",
            lambda: url,
            dialer,
            clock,
            self,
            timeout=TIMEOUT_S,
            quiet=QUIET_S,
            backoff=Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S),
        )
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._failures = 0
        self._retry_at = self._seen_at = float("-inf")
        self._trouble = ""
        self._inbox: list[tuple[LiveListing, Event]] = []

    @property
    def listings(self) -> Sequence[LiveListing]:
        """The symbols."""
        return [symbol.listing for symbol in self._symbols.values()]

    @property
    def closed(self) -> bool:
        """Whether nobody is answered: there is no price yet, or the market is not seen for long."""
        known = all(symbol.known for symbol in self._symbols.values())
        return not known or self._clock.monotonic() - self._seen_at > UNSEEN_S

    def told(self) -> dict[str, object]:
        """How it goes, for GET /gridberry/health."""
        listings = {
            each.symbol: {
                "following": each.following and not each.behind,
                "status": each.rules.status,
                "last_trade_ms": each.last_ms,
                "gaps": each.gaps,
            }
            for each in self.listings
        }
        return {
            "exchange": self.name,
            "connected": self._link.open,
            "trouble": self._trouble,
            "symbols": listings,
        }

    def step(self, wait: float) -> None:
        """Do what is due; wait for a message at most so many seconds.

        Raises:
            ApiError: -1001, the books could not be written.
        """
        self._link.dial(wait)
        if not self._link.open:
            self._clock.sleep(wait)
            return
        self._link.receive(wait)
        self._link.pump()
        self._deliver()
        if self._link.open and self._keep_up():
            self._link.steady()

    def close(self) -> None:
        """Close the connection."""
        self._link.close()

    # What the connection tells.

    def opened(self) -> None:
        """The connection is there: what happened before it must be asked for."""

    def lost(self) -> None:
        """The connection is gone."""
        with self._exchange.lock:
            self._inbox.clear()
            for listing in self.listings:
                listing.lose()

    def probe(self) -> None:
        """Ask something that has to be answered."""
        self._link.send({"method": "LIST_SUBSCRIPTIONS", "id": 1})

    def received(self, document: dict[str, Any]) -> None:
        """A message of a stream, or an answer."""
        name, _, stream = str(document.get("stream", "")).partition("@")
        symbol = self._symbols.get(name.upper())
        if symbol is None:
            return
        data = document["data"]
        event: Event
        if stream == "aggTrade":
            event = traded(data)
        elif stream.startswith("depth"):
            event = shown(data)
        else:
            event = streamed_candle(data)
        self._inbox.append((symbol.listing, event))
        if len(self._inbox) >= MOST_AT_ONCE:
            self._deliver()

    def _deliver(self) -> None:
        """Let what has come act, in its order."""
        with self._exchange.lock:
            inbox, self._inbox = self._inbox, []
            for listing, event in inbox:
                listing.inbox.append(event)
            self._exchange.advance()

    def _keep_up(self) -> bool:
        """Ask for what is due; False where the exchange does not answer."""
        if self._clock.monotonic() < self._retry_at:
            return False
        try:
            for symbol in self._symbols.values():
                symbol.keep_up()
        except Away as error:
            self._failed(error)
            return False
        except (KeyError, IndexError, TypeError, ValueError, ArithmeticError) as error:
            self._failed(Away(f"an answer makes no sense ({error!r})"))
            return False
        if self._trouble:
            LOG.info("%s: answers again", self.name)
        self._trouble, self._failures = "", 0
        self._seen_at = self._clock.monotonic()
        return True

    def _failed(self, error: Away) -> None:
        self._failures += 1
        pause = self._backoff.pause(self._failures, error.wait_s)
        self._retry_at = self._clock.monotonic() + pause
        if str(error) != self._trouble:
            LOG.warning("%s: %s; next try in %.0f s", self.name, error, pause)
        self._trouble = str(error)

    def _past(self, listing: LiveListing) -> Any:
        """What answers questions for its candles: the exchange itself."""

        def past(interval: str, *, limit: int, start_ms: int | None, end_ms: int | None) -> object:
            try:
                return self._rest.ask(
                    "klines",
                    symbol=listing.symbol,
                    interval=interval,
                    limit=limit,
                    startTime=start_ms,
                    endTime=end_ms,
                )
            except Away as error:
                if error.code in (-1120, -1121):
                    raise ApiError(error.code, "Invalid interval.") from error
                raise maintenance() from error

        return past


class FollowerThread:
    """A thread in which a follower does its work.

    Args:
        follower: what works.
        clock: its time; a stop ends its waits.
        moved: called after each look, as the market may have moved.
    """

    def __init__(self, follower: Follower, clock: Clock, moved: Any) -> None:
        self._follower = follower
        self._clock = clock
        self._moved = moved
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping = True
        self._thread.join(3 * WAIT_S)

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._follower.step(WAIT_S)
            except ApiError:
                LOG.debug("the market stands still")
                self._clock.sleep(WAIT_S)
            except Exception:
                LOG.exception("following %s failed, and goes on", self._follower.name)
                self._follower.lost()
                self._clock.sleep(WAIT_S)
            self._moved()
            self._clock.sleep(PAUSE_S)
        self._follower.close()
