"""An account on an exchange, however it is talked to."""

from typing import Protocol

from gridbot.exchanges.access.circuit_breaker import Circuit
from gridbot.exchanges.port import Broker


class Account(Protocol):
    """One account on one exchange, for all symbols of a process."""

    @property
    def address(self) -> str:
        """Where requests go."""

    @property
    def circuit(self) -> Circuit:
        """The breaker of its requests."""

    def broker(self, symbol: str) -> Broker:
        """The view of one symbol, such as ``BTC/USDT``; the same one each time."""

    def wait(self, seconds: float) -> None:
        """Wait that long, until an event arrives for any symbol, or until stopped."""

    def document(self) -> dict[str, object]:
        """State of the connections, for people; ``circuit`` is `Circuit.document`."""

    def close(self) -> None:
        """Close all connections."""
