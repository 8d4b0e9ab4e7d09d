"""What goes wrong on purpose: by chance from a seed, or by script; off unless asked for.

A *rule* says which kind of fault strikes where, when and how often (`FaultRule`); the settings hold
a list of them. The exchange consults `Faults` wherever something can go wrong:

- Each request, over HTTP or the WebSocket API, has one `Plan`. The exchange itself sees to what an
  answer can tell (refusals, failures, a clock that is off) and, on its `Connection`s, to all the
  rest. Over HTTP the rest is the wire's, as no WSGI application can lose an answer. A wire does::

      plan = api.faults.plan(REST, "POST", "/api/v3/order")
      ...wait plan.late_s...            # longer than the client waits: it acts later all the same
      if plan.fate is Fate.LOSE_REQUEST: break the connection, nothing has happened
      if plan.fate is Fate.HANG_BEFORE: as HANG below, but nothing has happened
      api(environ | {PLAN: plan}, start_response)
      ...wait plan.slow_s...
      if plan.fate is Fate.LOSE_ANSWER: break the connection
      if plan.fate is Fate.HANG: say nothing for plan.hang_s, then break the connection

  A wire that brings no plan gets one made by the application, which then waits by the exchange's
  clock and raises `Severed`, a ConnectionError, where the connection is to break or to hang.
- `Streams.connect` raises `Severed` likewise (method CONNECT, path ws-api, ws or stream).
- Orders that the market touches fill in parts, and are canceled by the exchange, inside the
  market's walk; events are lost, doubled, swapped, late,
  cut short and crossed inside `Connection.outgoing`.

Every rule draws from a generator of its own, seeded by its place among the rules, so that equal
settings and equal requests bring equal faults. Whoever asks holds the exchange's lock, or is the
only thread. `Faults.struck` counts by kind; `Faults.active` may be set to False, and back, at any
time.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from http import HTTPStatus
from random import Random

from gridbase.clock import Clock

from gridexchange.errors import ApiError, filter_failure, order_rejected
from gridexchange.limits import retry_after
from gridexchange.matching.orders import EXPIRED

REST = "rest"
SOCKET = "socket"
PLAN = "gridberry.plan"  # where a WSGI environ carries the plan
NEW_ORDER = ("POST", "order")

LOST_REQUEST = "lost_request"
LOST_ANSWER = "lost_answer"
DELAY = "delay"
ERROR_BEFORE = "error_before"
ERROR_AFTER = "error_after"
RATE_LIMIT = "rate_limit"
BAN = "ban"
CLOCK_SKEW = "clock_skew"
REJECT = "reject"
HANG = "hang"
MAINTENANCE = "maintenance"
PARTIAL_FILL = "partial_fill"
EXCHANGE_CANCEL = "exchange_cancel"
LOST_EVENT = "lost_event"
DUPLICATE_EVENT = "duplicate_event"
REORDERED_EVENT = "reordered_event"
LATE_EVENT = "late_event"
CUT_EVENT = "cut_event"
CROSSED_EVENT = "crossed_event"
DROP = "drop"

Arguments = Mapping[str, int | float | str | bool]
# Which arguments a kind takes, and what they are where a rule does not say.
KINDS: dict[str, Arguments] = {
    MAINTENANCE: {"seconds": 60.0},
    LOST_REQUEST: {},
    ERROR_BEFORE: {"status": 503},
    RATE_LIMIT: {"seconds": 5.0},
    BAN: {"seconds": 120.0},
    REJECT: {"code": -2010},
    CLOCK_SKEW: {"ms": -10_000},
    DELAY: {"seconds": 2.0, "answer": False},
    HANG: {"seconds": 60.0, "acts": True},
    ERROR_AFTER: {"status": 504},
    LOST_ANSWER: {},
    PARTIAL_FILL: {"parts": 3},
    EXCHANGE_CANCEL: {"status": EXPIRED},
    LOST_EVENT: {},
    DUPLICATE_EVENT: {},
    REORDERED_EVENT: {},
    LATE_EVENT: {"seconds": 2.0},
    CUT_EVENT: {},
    CROSSED_EVENT: {},
    DROP: {},
}
REQUEST_KINDS = tuple(KINDS)[:11]
EVENT_KINDS = (
    *(DROP, LOST_EVENT, DUPLICATE_EVENT, REORDERED_EVENT),
    *(LATE_EVENT, CUT_EVENT, CROSSED_EVENT),
)
CROSSABLE = ("bookTicker", "depthUpdate")  # events that have a bid and an ask
BASES = ("/api/v3/", "/api/v1/")


class Fate(Enum):
    """What becomes of a request's connection."""

    ANSWER = auto()
    LOSE_REQUEST = auto()
    LOSE_ANSWER = auto()
    HANG = auto()
    HANG_BEFORE = auto()


