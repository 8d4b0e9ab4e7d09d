"""The latest numbers of a stream, in an array that is allocated once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Ring:
    """The latest `capacity` numbers, each rounded to float32 (24 bits).

    Args:
        capacity: how many are kept; older ones are overwritten.

    Attributes:
        length: how many are kept now.
    """

    __slots__ = ("_array", "_capacity", "_next", "length")

    def __init__(self, capacity: int) -> None:
        import numpy as np

        self._array = np.full(capacity, np.nan, dtype=np.float32)
        self._capacity = capacity
        self._next = 0
        self.length = 0

    def push(self, value: float) -> None:
        """Take the next number. Costs the same however many there are."""
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
        first = (self._next - count) % self._capacity
        if first + count <= self._capacity:
            return self._array[first : first + count].copy()
        return np.concatenate((self._array[first:], self._array[: self._next]))

    @property
    def nbytes(self) -> int:
        """Memory of the numbers, in bytes."""
        return int(self._array.nbytes)
