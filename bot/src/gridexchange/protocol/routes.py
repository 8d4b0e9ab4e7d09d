"""One request on its way to what answers it."""

from collections.abc import Callable
from dataclasses import dataclass, field

from gridexchange.faults.plan import NO_FAULT, Plan
from gridexchange.limits import Usage
from gridexchange.protocol.requests import Parameters


@dataclass
class Request:
    """One request on its way.

    Attributes:
        method: such as GET.
        name: the endpoint's path below /api/v3.
        parameters: what was sent.
        address: who asks.
        api_key: what the client says its key is; None where it says nothing.
        now_ms: the server's time.
        usage: the limits that it has counted towards.
        plan: what goes wrong with it on purpose.
        microseconds: whether its answer tells times in microseconds.
    """

    method: str
    name: str
    parameters: Parameters
    address: str
    api_key: str | None
    now_ms: int
    usage: list[Usage] = field(default_factory=list)
    plan: Plan = NO_FAULT
    microseconds: bool = False


@dataclass(frozen=True)
class Route:
    """What answers one method of one path.

    Attributes:
        answer: makes the answer.
        weight: request weight, or how it follows from the parameters.
        signed: whether key, time and signature are needed.
    """

    answer: Callable[[Request], object]
    weight: int | Callable[[Parameters], int]
    signed: bool = False