@dataclass(frozen=True)
class Plan:
    """What befalls one request; a plain `Plan()` is none.

    Attributes:
        fate: of its connection.
        late_s: seconds before it reaches the exchange.
        slow_s: seconds that its answer needs.
        hang_s: seconds that a hung connection says nothing.
        skew_ms: how far the server's clock is off for it.
        refusal: what it is answered instead of acting.
        failure: what it is answered although it has acted.
    """

    fate: Fate = Fate.ANSWER
    late_s: float = 0.0
    slow_s: float = 0.0
    hang_s: float = 0.0
    skew_ms: int = 0
    refusal: ApiError | None = None
    failure: ApiError | None = None


NO_FAULT = Plan()


class Severed(ConnectionError):  # noqa: N818  a state of the line, not a mistake
    """A connection breaks; `hang_s` is how long it says nothing before."""

    def __init__(self, plan: Plan) -> None:
        super().__init__("the connection breaks, on purpose")
        self.hang_s = plan.hang_s


@dataclass(frozen=True)
class FaultRule:
    """One kind of fault: where, when and how often.

    Attributes:
        kind: a key of `KINDS`.
        probability: of striking where it could, 0 to 1.
        at_request: not before the exchange's request of this number, counted from 1.
        at_s: not before so many seconds after the exchange's start.
        count: strikes at most so often; None: once where the script alone decides, else without
            limit.
        channel: only on `rest` or `socket`.
        method: only requests with this HTTP method (the WebSocket API's have their equals').
        path: only requests of this endpoint, such as order; or, for a method of the WebSocket API
            that has no equal, its name.
        event: only events of this type, such as executionReport or kline.
        arguments: of the kind.
    """

    kind: str
    probability: float = 1.0
    at_request: int = 0
    at_s: float = 0.0
    count: int | None = None
    channel: str = ""
    method: str = ""
    path: str = ""
    event: str = ""
    arguments: Arguments = field(default_factory=dict)

    @property
    def is_scripted(self) -> bool:
        """Whether a time or a number makes it strike, rather than chance."""
        return bool(self.at_request or self.at_s)


@dataclass(frozen=True)
class FaultSettings:
    """All rules, and the seed of their chance."""

    seed: int = 0
    rules: tuple[FaultRule, ...] = ()


@dataclass(frozen=True)
class _Occasion:
    """Where a fault could strike."""

    channel: str = ""
    method: str = ""
    path: str = ""
    event: str = ""


class _Rule:
    """A rule and what is left of it."""

    def __init__(self, rule: FaultRule, random: Random) -> None:
        self.rule = rule
        self.left = rule.count
        if rule.count is None and rule.is_scripted and rule.probability >= 1:
            self.left = 1
        self.random = random
        self.arguments = {**KINDS[rule.kind], **rule.arguments}

    def strikes(self, occasion: _Occasion, requests: int, seconds: float) -> bool:
        rule = self.rule
        if self.left == 0 or requests < rule.at_request or seconds < rule.at_s:
            return False
        for name in ("channel", "method", "path", "event"):
            wanted = getattr(rule, name)
            if wanted and wanted != getattr(occasion, name):
                return False
        plain_reject = rule.kind == REJECT and not rule.method and not rule.path
        if plain_reject and (occasion.method, occasion.path) != NEW_ORDER:
            return False
        if rule.probability < 1 and self.random.random() >= rule.probability:
            return False
        if self.left is not None:
            self.left -= 1
        return True


