"""What every indicator is: fed one closed candle at a time, it gives one number for each."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

UNDEFINED = math.nan


class Step(NamedTuple):
    """What a candle means to an indicator, in quote; each number was rounded to float32 once.

    Attributes:
        close: the candle's last price.
        change: `close` less the close before.
        true_range: the greatest of high - low, high - close before and close before - low.
        plus_dm: Wilder's upward directional movement.
        minus_dm: Wilder's downward directional movement.
    """

    close: float
    change: float
    true_range: float
    plus_dm: float
    minus_dm: float


class Line:
    """The latest numbers of a stream, one for each candle, in an array that is allocated once.

    Args:
        capacity: how many are kept, each rounded to float32 (24 bits); older ones are overwritten.

    Attributes:
        length: how many are kept now.
    """

    __slots__ = ("_array", "_capacity", "_next", "length")

    def __init__(self, capacity: int) -> None:
        import numpy as np

        self._array = np.full(capacity, UNDEFINED, dtype=np.float32)
        self._capacity = capacity
        self._next = 0
        self.length = 0

    def push(self, value: float) -> None:
        """Take the next candle's number; `UNDEFINED` where it has none. Costs always the same."""
        self._array[self._next] = value
        self._next = (self._next + 1) % self._capacity
        if self.length < self._capacity:
            self.length += 1

    def back(self, steps: int) -> float:
        """The number `steps` before the latest one, as float32 rounded it.

        Raises:
            IndexError: it is not kept.
        """
        if not 0 <= steps < self.length:
            raise IndexError(f"{steps} back, but {self.length} are kept")
        return float(self._array[(self._next - 1 - steps) % self._capacity])

    def latest(self, count: int) -> NDArray[np.float32]:
        """A copy of the latest `count` numbers, or of all there are, oldest first."""
        import numpy as np

        count = min(count, self.length)
        places = np.arange(self._next - count, self._next)
        return self._array[places % self._capacity]

    @property
    def value(self) -> float | None:
        """The latest candle's number, a float32; None where there are too few candles."""
        latest = self.back(0) if self.length else UNDEFINED
        return None if math.isnan(latest) else latest

    @property
    def decimal(self) -> Decimal | None:
        """`value` in the fewest digits that name its float32, such as 123.4; None likewise."""
        import numpy as np

        latest = self.value
        return None if latest is None else Decimal(str(np.float32(latest)))

    @property
    def nbytes(self) -> int:
        """Memory of the numbers, in bytes."""
        return int(self._array.nbytes)


class Indicator(ABC):
    """Something that a `gridbot.indicators.window.CandleWindow` feeds.

    Args:
        period: how many candles it looks back, in its own sense.
        capacity: how many values its lines keep.

    Attributes:
        line: its values.
    """

    def __init__(self, period: int, capacity: int) -> None:
        self._period = period
        self._seen = 0
        self.line = Line(capacity)

    @abstractmethod
    def feed(self, step: Step) -> None:
        """Take the next closed candle. Costs the same however many came before."""

    @property
    def lines(self) -> tuple[Line, ...]:
        """All of its values."""
        return (self.line,)
