"""What every request passes: the exchange's own bar, the circuit breaker, and patience with reads.

An exchange that says for how long it wants to be left alone is left alone, by all symbols of the
account: it bans who goes on asking.
"""

import random
from collections.abc import Callable
from typing import TypeVar

from gridbase.backoff import Backoff
from gridbase.clock import Clock

from gridbot.exchanges.access.circuit_breaker import Circuit
from gridbot.exchanges.port import BrokerError, Failure

READ_RETRIES = 2
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 4.0

# What reading an answer raises that is not what was asked for.
SENSELESS = (AttributeError, LookupError, TypeError, ValueError, ArithmeticError)

_Result = TypeVar("_Result")


class AnsweredError(BrokerError):
    """The exchange answered, and it was no result.

    Args:
        failure: the kind.
        message: one clear line.
        status: of HTTP, or its like in a WebSocket API; 0 where it is not known.
        code: the exchange's; None where there is none.
        decided: the exchange decided so, and is well.
        retry_after: seconds that the exchange asks to wait.
    """

    def __init__(
        self,
        failure: Failure,
        message: str,
        *,
        status: int = 0,
        code: int | None = None,
        decided: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(failure, message, retry_after=retry_after)
        self.status = status
        self.code = code
        self.decided = decided


class RequestGate:
    """The way to one exchange.

    Args:
        clock: time.
        circuit: its breaker.
        dice: spreads pauses; one with a seed makes them repeatable.

    Attributes:
        outcomes: how many requests were made, by what came of them.
    """

    def __init__(self, clock: Clock, circuit: Circuit, dice: random.Random | None = None) -> None:
        self.outcomes = {"answered": 0, "refused": 0, "failed": 0}
        self._clock = clock
        self.circuit = circuit
        self._barred_until = float("-inf")
        self._backoff = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, dice)

    def ask(self, request: Callable[[], _Result], *, once: bool, urgent: bool = False) -> _Result:
        """Make a request.

        Args:
            request: makes it and reads the answer.
            once: it changes something, and is not repeated; a read is, twice at most.
            urgent: the breaker lets it through now and then though it is open.

        Raises:
            BrokerError: see `Failure`.
        """
        failures = 0
        while True:
            self._check_bar()
            self.circuit.check(urgent=urgent)
            try:
                result = request()
            except BrokerError as error:
                failures += 1
                if not is_breakdown(error):
                    self.outcomes["refused"] += 1
                    self.circuit.succeeded()
                    if error.failure is Failure.RATE_LIMITED and error.retry_after is not None:
                        self._barred_until = self._clock.monotonic() + error.retry_after
                    raise
                self.outcomes["failed"] += 1
                self.circuit.failed()
                given_up = once or failures > READ_RETRIES or self._clock.stopping
                if given_up or error.retry_after is not None:
                    raise
            else:
                self.outcomes["answered"] += 1
                self.circuit.succeeded()
                return result
            self._clock.sleep(self._backoff.pause(failures))

    def _check_bar(self) -> None:
        remaining = self._barred_until - self._clock.monotonic()
        if remaining > 0:
            raise BrokerError(
                Failure.RATE_LIMITED,
                f"the exchange wants to be left alone for another {remaining:.0f} s",
                retry_after=remaining,
            )


def is_breakdown(error: BrokerError) -> bool:
    """Whether an error is one of the infrastructure, and no decision of the exchange."""
    if isinstance(error, AnsweredError) and error.decided:
        return False
    return error.failure in {Failure.UNREACHABLE, Failure.AMBIGUOUS}