class Faults:
    """Decides what goes wrong.

    Args:
        settings: the rules.
        clock: the time.

    Attributes:
        active: whether anything goes wrong at all.
        closed: tells whether nobody can be answered, for another reason than a fault.
        struck: how often each kind has.
    """

    def __init__(self, settings: FaultSettings, clock: Clock) -> None:
        self.active = bool(settings.rules)
        self.closed: Callable[[], bool] = lambda: False
        self.struck: Counter[str] = Counter()
        self._clock = clock
        self._start_s = clock.monotonic()
        self._requests = 0
        self._maintenance_end_s = 0.0
        self._rules: dict[str, list[_Rule]] = {}
        for number, rule in enumerate(settings.rules):
            random = Random(f"{settings.seed} {number} {rule.kind}")  # noqa: S311  chance on purpose
            self._rules.setdefault(rule.kind, []).append(_Rule(rule, random))

    def plan(self, channel: str, method: str, path: str) -> Plan:
        """What befalls the next request.

        Args:
            channel: REST or SOCKET.
            method: such as POST.
            path: such as order or /api/v3/order.
        """
        if self.closed():
            return Plan(refusal=maintenance())
        if not self.active:
            return NO_FAULT
        self._requests += 1
        for base in BASES:
            path = path.removeprefix(base)
        occasion = _Occasion(channel, method, path)
        self._begin_maintenance(occasion)
        if self.in_maintenance():
            return Plan(refusal=maintenance())
        for kind in REQUEST_KINDS[1:]:
            arguments = self._strike(kind, occasion)
            if arguments is not None:
                return _plan(kind, arguments, self._clock.now_ms())
        return NO_FAULT

    @property
    def kinds(self) -> list[str]:
        """The kinds that there are rules for."""
        return list(self._rules)

    def in_maintenance(self) -> bool:
        """Whether the exchange answers nobody at the moment; its market goes on."""
        return self.closed() or (self.active and self._clock.monotonic() < self._maintenance_end_s)

    def cuts(self) -> bool:
        """Whether a connection is cut now because the script or maintenance says so."""
        if not self.active:
            return self.closed()
        self._begin_maintenance(_Occasion(SOCKET), scripted=True)
        if self.in_maintenance():
            return True
        return self._strike(DROP, _Occasion(SOCKET), scripted=True) is not None

    def of_event(self, event: str) -> tuple[str, Arguments]:
        """Which kind befalls an event of this type that is about to be sent, with its arguments.

        The kind is empty where nothing does.
        """
        if not self.active:
            return "", {}
        occasion = _Occasion(SOCKET, event=event)
        for kind in EVENT_KINDS:
            if kind == CROSSED_EVENT and event not in CROSSABLE:
                continue
            arguments = self._strike(kind, occasion)
            if arguments is not None:
                return kind, arguments
        return "", {}

    @property
    def cancels(self) -> bool:
        """Whether the exchange may end orders by itself."""
        return self.active and EXCHANGE_CANCEL in self._rules

    def parts(self) -> int:
        """In how many trades an order fills that the market has reached."""
        arguments = self._strike(PARTIAL_FILL, _Occasion()) if self.active else None
        return 1 if arguments is None else int(arguments["parts"])

    def cancelled(self, order_ids: Iterable[int]) -> tuple[int, str] | None:
        """The order that the exchange ends now and the status that it gets, or None."""
        found = sorted(order_ids)
        if not found or not self.active:
            return None
        arguments = self._strike(EXCHANGE_CANCEL, _Occasion())
        if arguments is None:
            return None
        random = self._rules[EXCHANGE_CANCEL][0].random
        return random.choice(found), str(arguments["status"])

    def _strike(
        self, kind: str, occasion: _Occasion, *, scripted: bool = False
    ) -> Arguments | None:
        """The arguments of the first rule that strikes here; None where none does."""
        rules = self._rules.get(kind)
        if not rules:
            return None
        seconds = self._clock.monotonic() - self._start_s
        for rule in rules:
            if scripted and not rule.rule.is_scripted:
                continue
            if rule.strikes(occasion, self._requests, seconds):
                self.struck[kind] += 1
                return rule.arguments
        return None

    def _begin_maintenance(self, occasion: _Occasion, *, scripted: bool = False) -> None:
        if self.in_maintenance():
            return
        arguments = self._strike(MAINTENANCE, occasion, scripted=scripted)
        if arguments is not None:
            self._maintenance_end_s = self._clock.monotonic() + float(arguments["seconds"])


def _plan(kind: str, arguments: Arguments, now_ms: int) -> Plan:
    seconds = float(arguments.get("seconds", 0))
    if kind in (ERROR_BEFORE, ERROR_AFTER):
        error = _error(HTTPStatus(int(arguments["status"])), acted=kind == ERROR_AFTER)
        return Plan(failure=error) if kind == ERROR_AFTER else Plan(refusal=error)
    if kind in (RATE_LIMIT, BAN):
        return Plan(refusal=_too_many(kind, seconds, now_ms))
    if kind == REJECT:
        return Plan(refusal=_rejection(int(arguments["code"])))
    if kind == DELAY:
        return Plan(slow_s=seconds) if arguments["answer"] else Plan(late_s=seconds)
    if kind == HANG:
        return Plan(Fate.HANG if arguments["acts"] else Fate.HANG_BEFORE, hang_s=seconds)
    return {
        LOST_REQUEST: Plan(Fate.LOSE_REQUEST),
        LOST_ANSWER: Plan(Fate.LOSE_ANSWER),
        CLOCK_SKEW: Plan(skew_ms=int(arguments.get("ms", 0))),
    }[kind]


def maintenance() -> ApiError:
    """What everybody is told during maintenance."""
    return ApiError(-1016, "This service is no longer available.", HTTPStatus.SERVICE_UNAVAILABLE)


def _error(status: HTTPStatus, *, acted: bool) -> ApiError:
    if status == HTTPStatus.SERVICE_UNAVAILABLE and not acted:
        text = "Server is currently overloaded with other requests."
        return ApiError(-1008, f"{text} Please try again in a few minutes.", status)
    if status == HTTPStatus.GATEWAY_TIMEOUT:
        text = "Timeout waiting for response from backend server."
        return ApiError(-1007, f"{text} Send status unknown; execution status unknown.", status)
    text = "Unknown error, please check your request or try again later."
    return ApiError(-1000, text, status)


def _rejection(code: int) -> ApiError:
    if code == -1013:
        return filter_failure("PERCENT_PRICE_BY_SIDE")
    return order_rejected("Account has insufficient balance for requested action.")


def _too_many(kind: str, seconds: float, now_ms: int) -> ApiError:
    wait_ms = round(seconds * 1000)
    if kind == BAN:
        text = f"Way too much request weight used; IP banned until {now_ms + wait_ms}."
        status = HTTPStatus.IM_A_TEAPOT
    else:
        text = "Too much request weight used; please use WebSocket Streams for live updates."
        status = HTTPStatus.TOO_MANY_REQUESTS
    return ApiError(-1003, text, status, (retry_after(wait_ms),))
