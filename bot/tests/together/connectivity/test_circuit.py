"""Circuit breaker, patience and time: pure parts, and the breaker in front of real requests."""

import random
import statistics

import pytest
from gridbase.backoff import Backoff
from gridbase.circuit_breaker import FAILURES, OPEN_SECONDS, URGENT_SECONDS
from gridbot.exchanges.access.circuit_breaker import Circuit
from gridbot.exchanges.access.request_gate import AnsweredError, RequestGate
from gridbot.exchanges.access.server_time import RENEW_SECONDS, ServerTime
from gridbot.exchanges.port import BrokerError, Failure

from .conftest import trading
from .test_streams import order, rest

BREAKDOWN = BrokerError(Failure.AMBIGUOUS, "no answer")


class Script:
    """A request whose outcomes are written down."""

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.sent = 0

    def __call__(self):
        self.sent += 1
        outcome = self.outcomes.pop(0) if self.outcomes else BREAKDOWN
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@pytest.fixture
def clock():
    return trading.VirtualClock()


@pytest.fixture
def circuit(clock):
    return Circuit(clock, "http://exchange.test")


@pytest.fixture
def request_gate(clock, circuit):
    return RequestGate(clock, circuit, random.Random(1))  # noqa: S311 - pauses


def fail(request_gate, request, times):
    for _ in range(times):
        with pytest.raises(BrokerError):
            request_gate.ask(request, once=True)


def test_it_opens_after_five_failures_in_a_row_and_sends_nothing(clock, circuit, request_gate):
    request = Script()
    fail(request_gate, request, FAILURES - 1)
    assert circuit.state == "closed"
    fail(request_gate, request, 1)
    assert circuit.document() == {
        "state": "open",
        "failures": 5,
        "opened_ms": clock.now_ms(),
        "retry_in_seconds": 30.0,
    }
    with pytest.raises(BrokerError) as error:
        request_gate.ask(request, once=True)
    assert request.sent == FAILURES
    assert error.value.failure is Failure.UNREACHABLE
    assert error.value.retry_after == OPEN_SECONDS


def test_an_answer_in_between_starts_the_count_anew(circuit, request_gate):
    fail(request_gate, Script(), FAILURES - 1)
    assert request_gate.ask(Script("answer"), once=True) == "answer"
    fail(request_gate, Script(), FAILURES - 1)
    assert circuit.state == "closed"


@pytest.mark.parametrize(
    "decision",
    [
        BrokerError(Failure.REJECTED, "no"),
        BrokerError(Failure.NOT_FOUND, "no"),
        BrokerError(Failure.AUTH, "no"),
        BrokerError(Failure.RATE_LIMITED, "no"),
        BrokerError(Failure.CLOCK, "no"),
        AnsweredError(Failure.AMBIGUOUS, "Duplicate order sent.", decided=True),
    ],
)
def test_what_the_exchange_decides_is_no_failure(circuit, request_gate, decision):
    request = Script(*[decision] * 20)
    fail(request_gate, request, 20)
    assert request.sent == 20
    assert circuit.document()["failures"] == 0


@pytest.mark.parametrize("failure", [Failure.UNREACHABLE, Failure.AMBIGUOUS])
def test_infrastructure_is(circuit, request_gate, failure):
    fail(request_gate, Script(*[BrokerError(failure, "no")] * FAILURES), FAILURES)
    assert circuit.state == "open"


def test_after_thirty_seconds_one_request_decides(clock, circuit, request_gate):
    request = Script()
    fail(request_gate, request, FAILURES)
    clock.sleep(OPEN_SECONDS)
    assert circuit.state == "half-open"
    fail(request_gate, request, 1)
    assert request.sent == FAILURES + 1
    assert circuit.state == "open"
    clock.sleep(OPEN_SECONDS - 0.1)
    fail(request_gate, request, 1)
    assert request.sent == FAILURES + 1
    clock.sleep(0.1)
    assert request_gate.ask(Script("answer"), once=True) == "answer"
    assert circuit.document() == {
        "state": "closed",
        "failures": 0,
        "opened_ms": None,
        "retry_in_seconds": None,
    }


def test_a_read_is_asked_again_twice_with_growing_pauses(clock, request_gate):
    request = Script()
    with pytest.raises(BrokerError):
        request_gate.ask(request, once=False)
    assert request.sent == 3
    assert 1.2 <= clock.seconds <= 1.8
    assert request_gate.ask(Script(BREAKDOWN, "answer"), once=False) == "answer"


def test_what_changes_something_is_sent_once(clock, request_gate):
    request = Script()
    with pytest.raises(BrokerError):
        request_gate.ask(request, once=True)
    assert (request.sent, clock.seconds) == (1, 0.0)


def test_a_failure_that_says_how_long_it_lasts_is_not_asked_again_before(request_gate):
    request = Script(BrokerError(Failure.AMBIGUOUS, "503", retry_after=20.0))
    with pytest.raises(BrokerError):
        request_gate.ask(request, once=False)
    assert request.sent == 1


def test_a_decision_is_not_asked_for_again(request_gate):
    request = Script(BrokerError(Failure.NOT_FOUND, "no"))
    with pytest.raises(BrokerError):
        request_gate.ask(request, once=False)
    assert request.sent == 1


def test_an_exchange_that_wants_to_be_left_alone_is(clock, request_gate):
    limited = BrokerError(Failure.RATE_LIMITED, "Too much request weight used.", retry_after=20)
    request = Script(limited, "answer")
    for _ in range(5):
        with pytest.raises(BrokerError) as error:
            request_gate.ask(request, once=False)
        assert error.value.failure is Failure.RATE_LIMITED
        clock.sleep(4.0)
    assert error.value.retry_after == pytest.approx(4.0)
    assert request.sent == 1
    assert request_gate.ask(request, once=False) == "answer"


