"""When exactly positions leave the database, and which names it knows afterwards."""

import re

from gridbot.accounting.archive import ArchiveRules, Archivist

from .conftest import Life


def test_as_many_positions_as_allowed_stay(store):
    life = Life(store).swing(8)
    closed = life.engine.books.sells
    assert closed >= 20
    assert life.archive(ArchiveRules(positions=closed)) == 0
    # One more than allowed, and a tenth of what is allowed.
    assert life.archive(ArchiveRules(positions=closed - 1)) == 1 + (closed - 1) // 10


def test_a_grid_that_ended_stays_as_long_as_all_fit(store):
    first = Life(store).swing(1)
    store.close_grid_run(1, first.now_ms)
    second = Life(store, number=2, start_ms=first.now_ms).swing(2)
    ended, closed = first.engine.books.sells, second.engine.books.sells
    assert second.archive(ArchiveRules(positions=ended + closed)) == 0
    assert second.archive(ArchiveRules(positions=ended + closed - 1)) == ended


def test_a_batch_is_no_bound(store, monkeypatch):
    life = Life(store).swing(4)
    monkeypatch.setattr("gridbot.accounting.archive.BATCH", 3)
    closed = life.engine.books.sells
    assert life.archive(ArchiveRules(positions=closed - 7)) == 7 + (closed - 7) // 10
    archivist = Archivist(store, ArchiveRules(positions=1))
    left = closed - 7 - (closed - 7) // 10
    assert archivist.run(life.grid_run, life.engine, life.now_ms) == left - 1
    assert archivist.run(life.grid_run, life.engine, life.now_ms) == 0


def test_the_last_archived_number_of_a_place_is_known_and_the_next_is_not(store):
    life = Life(store).swing(5)
    life.liquidate()
    Life(store, number=2).archive(days_later=401)
    names = [order.client_id for changes in life.changes for order in changes.orders]
    last: dict[str, int] = {}
    for name in names:
        assert store.knows(name)
        place, attempt = re.fullmatch(r"(.+-\d*[a-z])(\d+)", name).groups()
        last[place] = max(int(attempt), last.get(place, 0))
    assert max(last.values()) >= 5
    last[names[0].rpartition("-")[0] + "-7b"] = 0  # there is no such line
    assert [place for place, attempt in last.items() if store.knows(f"{place}{attempt + 1}")] == []
