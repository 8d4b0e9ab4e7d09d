"""Says why a step of the bot differs from one of the backtest. Pure.

What the books and the recorded prices prove is named; the rest is unexplained. Nothing is guessed
from the size of a difference.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property

from gridbase.market import EXACT
from gridbot.core.grid import Fees
from gridbot.core.orders import Role, Side

from analytics.compare.books import Stretch, Traded
from analytics.compare.expected import Expected
from analytics.compare.match import Pairing, done_step
from analytics.compare.prices import Prices
from analytics.compare.steps import NOTHING, ZERO, Leg, Why, worth

SAME_MS = 1_000  # clocks of an exchange's own parts may differ so much
FAR = 2**62
ON_ITS_WAY_MS = 5_000  # from writing an order down to having it at the exchange
EACH_MS = 50  # more, for each order that was written down with it: they go one after the other
LATE_MS = 60_000  # an order that comes later than this after its cause was not merely slow


@dataclass(frozen=True)
class Difference:
    """A step with its reasons.

    Attributes:
        pairing: what was expected and what was done.
        why: the main reason.
        parts: what it changed in equity at the last price, by reason (quote).
    """

    pairing: Pairing
    why: Why
    parts: dict[Why, Decimal]

    @property
    def money(self) -> Decimal:
        """All parts."""
        total = ZERO
        for amount in self.parts.values():
            total = EXACT.add(total, amount)
        return total


@dataclass
class Reasons:
    """What is known of one grid in one stretch of time.

    Attributes:
        traded: the grid and all of its legs.
        prices: the recorded ones.
        fees: what a trade was expected to cost.
        last_price: what steps are valued at (quote).
        end_ms: end of the stretch (Unix milliseconds).
        pauses: by a person.
        halts: by a kill switch.
    """

    traded: Traded
    prices: Prices
    fees: Fees
    last_price: Decimal
    end_ms: int
    pauses: Sequence[Stretch] = ()
    halts: Sequence[Stretch] = ()
    _known: dict[int, Why] = field(default_factory=dict)
    _done: dict[str, Why] = field(default_factory=dict)

    @cached_property
    def _places(self) -> dict[tuple[Role, int, Side], list[Leg]]:
        """The legs of each place, in the order of their first orders."""
        found: dict[tuple[Role, int, Side], list[Leg]] = {}
        for leg in self.traded.legs:
            found.setdefault((leg.role, leg.line, leg.side), []).append(leg)
        return found

    @cached_property
    def _moments(self) -> list[int]:
        """When orders were written down."""
        return sorted(each.created_ms for leg in self.traded.legs for each in leg.attempts)

    def _on_its_way(self, created_ms: int) -> int:
        """How long an order may take to the exchange (milliseconds)."""
        first = bisect_left(self._moments, created_ms - SAME_MS)
        together = bisect_right(self._moments, created_ms + SAME_MS) - first
        return ON_ITS_WAY_MS + EACH_MS * together

    def explain(self, pairings: Iterable[Pairing]) -> list[Difference]:
        """Every pairing with its reasons, in their order."""
        listed = list(pairings)
        taken_back = {id(each.cause): each.step.time_ms for each in listed if each.cause}
        found = []
        for pairing in listed:
            until = taken_back.get(id(pairing), self.end_ms)
            why = self._why(pairing, until)
            parts = self._parts(pairing, why)
            if why is Why.EQUAL and parts:
                why = max(parts, key=lambda each: abs(parts[each]))
            self._known[id(pairing)] = why
            if pairing.done is not None:
                self._done[pairing.done.name] = why
            found.append(Difference(pairing, why, parts))
        return found

    def _why(self, pairing: Pairing, until: int) -> Why:
        if pairing.cause is not None:
            return self._known[id(pairing.cause)]
        if pairing.expected is None:
            return self._extra(pairing.done)
        if pairing.done is None:
            return self._missed(pairing.expected, until)
        return self._late(pairing.expected, pairing.done)

    # When.

    def _late(self, expected: Expected, leg: Leg) -> Why:
        """Why a step was done at another time."""
        due, done = expected.step.time_ms, done_step(leg).time_ms
        known = _proven(
            (Why.EQUAL, due - SAME_MS <= done <= self._latest(due) + SAME_MS),
            (Why.START, leg.role is Role.INITIAL),
            (Why.BEFORE, expected.at_once and done > due),
        )
        if known is not Why.UNEXPLAINED:
            return known
        if done < due:
            return self._unseen(done, due, leg)
        if leg.created_ms > self._latest(due):
            return self._ordered_late(leg, due)
        return self._not_filled(leg, due, done - 1)

    def _missed(self, expected: Expected, until: int) -> Why:
        """Why a step was not done."""
        due, place = expected.step.time_ms, expected.step.place
        # There and back again in one candle: nobody knows in which order.
        in_candle = 0 <= until - due < self.prices.interval_ms
        known = self._stopped(due) or _proven(
            (Why.BEFORE, expected.at_once),
            (Why.START, place[0] is Role.INITIAL),
            (Why.IN_CANDLE, in_candle),
        )
        if known is not Why.UNEXPLAINED:
            return known
        legs = self._places.get(place, [])
        resting = [
            leg
            for leg in legs
            if leg.created_ms <= self._latest(due)
            and not (leg.complete and done_step(leg).time_ms < due)
        ]
        if resting:
            return self._not_filled(resting[-1], due, until)
        later = next((leg for leg in legs if leg.created_ms > due), None)
        return self._never_ordered(due, until) if later is None else self._ordered_late(later, due)

    def _never_ordered(self, due: int, until: int) -> Why:
        """Why no order was written down for a step."""
        return _proven(
            (Why.PAUSE, _within(self.pauses, due, until)),
            (Why.LATENCY, self.end_ms - due <= LATE_MS),
        )

    def _not_filled(self, leg: Leg, due: int, until: int) -> Why:
        """Why an order that was written down had not traded when the price came."""
        before = [each for each in leg.attempts if each.created_ms <= self._latest(due)]
        again = any(due < each.created_ms <= until for each in leg.attempts)
        sent_late = again or leg.took or not before[-1].sent
        in_parts = leg.trades > 1 and leg.first_ms <= self._latest(due) + SAME_MS
        return _proven(
            (Why.PARTIAL, in_parts or (leg.trades > 0 and not leg.complete)),
            (Why.PAUSE, _within(self.pauses, due, due)),
            (Why.TOUCHED, not self.prices.went_beyond(leg.price, leg.side, due, until)),
            (Why.LATENCY, due - before[-1].created_ms <= self._on_its_way(before[-1].created_ms)),
            (Why.HELD_BACK, sent_late),
        )

    def _ordered_late(self, leg: Leg, due: int) -> Why:
        """Why an order was written down only after the price had come."""
        line = leg.line + (1 if leg.side is Side.BUY else -1)
        answered = [
            each
            for each in self._places.get((Role.GRID, line, _other(leg.side)), [])
            if each.complete and done_step(each).time_ms <= leg.created_ms
        ]
        last = max(answered, key=lambda each: done_step(each).time_ms, default=None)
        since = None if last is None else done_step(last).time_ms
        begin = due if since is None else since
        return _proven(
            (Why.PAUSE, _within(self.pauses, begin, leg.created_ms)),
            (Why.KILL_SWITCH, _within(self.halts, begin, leg.created_ms)),
            (Why.START, since is None),
            # What it answers came late itself: for the same reason.
            (self._done.get(last.name if last else "", Why.UNEXPLAINED), begin > self._latest(due)),
            (Why.LATENCY, leg.created_ms - begin <= LATE_MS),
            (Why.OUTAGE, True),
        )

    def _extra(self, leg: Leg | None) -> Why:
        """Why a step was done that was not expected."""
        step = done_step(leg)
        if leg is None or leg.role is Role.LIQUIDATION or not leg.complete:
            return self._stopped(FAR) or Why.GRID_ENDED
        if leg.role is Role.INITIAL:
            return Why.START
        return self._unseen(step.time_ms, step.time_ms, leg)

    def _unseen(self, from_ms: int, to_ms: int, leg: Leg) -> Why:
        """Why a step was done before, or without, a recorded price that would have led to it."""
        if self.prices.missing(from_ms - SAME_MS, to_ms + SAME_MS):
            return Why.DATA_GAP
        if self.prices.interval_ms and self.prices.reached(leg.price, from_ms):
            return Why.IN_CANDLE
        return Why.UNEXPLAINED

    def _stopped(self, time_ms: int) -> Why | None:
        """Why the grid did nothing more at a time; None where it was to trade."""
        run = self.traded.run
        ended = run.closed_ms is not None and run.closed_ms <= time_ms
        at = run.closed_ms if ended and run.closed_ms is not None else time_ms
        if _within(self.halts, at, at):
            return Why.KILL_SWITCH
        if not ended:
            return None
        moved = run.result is not None and (run.result.next_range or run.result.takes_over)
        return Why.RANGE_LEFT if moved else Why.GRID_ENDED

    def _latest(self, due: int) -> int:
        """The last moment at which a price may have come that is recorded for a time."""
        return due + max(0, self.prices.interval_ms - 1)

    # How much.

    def _parts(self, pairing: Pairing, why: Why) -> dict[Why, Decimal]:
        """What a pairing changed in equity, by reason; what is 0 is left out."""
        market = self.traded.run.market
        coins = (market.base, market.quote)
        expected = None if pairing.expected is None else pairing.expected.step
        done = None if pairing.done is None else pairing.done.step
        was = NOTHING if expected is None else worth(expected, self.last_price, *coins)
        now = NOTHING if done is None else worth(done, self.last_price, *coins)
        if expected is None or done is None or pairing.done is None:
            return _some({why: EXACT.subtract(now.total, was.total)})
        sign = Decimal(1 if done.side is Side.BUY else -1)
        more = EXACT.subtract(done.quantity, expected.quantity)
        price = EXACT.divide(expected.quote, expected.quantity)
        gain = EXACT.multiply(sign, EXACT.subtract(self.last_price, price))
        by_quantity = EXACT.multiply(more, gain)
        by_fee = EXACT.subtract(now.fee, was.fee)
        by_price = EXACT.subtract(EXACT.subtract(now.trade, was.trade), by_quantity)
        parts: list[tuple[Why, Decimal]] = [
            (Why.FEES, by_fee),
            (Why.PRICE if why is Why.EQUAL else why, by_price),
        ]
        if more:
            parts.append((self._why_quantity(pairing.done, expected.quantity), by_quantity))
        found: dict[Why, Decimal] = {}
        for reason, amount in parts:
            found[reason] = EXACT.add(found.get(reason, ZERO), amount)
        return _some(found)

    def _why_quantity(self, leg: Leg, expected: Decimal) -> Why:
        """Why a step traded another quantity."""
        if not leg.complete:
            return self._stopped(FAR) or Why.PARTIAL
        if leg.trades > 1 or len(leg.attempts) > 1 or self._bought_in_parts(leg):
            return Why.PARTIAL
        lots = EXACT.multiply(self.traded.run.market.lot_size, Decimal(2))
        by_fee = EXACT.multiply(EXACT.multiply(self.fees.rate, expected), Decimal(2))
        more = abs(EXACT.subtract(done_step(leg).quantity, expected))
        if leg.side is Side.SELL and more <= EXACT.add(lots, by_fee):
            return Why.FEES
        return Why.UNEXPLAINED

    def _bought_in_parts(self, leg: Leg) -> bool:
        """Whether a sale is of what came in several trades, each of which pays a rounded fee."""
        if leg.side is Side.BUY:
            return False
        bought = [
            *self._places.get((Role.GRID, leg.line - 1, Side.BUY), []),
            *self._places.get((Role.INITIAL, self.traded.run.plan.empty_line, Side.BUY), []),
        ]
        return any(each.trades > 1 and each.created_ms <= leg.created_ms for each in bought)


def _proven(*proofs: tuple[Why, bool]) -> Why:
    """The first reason that holds."""
    return next((why for why, holds in proofs if holds), Why.UNEXPLAINED)


def _some(parts: dict[Why, Decimal]) -> dict[Why, Decimal]:
    return {why: amount for why, amount in parts.items() if amount}


def _other(side: Side) -> Side:
    return Side.SELL if side is Side.BUY else Side.BUY


def _within(stretches: Iterable[Stretch], from_ms: int, to_ms: int) -> bool:
    return any(each.meets(from_ms, to_ms) for each in stretches)
