"""The candle cache: what it asks for, and above all what it does not."""

import pytest
from gridbot.exchanges.port import BrokerError, Failure
from gridbot.indicators.candle_cache import (
    INTERVALS,
    MOST_INTERVALS,
    OLD_LENGTHS,
    OLD_MS,
    CandleCache,
    CandlesMissingError,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from .conftest import HOUR, MINUTE, candle

SECOND = 1_000
START = 10_000 * HOUR


class Exchange:
    """Closed candles of every interval since its first hour; counts what it is asked."""

    def __init__(self) -> None:
        self.now = START
        self.first = 0
        self.holes: set[int] = set()
        self.late = 0
        self.failure: Exception | None = None
        self.asked: list[tuple[str, int]] = []

    def fetch(self, interval: str, count: int) -> list:
        self.asked.append((interval, count))
        if self.failure is not None:
            raise self.failure
        length = INTERVALS[interval]
        newest = (self.now - self.late) // length - 1
        indexes = [index for index in self.existing(length) if index <= newest]
        return [candle(index, 1 + index % 7, interval=length) for index in indexes[-count:]]

    def existing(self, length: int) -> list[int]:
        newest = self.now // length
        first = max(self.first // length, newest - 3_000)
        return [index for index in range(first, newest + 1) if index not in self.holes]


@pytest.fixture
def exchange():
    return Exchange()


@pytest.fixture
def cache(exchange):
    return CandleCache(exchange.fetch, capacity=500)


def times(window) -> list[int]:
    return [time // window.interval_ms for time in window.times(window.length)]


def test_the_first_to_ask_causes_one_request_and_the_rest_share_it(exchange, cache):
    window = cache.series("1h", 100, START)
    for second in range(60):
        assert cache.series("1h", 80, START + second * SECOND) is window
    assert exchange.asked == [("1h", 100)]
    assert times(window) == list(range(9_900, 10_000))


def test_a_new_candle_is_fetched_once_after_it_has_closed(exchange, cache):
    cache.series("1h", 100, START)
    for second in range(0, 3 * 3_600, 2):
        exchange.now = START + second * SECOND
        window = cache.series("1h", 100, exchange.now)
    exchange.now = START + 3 * HOUR + 2 * SECOND
    cache.series("1h", 100, exchange.now)
    # One more than is missing: the known one proves that nothing lies between.
    assert exchange.asked == [("1h", 100), ("1h", 2), ("1h", 2), ("1h", 2)]
    assert times(window) == list(range(9_900, 10_003))


def test_candles_that_a_stream_pushes_are_never_fetched(exchange, cache):
    window = cache.series("1h", 50, START)
    for hour in range(1, 200):
        exchange.now = START + hour * HOUR + 100
        cache.series("1h", 50, exchange.now)
        cache.push("1h", candle(10_000 + hour - 1, 5, interval=HOUR))
        assert cache.series("1h", 50, exchange.now + 1_800 * SECOND) is window
    assert exchange.asked == [("1h", 50)]
    assert window.last_time == (10_000 + 198) * HOUR


def test_a_candle_that_a_stream_brings_late_is_asked_for_after_the_pause(exchange, cache):
    cache.series("1h", 50, START)
    exchange.now = START + HOUR
    for second in range(30):
        cache.series("1h", 50, exchange.now + second * SECOND, streamed=True)
    assert exchange.asked == [("1h", 50)]
    window = cache.series("1h", 50, exchange.now + 30 * SECOND, streamed=True)
    assert exchange.asked == [("1h", 50), ("1h", 2)]
    assert window.last_time == START


def test_pushes_that_repeat_or_were_not_asked_for_are_ignored(cache):
    cache.push("1h", candle(9_999, 5, interval=HOUR))
    window = cache.series("1h", 50, START)
    cache.push("1h", candle(9_999, 5, interval=HOUR))
    cache.push("1h", candle(9_000, 5, interval=HOUR))
    cache.push("5m", candle(9_000, 5, interval=5 * MINUTE))
    assert window.length == 50
    assert cache.intervals == ["1h"]


def test_a_gap_in_the_stream_is_fetched_at_once_and_closed(exchange, cache):
    window = cache.series("1m", 50, START)
    exchange.now = START + 4 * MINUTE + 10
    cache.push("1m", candle(START // MINUTE + 3, 5))
    assert window.length == 50
    again = cache.series("1m", 50, exchange.now)
    assert again is window
    assert exchange.asked == [("1m", 50), ("1m", 5)]
    assert times(window) == list(range(START // MINUTE - 50, START // MINUTE + 4))
    assert window.gaps == 0


def test_a_long_absence_starts_anew(exchange, cache):
    cache.series("1m", 50, START)
    exchange.now = START + 600 * MINUTE
    window = cache.series("1m", 50, exchange.now + 3 * SECOND)
    assert exchange.asked == [("1m", 50), ("1m", 50)]
    assert times(window) == list(range(exchange.now // MINUTE - 50, exchange.now // MINUTE))
    assert window.gaps == 0


def test_an_answer_that_does_not_connect_is_asked_for_in_full(exchange, cache):
    """The exchange's clock is a minute ahead: its latest two are not the two that are missing."""
    cache.series("1m", 50, START)
    exchange.now = START + 3 * MINUTE
    window = cache.series("1m", 50, START + MINUTE + 59_999)
    assert exchange.asked == [("1m", 50), ("1m", 2), ("1m", 50)]
    assert window.gaps == 0
    assert window.last_time == START + MINUTE


def test_candles_that_the_exchange_itself_lacks_are_bridged_once(exchange, cache):
    exchange.holes = {START // MINUTE - 20, START // MINUTE - 19}
    window = cache.series("1m", 50, START)
    for second in range(50):
        cache.series("1m", 50, START + second * SECOND)
    assert len(exchange.asked) == 1
    assert (window.length, window.gaps) == (50, 2)


def test_a_hole_at_the_end_is_bridged(exchange, cache):
    cache.series("1m", 50, START)
    exchange.holes = {START // MINUTE, START // MINUTE + 1}
    exchange.now = START + 3 * MINUTE + 5 * SECOND
    window = cache.series("1m", 50, exchange.now)
    assert window.gaps == 2
    assert window.last_time == START + 2 * MINUTE


def test_a_young_market_is_not_asked_for_more_than_it_has(exchange, cache):
    exchange.first = START - 30 * HOUR
    for second in range(100):
        window = cache.series("1h", 200, START + second * SECOND)
    assert window.length == 30
    assert exchange.asked == [("1h", 200)]


def test_whoever_needs_more_gets_more_and_less_is_no_reason_to_ask(exchange, cache):
    cache.series("1h", 100, START)
    assert cache.series("1h", 300, START).length == 300
    assert cache.series("1h", 100, START).length == 300
    assert exchange.asked == [("1h", 100), ("1h", 300)]


def test_a_late_exchange_is_asked_again_after_the_pause(exchange, cache):
    cache.series("1h", 100, START)
    exchange.late = 65 * SECOND
    for second in range(100):
        exchange.now = START + HOUR + second * SECOND
        window = cache.series("1h", 100, exchange.now)
    # At 2 s, 32 s, 62 s and 92 s; the last one brings it.
    assert len(exchange.asked) == 1 + 4
    assert window.last_time == START


def test_a_failure_comes_through_and_is_repeated_only_after_the_pause(exchange, cache):
    cache.series("1h", 100, START)
    exchange.failure = BrokerError(Failure.UNREACHABLE, "no route to host")
    after = START + HOUR + 2 * SECOND
    with pytest.raises(BrokerError, match="no route"):
        cache.series("1h", 100, after)
    for second in range(30):
        with pytest.raises(CandlesMissingError, match=f"no route.*again in {30 - second} s"):
            cache.series("1h", 100, after + second * SECOND)
    assert len(exchange.asked) == 2
    exchange.failure = None
    exchange.now = after + 30 * SECOND
    assert cache.series("1h", 100, exchange.now).last_time == START
    assert len(exchange.asked) == 3


def test_a_success_ends_the_pause_and_the_failure(exchange):
    cache = CandleCache(exchange.fetch, pause_ms=600 * SECOND)
    exchange.failure = BrokerError(Failure.UNREACHABLE, "no route to host")
    with pytest.raises(BrokerError):
        cache.series("1m", 50, START)
    exchange.failure = None
    exchange.now = START + 600 * SECOND
    cache.series("1m", 50, exchange.now)
    # A gap two minutes later is none of that request's business.
    exchange.now += 2 * MINUTE
    cache.push("1m", candle(exchange.now // MINUTE - 1, 5))
    window = cache.series("1m", 50, exchange.now)
    assert window.last_time == exchange.now - MINUTE
    # Nor is a candle that the exchange is late with a failure.
    exchange.late = 5 * SECOND
    exchange.now += MINUTE + 3 * SECOND
    for _ in range(2):
        assert cache.series("1m", 50, exchange.now) is window
    assert len(exchange.asked) == 4


def test_whoever_needs_more_does_not_wait_for_a_late_candle(exchange, cache):
    cache.series("1h", 50, START)
    exchange.late = 60 * SECOND
    exchange.now = START + HOUR + 5 * SECOND
    cache.series("1h", 50, exchange.now)
    assert cache.series("1h", 200, exchange.now).length == 200
    assert exchange.asked == [("1h", 50), ("1h", 2), ("1h", 200)]


def test_a_stream_heals_a_failure(exchange, cache):
    cache.series("1h", 100, START)
    exchange.failure = BrokerError(Failure.UNREACHABLE, "no route to host")
    after = START + HOUR + 2 * SECOND
    with pytest.raises(BrokerError):
        cache.series("1h", 100, after)
    cache.push("1h", candle(10_000, 5, interval=HOUR))
    assert cache.series("1h", 100, after).last_time == START


def test_a_clock_set_back_does_not_lengthen_the_pause(exchange, cache):
    exchange.failure = BrokerError(Failure.UNREACHABLE, "no route to host")
    with pytest.raises(BrokerError):
        cache.series("1h", 100, START + 24 * HOUR)
    exchange.failure = None
    assert cache.series("1h", 100, START).length == 100


def test_an_unfinished_candle_is_not_taken(exchange, cache):
    exchange.now = START + HOUR
    window = cache.series("1h", 100, START + 1_800 * SECOND)
    assert window.last_time == START - HOUR


def test_what_nobody_asks_for_is_dropped(cache):
    cache.series("1m", 50, START)
    cache.series("1h", 50, START)
    cache.clean(START + HOUR)
    assert cache.intervals == ["1m", "1h"]
    cache.clean(START + HOUR + 1)
    # Candles of an hour are of use for longer than candles of a minute.
    assert cache.intervals == ["1h"]
    cache.clean(START + 3 * HOUR)
    assert cache.intervals == []


def test_the_number_of_series_is_bounded(cache):
    for second, interval in enumerate(INTERVALS):
        cache.series(interval, 10, START + second * SECOND)
    assert cache.intervals == list(INTERVALS)[-MOST_INTERVALS:]


@pytest.mark.parametrize("count", [0, 501])
def test_a_count_beyond_the_capacity_is_a_mistake_of_the_caller(cache, count):
    with pytest.raises(ValueError, match="from 1 to 500"):
        cache.series("1h", count, START)


moves = st.lists(
    st.tuples(st.integers(0, 20), st.sampled_from(["ask", "push", "skip", "fail", "more"])),
    max_size=80,
)


@settings(deadline=None, max_examples=200)
@given(moves=moves, holes=st.sets(st.integers(0, 300), max_size=30))
def test_whatever_happens_the_candles_are_those_of_the_exchange(moves, holes):
    """Streams that lose candles, requests that fail: no candle wrong, none lost, few requests."""
    exchange = Exchange()
    base = START // MINUTE
    exchange.holes = {base - 50 + hole for hole in holes}
    cache = CandleCache(exchange.fetch, capacity=100)
    count, failures = 40, 0
    for minutes, what in moves:
        exchange.now += minutes * MINUTE
        newest = exchange.now // MINUTE - 1
        exchange.failure = ConnectionError("lost") if what == "fail" else None
        if what == "push" and newest not in exchange.holes:
            cache.push("1m", candle(newest, 1 + newest % 7))
        elif what in {"ask", "fail", "more"}:
            count = 70 if what == "more" else count
            try:
                window = cache.series("1m", count, exchange.now + 10 * SECOND)
            except (ConnectionError, CandlesMissingError):
                failures += 1
                continue
            existing = [each for each in exchange.existing(MINUTE) if each <= newest]
            assert times(window) == existing[-window.length :]
            assert window.length >= min(count, 40)
    assert len(exchange.asked) <= 2 * sum(what in {"ask", "fail", "more"} for _, what in moves)


@pytest.mark.parametrize("interval", ["1m", "1h", "1d"])
def test_candles_of_long_ago_count_as_missing(exchange, cache, interval):
    length = INTERVALS[interval]
    cache.series(interval, 5, exchange.now)
    ended = exchange.now // length * length
    exchange.failure = None
    exchange.late = 100 * length  # whatever is asked for, there is nothing newer
    bound = ended + OLD_LENGTHS * length + OLD_MS
    exchange.now = bound
    assert cache.series(interval, 5, bound).length >= 5
    exchange.now = bound + 1
    with pytest.raises(CandlesMissingError, match=f"the newest candle {interval} ended"):
        cache.series(interval, 5, bound + 1)
    exchange.late = 0
    assert cache.series(interval, 5, bound + 40 * SECOND).length >= 5
