"""What HTTP tells of a request beside its answer, or in place of it."""

import socket
from collections.abc import Iterator

import requests

from gridbot.exchanges.port import BrokerError, Failure

MARKET_HEADER = "X-Gridberry-Market"

_NEVER_SENT = (requests.exceptions.ConnectTimeout, ConnectionRefusedError, socket.gaierror)


def no_answer(
    error: Exception, outer: BaseException | None, address: str, timeout: str
) -> BrokerError:
    """The error for a request that got no answer: it may have arrived, or certainly has not.

    Args:
        error: what ccxt raised; what lies behind it decides.
        outer: what was being handled when the request was made, if anything. Python chains it
            behind `error`, and it tells nothing of this request: an earlier refused connection
            would have this one count as never sent, and its order sent again without asking.
        address: where the request went.
        timeout: longest wait for an answer (seconds), for the message.
    """
    chain = list(_causes(error, outer))
    never_sent = any(
        isinstance(cause, _NEVER_SENT)
        or type(cause).__name__ in {"NewConnectionError", "NameResolutionError"}
        for cause in chain
    )
    reasons = [cause.strerror for cause in chain if isinstance(cause, OSError) and cause.strerror]
    if reasons:
        reason = str(reasons[-1])
    elif any(isinstance(cause, requests.exceptions.Timeout) for cause in chain):
        reason = f"no answer within {timeout} s"
    else:
        reason = "the connection broke"
    kind = Failure.UNREACHABLE if never_sent else Failure.AMBIGUOUS
    return BrokerError(kind, f"exchange {address} cannot be reached: {reason}")


def _causes(error: BaseException | None, outer: BaseException | None) -> Iterator[BaseException]:
    """An error and everything behind it, up to what was there before."""
    seen = {id(outer)}
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        inner = error.args[0] if error.args else None
        reason = getattr(inner, "reason", None)
        if isinstance(reason, BaseException):
            yield from _causes(reason, outer)
        error = error.__cause__ or error.__context__
