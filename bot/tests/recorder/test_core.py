"""Invented faults against the pure core: nothing twice, nothing lost without a gap."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from recorder.core.book import Book, BookBuilder, Difference, rebuild
from recorder.core.inbox import Inbox
from recorder.core.numbered import GRACE_MS, Numbered
from recorder.core.quotes import Quotes
from recorder.core.rows import Kind, Part, Side, Stream

TRADES = Stream("binance", Kind.TRADES, "BTCUSDT")
DEPTH = Stream("binance", Kind.DEPTH, "BTCUSDT")
QUOTES = Stream("binance", Kind.QUOTES, "BTCUSDT")


def trade(number: int):
    return (1_000 * number, number, 100, 1, number, number, 0)


def deliver(numbers: list[int], random: Random, rates: dict[str, float]):
    """What arrives of messages that are lost, doubled, swapped and late."""
    late: list[tuple[int, int]] = []
    arriving = []
    for place, number in enumerate(numbers):
        if random.random() < rates["lost"]:
            continue
        if random.random() < rates["late"]:
            late.append((place + random.randint(1, 30), number))
        else:
            arriving.append(number)
            if random.random() < rates["doubled"]:
                arriving.append(number)
        arriving += [kept for due, kept in late if due == place]
        if len(arriving) > 1 and random.random() < rates["swapped"]:
            arriving[-1], arriving[-2] = arriving[-2], arriving[-1]
    return arriving


seeds = st.integers(0, 2**32).map(Random)
rate = st.sampled_from([0, 0.02, 0.1, 0.4])
rates_of_faults = st.fixed_dictionaries(
    {"lost": rate, "late": rate, "doubled": rate, "swapped": rate}
)


@settings(max_examples=150, deadline=None)
@given(seeds, rates_of_faults, st.integers(0, 60), st.integers(1, 40))
def test_every_trade_is_recorded_or_in_a_gap_once(random, rates, gone, page):
    """`gone`: trades below this number are not to be had any more; `page`: rows in an answer."""
    made = list(range(1, 121))
    tracker = Numbered(TRADES, lambda row: row[1], last=0, last_ms=1)
    rows, gaps, now = [], [], 0

    def ask():
        wanted = tracker.wanted(now)
        if wanted is None:
            return
        if random.random() < 0.2:
            tracker.failed()
            return
        first, until = wanted
        have = [n for n in made if n >= max(first, gone) and (until is None or n <= until)][:page]
        more, missing = tracker.answered([trade(n) for n in have], now, full=len(have) == page)
        rows.extend(more)
        gaps.extend(missing)

    for number in deliver(made, random, rates):
        rows += tracker.take(trade(number), now)
        now += random.choice([0, GRACE_MS // 3, GRACE_MS])
        ask()
    tracker.suspect()
    for _ in range(600):
        now += GRACE_MS
        ask()
    recorded = [row[1] for row in rows]
    missing = [n for gap in gaps for n in range(gap.first, gap.last + 1)]
    assert recorded == sorted(set(recorded))
    assert sorted(recorded + missing) == list(range(1, max(recorded + missing, default=0) + 1))
    assert max(recorded + missing) == made[-1]
    assert all(n < gone for n in missing)


class Market:
    """A book that changes, and the differences that tell of it."""

    def __init__(self, random: Random, moves: int) -> None:
        book = Book([(90, 5)], [(110, 5)])
        self.states = {1: (dict(book.bids), dict(book.asks))}
        self.differences = []
        update = 1
        for move in range(moves):
            middle = 100 + random.randint(-3, 3)
            wanted = [
                {middle - random.randint(1, 8): random.randint(1, 9) for _ in range(3)},
                {middle + random.randint(1, 8): random.randint(1, 9) for _ in range(3)},
            ]
            changes = []
            for side, new in zip((book.bids, book.asks), wanted, strict=True):
                gone = [(price, 0) for price in side if price not in new]
                changes.append(gone + list(new.items()))
            first, update = update + 1, update + random.randint(1, 4)
            book.change(*changes)
            self.states[update] = (dict(book.bids), dict(book.asks))
            self.differences.append(Difference(1_000 + move, first, update, *changes))


@settings(max_examples=150, deadline=None)
@given(seeds, rates_of_faults, st.booleans())
def test_a_rebuilt_book_is_the_exchange_s_and_never_crossed(random, rates, crossing):
    market = Market(random, 80)
    builder = BookBuilder(DEPTH)
    rows, now = [], 5_000
    known = [1]
    for place in deliver(list(range(len(market.differences))), random, rates):
        difference = market.differences[place]
        known.append(difference.last)
        if crossing and random.random() < 0.1:
            bids, asks = difference.bids, difference.asks
            wrong = Difference(
                difference.time_ms, difference.first, difference.last, [*asks, (999, 1)], bids
            )
            rows += builder.take(wrong, now)[0]
        rows += builder.take(difference, now)[0]
        now += random.choice([0, 400, 1_100])
        if builder.wants_snapshot(now):
            if random.random() < 0.2:
                builder.failed()
            else:
                at = random.choice([max(known), max(known), min(known[-3:])])
                bids, asks = market.states[at]
                rows += builder.snapshot(at, list(bids.items()), list(asks.items()), now)[0]
        if builder.book is not None:
            assert not builder.book.crossed
            assert (builder.book.bids, builder.book.asks) == market.states[builder.last]
    rows += builder.checkpoint(now)
    if builder.book is not None:
        book, last, wrong = rebuild(rows)
        assert wrong == 0
        assert (book.bids, book.asks) == market.states[last] == market.states[builder.last]


def test_a_first_difference_that_begins_after_the_snapshot_asks_for_another_one():
    builder = BookBuilder(DEPTH)
    builder.take(Difference(1, 12, 14, [(90, 1)], []), 0)
    assert builder.wants_snapshot(0)
    assert not builder.wants_snapshot(0)
    assert builder.snapshot(10, [(90, 5)], [(110, 5)], 1) == ([], [])
    assert builder.wants_snapshot(2)
    rows, _ = builder.snapshot(13, [(90, 5)], [(110, 5)], 3)
    assert [row[3] for row in rows] == [Part.SNAPSHOT, Part.SNAPSHOT, Part.CHECKSUM, Part.CHANGE]
    assert builder.book.bids == {90: 1}


def test_a_lost_connection_is_a_gap_from_the_last_row_to_the_next():
    builder = BookBuilder(DEPTH)
    builder.take(Difference(1_000, 2, 2, [(90, 1)], []), 0)
    builder.snapshot(1, [(89, 5)], [(110, 5)], 500)
    builder.reset("connection lost")
    builder.take(Difference(8_000, 20, 20, [(90, 1)], []), 7_000)
    _, gaps = builder.snapshot(19, [(89, 5)], [(110, 5)], 9_000)
    assert [(gap.from_ms, gap.to_ms, gap.reason) for gap in gaps] == [
        (1_000, 9_000, "connection lost")
    ]


def test_a_wrong_checksum_is_found():
    builder = BookBuilder(DEPTH)
    builder.take(Difference(1, 2, 2, [(90, 1)], []), 0)
    rows, _ = builder.snapshot(2, [(90, 5)], [(110, 5)], 1)
    damaged = [(*row[:6], row[6] + (row[4] == Side.BID)) for row in rows]
    assert (rebuild(rows)[2], rebuild(damaged)[2]) == (0, 1)


def test_quotes_are_recorded_once_and_never_crossed():
    quotes = Quotes(QUOTES)
    good, crossed, later = (10, 5, 99, 1, 100, 1), (20, 6, 101, 1, 100, 1), (30, 7, 99, 1, 101, 1)
    assert quotes.take(good) == ([good], [])
    assert quotes.take(good) == ([], [])
    assert quotes.take(crossed) == ([], [])
    rows, gaps = quotes.take(later)
    assert rows == [later]
    assert [(gap.from_ms, gap.to_ms) for gap in gaps] == [(10, 30)]


def test_what_does_not_fit_into_the_queue_is_counted_and_told():
    inbox = Inbox(longest=2)
    key = ("BTCUSDT", "bookTicker")
    assert [inbox.put(key, number, 0) for number in range(4)] == [True, True, False, False]
    assert inbox.take(0) == ([(0, 0), (1, 0)], {key})
    assert inbox.dropped[key] == 2
    assert inbox.take(0) == ([], set())
