"""Pauses between tries: doubled from one to the next, and never the same for two bots."""

import math
import random

_DICE = random.SystemRandom()


class Backoff:
    """How long to wait before the next try.

    Args:
        first: the first pause (seconds).
        longest: pauses are doubled up to this (seconds).
        dice: spreads them; one with a seed makes them repeatable.
    """

    def __init__(self, first: float, longest: float, dice: random.Random | None = None) -> None:
        self.first = first
        self.longest = longest
        self._dice = _DICE if dice is None else dice

    def pause(self, failures: int, asked: float | None = None) -> float:
        """Pause after a number of failures in a row, at least as long as the exchange asks.

        Spread by a fifth, so that a fleet which lost its exchange does not return as one.

        Args:
            failures: how many, from 1.
            asked: seconds that the exchange asks to wait; None where it does not say.
        """
        doubled = min(math.ldexp(self.first, min(failures - 1, 20)), self.longest)
        return max(doubled * self._dice.uniform(0.8, 1.2), asked or 0.0)
