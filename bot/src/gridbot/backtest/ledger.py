"""All fills of a backtest as arrays, and the exact books after any number of them."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import numpy as np
import numpy.typing as npt
from gridbase.candles.price_units import UNITS_PER_QUOTE

from gridbot.backtest.crossings import Crossings
from gridbot.backtest.data import Floats, Integers
from gridbot.backtest.tariff import Account, Kind, Move, Tariff


class Ledger:
    """The fills of one backtest.

    Args:
        crossings: which line filled when.
        tariff: what a fill moves.

    Attributes:
        candle: index of the candle of each fill.
        tariff: as given.
    """

    def __init__(self, crossings: Crossings, tariff: Tariff) -> None:
        self.candle = crossings.candle
        self.tariff = tariff
        self._lines = len(tariff.plan.lines)
        # One number for kind and line.
        self._codes = _kinds(crossings, tariff.plan.empty_line) * self._lines + crossings.line

    def __len__(self) -> int:
        return len(self._codes)

    def move(self, index: int) -> Move:
        """What fill `index` moved."""
        kind, line = divmod(int(self._codes[index]), self._lines)
        return self.tariff.move(Kind(kind), line)

    def line(self, index: int) -> int:
        """Index of the line of fill `index`."""
        return int(self._codes[index]) % self._lines

    def account(self, fills: int) -> Account:
        """The exact books after the first `fills` fills."""
        size = len(Kind) * self._lines
        counts = np.bincount(self._codes[:fills], minlength=size).reshape(len(Kind), -1)
        return self.tariff.account(counts.tolist())

    def holdings(self) -> tuple[Floats, Floats]:
        """Base and quote held before the first fill and after each, as doubles."""
        base, quote = np.zeros(len(self) + 1), np.zeros(len(self) + 1)
        start = self.account(0)
        base[0], quote[0] = float(start.base), float(start.quote)
        base[1:] = self._each(lambda move: move.base)
        quote[1:] = self._each(lambda move: move.quote)
        return np.cumsum(base), np.cumsum(quote)

    def prices(self) -> Floats:
        """Price of each fill, in units, as doubles."""
        return self._each(lambda move: move.price * UNITS_PER_QUOTE)

    def sells(self) -> npt.NDArray[np.bool_]:
        """Whether each fill is a sell."""
        return self._codes >= int(Kind.SELL) * self._lines

    def _each(self, amount: Callable[[Move], Decimal]) -> Floats:
        """One amount of every fill's move, as doubles."""
        table = np.zeros(len(Kind) * self._lines)
        for code in np.flatnonzero(np.bincount(self._codes, minlength=len(table))).tolist():
            kind, line = divmod(code, self._lines)
            table[code] = amount(self.tariff.move(Kind(kind), line))
        amounts: Floats = table[self._codes]
        return amounts


def _kinds(crossings: Crossings, empty_line: int) -> Integers:
    """Kind of each fill.

    A line above the first empty one starts with a sell of the initial purchase; it stays until it
    fills, so that the line's first sell is that one and every later one answers a buy.
    """
    kinds = np.where(crossings.sell, int(Kind.SELL), int(Kind.BUY)).astype(np.int64)
    initial = np.flatnonzero(crossings.sell & (crossings.line > empty_line))
    _, first = np.unique(crossings.line[initial], return_index=True)
    kinds[initial[first]] = Kind.INITIAL_SELL
    return kinds
