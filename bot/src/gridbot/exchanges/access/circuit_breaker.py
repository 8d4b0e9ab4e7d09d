"""The circuit breaker in front of an exchange."""

from gridbase import circuit_breaker
from gridbase.clock import Clock

from gridbot.exchanges.port import BrokerError, Failure


class Circuit(circuit_breaker.Circuit):
    """One exchange's circuit breaker.

    Args:
        clock: time.
        address: of the exchange, for messages.
    """

    def __init__(self, clock: Clock, address: str) -> None:
        super().__init__(clock)
        self._address = address

    def check(self, *, urgent: bool = False) -> None:
        """Let a request through, or not.

        Args:
            urgent: it takes risk away: a look at the price that stops depend on, a cancellation.

        Raises:
            BrokerError: the circuit is open; the request must not be sent.
        """
        remaining = self.wait(urgent=urgent)
        if remaining <= 0:
            return
        raise BrokerError(
            Failure.UNREACHABLE,
            f"exchange {self._address} did not answer {self.failures} times in a row: "
            "it is left in peace for a while",
            retry_after=remaining,
        )
