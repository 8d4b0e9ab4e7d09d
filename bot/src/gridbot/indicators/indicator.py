"""What every indicator is: fed one closed candle at a time, it gives one number for each."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from gridbot.indicators.ring import Ring

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
    """The latest values of one indicator, in step with its candles.

    Args:
        capacity: how many are kept.
    """

    __slots__ = ("_ring",)

    def __init__(self, capacity: int) -> None:
        self._ring = Ring(capacity)

    def push(self, value: float) -> None:
        """Take the next candle's value; `UNDEFINED` where it has none yet."""
        self._ring.push(value)

    @property
    def value(self) -> float | None:
        """The latest candle's value, a float32; None where there are too few candles."""
        if not self._ring.length:
            return None
        latest = self._ring.back(0)
        return None if math.isnan(latest) else latest

    @property
    def decimal(self) -> Decimal | None:
        """`value` in the fewest digits that name its float32, such as 123.4; None likewise."""
        import numpy as np

        latest = self.value
        return None if latest is None else Decimal(str(np.float32(latest)))

    def latest(self, count: int) -> NDArray[np.float32]:
        """Values of the latest `count` candles, oldest first; NaN where there is none."""
        return self._ring.latest(count)

    @property
    def nbytes(self) -> int:
        """Memory of the values, in bytes."""
        return self._ring.nbytes


class Indicator(ABC):
    """Something that a `gridbot.indicators.window.CandleWindow` feeds.

    Args:
        capacity: how many values its lines keep.

    Attributes:
        line: its values.
    """

    def __init__(self, capacity: int) -> None:
        self.line = Line(capacity)

    @abstractmethod
    def feed(self, step: Step) -> None:
        """Take the next closed candle. Costs the same however many came before."""

    @property
    def lines(self) -> tuple[Line, ...]:
        """All of its values."""
        return (self.line,)
