"""Pairs what was done with what was expected, by line, side and time. Pure.

Both the backtest's grid and the bot's are, at any moment, one empty line; a step moves it by one
line. What is not paired so far is the way between the two. A new step of one of them

- is paired with the oldest unpaired step of the other one at the same place, or else
- where it began to trade before the backtest took back its own there, with that, or else
- takes back an unpaired step of its own: a round trip that the other one did not make, or else
- waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gridbot.core.orders import Role

from analytics.compare.expected import Expected
from analytics.compare.steps import Leg, Step


@dataclass
class Pairing:
    """A step that was expected, one that was done, or both.

    Attributes:
        expected: of the backtest; None where it took none.
        done: of the bot; None where it took none.
        cause: the step of the same one that this one takes back; None where there is none.
    """

    expected: Expected | None = None
    done: Leg | None = None
    cause: Pairing | None = None

    @property
    def step(self) -> Step:
        """The expected step, or the one that was done."""
        if self.expected is not None:
            return self.expected.step
        return done_step(self.done)


def done_step(leg: Leg | None) -> Step:
    """What a leg traded."""
    if leg is None or leg.step is None:
        raise ValueError("it has not traded")
    return leg.step


def pair(expected: Sequence[Expected], done: Iterable[Leg]) -> list[Pairing]:
    """Every step once, alone or with its counterpart.

    Args:
        expected: the backtest's, in the order of the walk.
        done: the bot's that have traded, in any order.
    """
    # At the same moment the backtest comes first: it is never later than a bot.
    moments: list[tuple[int, int, int, Pairing]] = [
        (each.step.time_ms, 0, number, Pairing(expected=each))
        for number, each in enumerate(expected)
    ]
    legs = sorted(done, key=lambda leg: (done_step(leg).time_ms, leg.created_ms))
    moments += [
        (done_step(leg).time_ms, 1, number, Pairing(done=leg)) for number, leg in enumerate(legs)
    ]
    found: list[Pairing] = []
    waiting: list[Pairing] = []
    for *_, new in sorted(moments, key=lambda moment: moment[:3]):
        other = _counterpart(new, waiting)
        if other is not None:
            waiting.remove(other)
            other.expected, other.done = other.expected or new.expected, other.done or new.done
            continue
        back = _under_way(new, found)
        if back is not None and back.cause is not None:
            back.cause.done, back.cause = new.done, None
            waiting.append(back)
            continue
        found.append(new)
        before = _taken_back(new, waiting)
        if before is not None:
            waiting.remove(before)
            new.cause = before
        elif new.step.role is not Role.LIQUIDATION and (new.expected is not None or _moves(new)):
            waiting.append(new)
    return found


def _counterpart(new: Pairing, waiting: Sequence[Pairing]) -> Pairing | None:
    """The oldest unpaired step of the other one at the same place."""
    own = new.expected is not None
    for each in waiting:
        if (each.expected is None) is own and each.step.place == new.step.place:
            return each
    return None


def _taken_back(new: Pairing, waiting: Sequence[Pairing]) -> Pairing | None:
    """The latest unpaired step of its own that a step takes back."""
    own = new.expected is not None
    for each in reversed(waiting):
        if (each.expected is not None) is own and new.step.reverses(each.step):
            return each
    return None


def _under_way(new: Pairing, found: Sequence[Pairing]) -> Pairing | None:
    """The step by which the backtest took back what the bot has only now done whole.

    An order that trades in parts may be whole after the price has come back.
    """
    if new.done is None or new.done.trades < 2:
        return None
    for each in reversed(found):
        if each.step.time_ms < new.done.first_ms:
            return None  # older than its first trade: nothing before it can be meant
        if (
            each.expected is not None
            and each.done is None
            and each.cause is not None
            and each.cause.step.place == new.step.place
        ):
            return each
    return None


def _moves(pairing: Pairing) -> bool:
    """Whether a step of the bot has moved its grid: one that was given up half has not."""
    return pairing.done is not None and pairing.done.complete
