"""All trades of a grid by pages: each once, whether it is settled or not, and no page is a scan."""

import pytest
from gridbot.accounting.trade_history import latest, page, place_of, text_of
from gridbot.store import settled

from .conftest import Life


def pages(life, count):
    """All pages, each place as text in between, as over the API."""
    found, after = [], None
    while True:
        rows, last = page(life.store, life.grid_run, count, after)
        found.append(rows)
        if last is None:
            return found
        after = place_of(text_of(last))
        assert after == last


@pytest.fixture
def life(store):
    made = Life(store).swing(12)
    assert len(made.fills) > 50
    return made


@pytest.mark.parametrize("kept", [1000, 7, 0])
@pytest.mark.parametrize("count", [1, 7, 10_000])
def test_every_trade_is_on_one_page_and_earns_what_it_earned(life, kept, count):
    newest = latest(life.store, life.grid_run, 10_000)
    life.settle(kept)
    found = pages(life, count)
    assert [len(one) for one in found[:-1]] == [count] * (len(found) - 1)
    rows = [row for one in found for row in one]
    assert sorted(row.fill.trade_id for row in rows) == sorted(fill.trade_id for fill in life.fills)
    by_id = {row.fill.trade_id: row for row in newest}
    assert {row.fill.trade_id: row for row in rows} == by_id
    left = [row.fill.trade_id for row in latest(life.store, life.grid_run, 10_000)]
    assert [row.fill.trade_id for row in rows][: len(left)] == left


def test_what_is_settled_between_two_pages_is_not_lost(life):
    first, last = page(life.store, life.grid_run, 5)
    life.settle(1)
    seen = {row.fill.trade_id for row in first}
    while last is not None:
        rows, last = page(life.store, life.grid_run, 5, last)
        seen |= {row.fill.trade_id for row in rows}
    assert seen == {fill.trade_id for fill in life.fills}


def test_a_page_reads_one_row_more_than_it_gives(life, monkeypatch):
    life.settle(3)
    left = len(latest(life.store, life.grid_run, 10_000))
    asked = []

    def counted(read):
        def reading(connection, grid_run, count, before):
            asked.append(count)
            return read(connection, grid_run, count, before)

        return reading

    for name in ("latest", "older"):
        monkeypatch.setattr(settled, name, counted(getattr(settled, name)))
    assert len(page(life.store, life.grid_run, left + 5)[0]) == left + 5
    assert asked == [left + 6, 6]
    assert len(page(life.store, life.grid_run, left - 1)[0]) == left - 1
    assert asked[2:] == [left]


@pytest.mark.parametrize("kept", [1000, 3])
def test_nothing_follows_a_page_with_all_of_the_rest(life, kept):
    life.settle(kept)
    rows, last = page(life.store, life.grid_run, len(life.fills))
    assert (len(rows), last) == (len(life.fills), None)
    assert page(life.store, life.grid_run, len(life.fills) - 1)[1] is not None


def test_another_grids_trades_are_not_among_them(life):
    life.settle(0)
    other = life.grid_run.id + 1
    with life.store.transaction("DEFERRED") as connection:
        assert settled.older(connection, other, 10, 2**62) == []


def test_a_page_of_what_is_settled_sorts_and_scans_nothing(life):
    with life.store.transaction("DEFERRED") as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {settled._OLDER}", (1, 2**62, 50)).fetchall()
    (step,) = [row[3] for row in plan]
    assert "settled_by_generation (generation=? AND rowid<?)" in step


@pytest.mark.parametrize(
    "text", ["", "s", "s-1", "1", "x-1", "1-", "s" + "9" * 30, "1-" + "a" * 99]
)
def test_what_is_no_place_is_none(text):
    assert place_of(text) is None
