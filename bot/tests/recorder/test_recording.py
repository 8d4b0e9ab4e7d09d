"""The recorder beside a practice exchange with faults, in one process."""

import itertools

import pytest
from recorder.core.book import Book
from recorder.core.rows import Kind, Part, Side, Stream
from recorder.files.catalog import Catalog
from recorder.files.parquet import groups

from bot.tests.recorder.world import EVENT_FAULTS, World, fingerprint


def rows_of(world: World, kind: Kind, symbol: str) -> list[tuple[int, ...]]:
    catalog = Catalog(world.directory / "data", read_only=True)
    found = []
    for entry in catalog.files(Stream("binance", kind, symbol)):
        for batch in groups(world.directory / "data/ready" / entry.path):
            found += list(zip(*(column.to_pylist() for column in batch.columns), strict=True))
    return found


def gaps_of(world: World, kind: Kind, symbol: str):
    return Catalog(world.directory / "data", read_only=True).gaps(Stream("binance", kind, symbol))


def check_trades(world: World, symbol: str) -> None:
    """Every trade since the first one is in the files or in the gap table, once."""
    numbers = [row[1] for row in rows_of(world, Kind.TRADES, symbol)]
    gaps = gaps_of(world, Kind.TRADES, symbol)
    missing = [n for gap in gaps for n in range(gap.first, gap.last + 1)]
    both = sorted(numbers + missing)
    assert both == list(range(min(both), world.made(symbol) + 1))
    assert numbers == sorted(numbers)


def check_books(world: World, symbol: str) -> int:
    """Each rebuilt book is what the exchange's was; how many rows were read."""
    book, read, collecting = None, 0, ([], [])
    rows = rows_of(world, Kind.DEPTH, symbol)
    for update, group in itertools.groupby(rows, key=lambda row: row[2]):
        for *_, part, side, price, quantity in group:
            if part == Part.CHECKSUM:
                book, collecting = Book(*collecting), ([], [])
                assert book.checksum() == quantity
            elif part == Part.SNAPSHOT:
                collecting[side].append((price, quantity))
                continue
            elif side != Side.NONE:
                level = [(price, quantity)]
                book.change(level if side == Side.BID else [], level if side == Side.ASK else [])
            read += 1
        # The book as it was after all rows of the update.
        check_books.seen[symbol, update] = fingerprint(book.bids, book.asks)
    return read


@pytest.fixture
def seen():
    check_books.seen = {}
    return check_books.seen


def check_all(world: World, seen) -> None:
    for symbol in world.sizes:
        check_trades(world, symbol)
        assert check_books(world, symbol) > 100
    assert all(world.books[key] == book for key, book in seen.items())
    assert len(seen) > 200


def test_what_is_recorded_is_what_was_served(tmp_path, seen):
    world = World(tmp_path)
    world.run(40)
    world.close()
    check_all(world, seen)
    for symbol in world.sizes:
        assert not Catalog(tmp_path / "data", read_only=True).gaps()
        assert all(row[2] < row[4] for row in rows_of(world, Kind.QUOTES, symbol))
        times = [row[0] for row in rows_of(world, Kind.CANDLES, symbol)]
        assert len(times) > 30
        assert {b - a for a, b in itertools.pairwise(times)} == {60_000}


@pytest.mark.parametrize("seed", range(1))
def test_with_all_faults_nothing_is_lost_unnoticed_and_nothing_twice(tmp_path, seen, seed):
    faults = {f"{kind}_event": 0.02 for kind in EVENT_FAULTS} | {
        "drop": 0.001,
        "error_before": 0.05,
        "lost_answer": 0.05,
    }
    world = World(tmp_path, faults=faults, seed=seed)
    world.run(120)
    world.settle()
    world.close()
    struck = world.api.faults.struck
    assert all(struck[kind] for kind in faults if kind != "drop"), struck
    check_all(world, seen)


def test_a_kill_loses_nothing_that_the_exchange_still_has(tmp_path, seen):
    world = World(tmp_path)
    world.run(20)
    world.kill()
    world.run_without = world.clock.pass_ms(5_000)
    world.open()
    world.run(30)
    world.settle()
    world.close()
    check_all(world, seen)
    for symbol in world.sizes:
        assert not gaps_of(world, Kind.TRADES, symbol)
        [gap] = gaps_of(world, Kind.DEPTH, symbol)
        assert 5_000 <= gap.to_ms - gap.from_ms <= 8_000
        [gap] = gaps_of(world, Kind.QUOTES, symbol)
        assert gap.reason == "the recorder was not running"


def test_trades_that_the_exchange_has_forgotten_are_a_gap(tmp_path):
    world = World(tmp_path, symbols=1, kinds=(Kind.TRADES,))
    world.run(20)
    last = world.made("BTCUSDT")
    world.kill()
    world.clock.pass_ms(60_000)
    world.exchange.advance()
    world.wire.forget = world.made("BTCUSDT") - 5
    world.open()
    world.run(10)
    world.settle()
    world.close()
    check_trades(world, "BTCUSDT")
    [gap] = gaps_of(world, Kind.TRADES, "BTCUSDT")
    assert last - 64 < gap.first <= last + 1
    assert gap.last == world.wire.forget - 1
    assert gap.reason == "the exchange does not have them any more"


def test_a_connection_is_replaced_before_its_end_without_a_gap(tmp_path, seen):
    world = World(tmp_path, longest_s=10)
    world.run(45)
    world.close()
    assert len(world.wire.sockets) >= 3
    check_all(world, seen)
    assert not Catalog(tmp_path / "data", read_only=True).gaps()
    assert any(symbol.trades.duplicates for symbol in world.session.symbols.values())


def test_a_connection_that_breaks_again_and_again_is_back_within_moments(tmp_path, seen):
    world = World(tmp_path)
    world.run(10)
    for _ in range(8):
        world.group._lines[0].link.cut("broken")
        world.run(8)
    world.close()
    check_all(world, seen)
    for symbol in world.sizes:
        gaps = gaps_of(world, Kind.DEPTH, symbol)
        assert len(gaps) == 8
        assert max(gap.to_ms - gap.from_ms for gap in gaps) <= 1_500


def test_messages_that_do_not_fit_become_gaps(tmp_path, seen):
    world = World(tmp_path)
    world.run(10)
    world.inbox._longest = 3
    world.run(5)
    world.inbox._longest = 10_000
    world.run(10)
    world.settle()
    world.close()
    assert sum(world.inbox.dropped.values()) > 10
    check_all(world, seen)
    for symbol in world.sizes:
        assert {gap.reason for gap in gaps_of(world, Kind.QUOTES, symbol)} == {"the queue was full"}