def test_pauses_double_spread_and_end():
    backoff = Backoff(1.0, 60.0, random.Random(1))  # noqa: S311 - pauses
    for failures, middle in ((1, 1), (2, 2), (5, 16), (7, 60), (1000, 60)):
        pauses = [backoff.pause(failures) for _ in range(300)]
        assert 0.8 * middle <= min(pauses) < max(pauses) <= 1.2 * middle
        assert statistics.mean(pauses) == pytest.approx(middle, rel=0.03)
    assert backoff.pause(1, asked=99.0) == 99.0


def test_time_is_the_median_of_answers(clock):
    time = ServerTime(clock)
    clock.sleep(100.0)
    assert time.now_ms() == clock.now_ms()
    for error in (0, 40, -30, 900, 10):
        time.sample(clock.monotonic(), clock.now_ms() + 5000 + error)
    assert time.now_ms() == clock.now_ms() + 5010
    assert time.ahead_ms == -5010


def test_time_goes_on_whatever_happens_to_the_wall_clock(clock):
    time = ServerTime(clock)
    time.sample(0.0, 1_700_000_000_000)
    clock.now_ms = lambda: 5
    clock.sleep(3.0)
    assert time.now_ms() == 1_700_000_003_000


def test_a_slow_answer_says_little(clock):
    time = ServerTime(clock)
    time.sample(0.0, 1000)
    clock.sleep(10.0)
    time.sample(0.0, 9000)
    assert time.now_ms() == 11_000


def test_time_is_renewed_now_and_then(clock):
    time = ServerTime(clock)
    assert time.due
    time.sample(0.0, 1000)
    assert not time.due
    clock.sleep(RENEW_SECONDS)
    assert time.due
    time.asked()
    assert not time.due


# In front of a real exchange.


def test_an_exchange_that_is_gone_is_left_in_peace(make_world):
    world = make_world(at_end="hold")
    del world.document["exchange"]["stream_url"]
    broker = world.broker()
    broker.connect()
    world.wire.requests.clear()
    world.wire.before = trading.unreachable
    for _ in range(40):
        with pytest.raises(BrokerError):
            broker.open_orders()
        world.clock.sleep(0.5)
    assert len(world.wire.requests) == FAILURES
    assert broker.account.document()["circuit"]["state"] == "open"
    world.wire.before = lambda *_: None
    world.clock.sleep(OPEN_SECONDS)
    assert broker.open_orders() == []
    assert broker.account.document()["circuit"]["state"] == "closed"


def test_a_refused_order_does_not_open_it(make_world):
    world = make_world(at_end="hold")
    broker = world.broker()
    broker.connect()
    for number in range(10):
        with pytest.raises(BrokerError) as error:
            broker.place(order(f"pi9-{number}", quantity="999"))
        assert error.value.failure is Failure.REJECTED
    assert broker.account.circuit.state == "closed"


def test_a_channel_that_hangs_counts_and_rest_goes_on(make_world):
    world = make_world(at_end="hold")
    broker = world.broker()
    broker.connect()
    world.network.account.hanging = True
    assert broker.open_orders() == []
    assert rest(world) == ["openOrders"]
    assert broker.account.circuit.document()["failures"] == 0


def test_nearly_used_up_weight_slows_reads_down_and_not_orders(make_world):
    world = make_world(at_end="hold", weight_per_minute=100)
    del world.document["exchange"]["stream_url"]
    broker = world.broker()
    broker.connect()
    assert broker.account.weight.limit == 100
    while broker.account.document()["weight_used"] < 80:
        broker.balances()
    before = world.clock.seconds
    broker.place(order("pi9-a"))
    assert world.clock.seconds - before < 0.2
    broker.open_orders()
    assert 4.0 < world.clock.seconds - before < 6.0


def test_a_share_bounds_reads_and_neither_orders_nor_what_takes_risk_away(make_world):
    world = make_world(at_end="hold", weight_per_minute=1000)
    del world.document["exchange"]["stream_url"]
    world.document["exchange"]["request_share"] = 10
    broker = world.broker()
    broker.connect()
    weight = broker.account.weight
    while weight.own + 20 <= weight.share:
        broker.balances()
    with pytest.raises(BrokerError) as error:
        broker.balances()
    assert error.value.failure is Failure.UNREACHABLE
    assert "exchange.request_share = 10" in str(error.value)
    assert weight.share == 100
    assert 80 < weight.own <= weight.share
    assert weight.own == weight.used  # the exchange has counted the same
    assert broker.account.circuit.document()["failures"] == 0
    broker.place(order("pi9-a"))
    broker.look()
    world.clock.sleep(error.value.retry_after)
    assert weight.own == 0
    assert broker.balances()


def test_what_takes_risk_away_is_let_through_sooner(clock, circuit, request_gate):
    request = Script()
    fail(request_gate, request, FAILURES)
    for seconds, sent in ((URGENT_SECONDS - 0.1, 0), (0.1, 1), (URGENT_SECONDS - 0.1, 1)):
        clock.sleep(seconds)
        with pytest.raises(BrokerError):
            request_gate.ask(request, once=True, urgent=True)
        assert request.sent == FAILURES + sent
    with pytest.raises(BrokerError) as told:
        request_gate.ask(request, once=True, urgent=True)
    assert told.value.retry_after == pytest.approx(0.1)
    clock.sleep(0.1)
    with pytest.raises(BrokerError):
        request_gate.ask(request, once=True)
    assert request_gate.ask(Script("answer"), once=True, urgent=True) == "answer"
    assert circuit.state == "closed"
