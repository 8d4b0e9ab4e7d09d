"""The audit compares every order and trade, whether the database or the archive holds it."""

from dataclasses import replace

import pytest
from gridbot.accounting import audit
from gridbot.accounting.archive import ArchiveRules, Archivist
from gridbot.commands.run import archiving
from gridbot.service.grid_worker import GridWorker

from bot.tests.together.trading import conftest as trading


@pytest.fixture
def world(tmp_path):
    one = trading.World(tmp_path, trading.zigzag(120), at_end="hold")
    yield one
    one.close()


def trade(world, rules):
    """A bot that archives after every step until the market's end; all it has traded."""
    trader = world.trader()
    archivist, moved = Archivist(world.store, rules), 0
    for _ in range(60):
        trader.step()
        moved += archivist.run(trader.grid_run, trader.engine, world.clock.now_ms())
        world.clock.sleep(2.0)
    world.clock.sleep(10_000)
    world.settle(trader)
    return trader, moved


def test_the_archive_is_audited_as_well(world):
    trader, moved = trade(world, ArchiveRules(positions=3))
    books = trader.engine.books
    assert moved > 10
    report = world.audit()
    assert report.differences == []
    assert report.trades == books.buys + books.sells + 1
    path = next((world.directory / "bot" / "archive").iterdir())
    assert path.read_text().count("\n") == 1 + 2 * moved - initial_sells(path)


def initial_sells(path):
    """Positions of which the buy is the initial purchase, which is not archived yet."""
    rows = path.read_text().splitlines()[1:]
    pairs = [row.split(",")[1] for row in rows]
    return sum(pairs.count(pair) == 1 for pair in set(pairs))


def test_a_grid_goes_on_from_its_archive(world):
    trader, _ = trade(world, ArchiveRules(positions=3))
    before = trader.engine
    again = world.trader()
    again.step()
    assert again.engine.live == before.live
    for name in ("flows", "fees", "fees_in_quote", "grid_profit", "buys", "sells", "legs"):
        assert getattr(again.engine.books, name) == getattr(before.books, name), name
    trading.check_books(world, again)
    assert world.audit().differences == []


def settled(world):
    """A bot on a market that stands still, with everything booked."""
    trader = world.trader()
    for _ in range(20):
        trader.step()
        world.clock.sleep(2.0)
    world.clock.sleep(10_000)
    world.settle(trader)
    return trader


def test_what_happens_after_the_look_is_no_difference(world, monkeypatch):
    trader = world.trader()
    for _ in range(20):
        trader.step()
        world.clock.sleep(2.0)
    look, seen = audit.take_snapshot, []

    def looked(*arguments):
        seen.append(look(*arguments))
        world.clock.sleep(120.0)
        world.settle(trader)
        return seen[0]

    monkeypatch.setattr(audit, "take_snapshot", looked)
    world.settle(trader)
    report = world.audit()
    fills = world.store.fills(1)
    assert len(fills) > report.trades == len(seen[0].trades)
    assert len(world.store.orders(1)) > len(seen[0].orders)
    assert report.differences == []
    assert report.trade == seen[0].cursor == max(seen[0].trades, key=int)


AN_ORDER = """
INSERT INTO orders SELECT ?, generation, leg, role, side, line, 99, price, quantity, 'open',
    exchange_id || '0', created_ms, updated_ms FROM orders LIMIT 1
"""
A_TRADE = """
INSERT INTO fills SELECT generation, ?, client_id, price, quantity, quote, commission,
    commission_coin, time_ms, maker FROM fills LIMIT 1
"""


@pytest.mark.parametrize(
    ("statement", "kind", "identity"),
    [
        (AN_ORDER, "order", "pi1-none"),
        # Below and above all that the exchange has, and no number at all.
        *((A_TRADE, "trade", identity) for identity in ("0", "999999", "0000e0d5.01")),
    ],
)
def test_what_only_the_books_have_is_a_difference(world, statement, kind, identity):
    settled(world)
    assert world.audit().differences == []
    with world.store.transaction() as connection:
        connection.execute(statement, (identity,))
    found = [(item.what, item.exchange) for item in world.audit().differences]
    assert (f"{kind} {identity}", f"no such {kind}") in found


def test_what_only_the_exchange_has_is_a_difference(world):
    settled(world)
    gone = world.store.fills(1)[-1]
    with world.store.transaction() as connection:
        connection.execute("DELETE FROM fills WHERE trade_id = ?", (gone.trade_id,))
    found = [(item.what, item.books) for item in world.audit().differences]
    assert (f"trade {gone.trade_id}", "no such trade") in found


def test_a_grid_trades_on_without_its_archive_and_says_so(world):
    config, store = world.config, world.open_store()
    archive = archiving(replace(config.archive, positions=3), world.clock)
    worker = GridWorker(config.account, world.grid, world.broker(), world.clock, archive)

    def run(steps):
        reasons = set()
        for _ in range(steps):
            world.clock.sleep(worker.step(lambda: store))
            reasons |= {worker.reason} | set(worker.troubles())
        return reasons, int(worker.trader.session.store.fills(1)[-1].trade_id)

    _, before = run(40)
    path = next((world.directory / "bot" / "archive").iterdir())
    whole = path.read_bytes()
    path.unlink()
    reasons, without = run(20)
    assert any(f"{path.name} has 0 bytes, and" in reason for reason in reasons)
    assert without > before
    path.write_bytes(whole)
    run(20)
    assert (worker.state, worker.troubles()) == ("trading", [])
    assert path.read_bytes().startswith(whole)
    world.clock.sleep(10_000)
    world.settle(world.trader())
    assert world.audit().differences == []
