"""When exactly positions are settled, and which names it knows afterwards."""

import re

from gridbot.accounting.settle import Settler

from .conftest import Life


def test_as_many_positions_as_allowed_stay(store):
    life = Life(store).swing(8)
    closed = life.engine.books.sells
    assert closed >= 20
    assert life.settle(closed) == 0
    # One more than allowed, and a tenth of what is allowed.
    assert life.settle(closed - 1) == 1 + (closed - 1) // 10


def test_a_grid_that_ended_is_settled_first_and_as_a_whole(store):
    first = Life(store).swing(1)
    store.close_grid_run(1, first.now_ms)
    second = Life(store, number=2, start_ms=first.now_ms).swing(2)
    ended, closed = first.engine.books.sells, second.engine.books.sells
    assert second.settle(closed) == ended
    assert second.settle(closed - 1) == 1


def test_one_that_settled_a_grid_settles_its_end_and_the_next_grid(store):
    first = Life(store).swing(2)
    closed = first.engine.books.sells
    settler = Settler(store, 1)
    assert settler.run(first.grid_run, first.engine) == closed - 1
    store.close_grid_run(1, first.now_ms)
    second = Life(store, number=2, start_ms=first.now_ms).swing(1)
    steps = [settler.run(second.grid_run, second.engine) for _ in range(3)]
    assert steps == [1, second.engine.books.sells - 1, 0]


def test_a_step_settles_a_batch(store, monkeypatch):
    monkeypatch.setattr("gridbot.accounting.settle.BATCH", 3)
    first = Life(store).swing(2)
    ended = first.engine.books.sells
    store.close_grid_run(1, first.now_ms)
    life = Life(store, number=2, start_ms=first.now_ms).swing(4)
    closed = life.engine.books.sells
    settler = Settler(store, closed - 7)
    steps = [settler.run(life.grid_run, life.engine) for _ in range(12)]
    batches = [3] * (ended // 3) + [ended % 3]
    assert steps[: len(batches)] == batches
    assert steps[len(batches) :][:4] == [3, 3, 1 + (closed - 7) // 10, 0]


def test_the_last_settled_number_of_a_place_is_known_and_the_next_is_not(store):
    life = Life(store).swing(5)
    life.liquidate()
    Life(store, number=2).settle()
    names = [order.client_id for changes in life.changes for order in changes.orders]
    last: dict[str, int] = {}
    for name in names:
        assert store.knows(name)
        place, attempt = re.fullmatch(r"(.+-\d*[a-z])(\d+)", name).groups()
        last[place] = max(int(attempt), last.get(place, 0))
    assert max(last.values()) >= 5
    last[names[0].rpartition("-")[0] + "-7b"] = 0  # there is no such line
    assert [place for place, attempt in last.items() if store.knows(f"{place}{attempt + 1}")] == []
