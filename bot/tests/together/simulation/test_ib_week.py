"""Grid and option watcher together at one Gateway over nights and a Sunday, and a naive client."""

import random
from datetime import UTC, datetime

from gridexchange.ib.account import AccountSettings
from gridexchange.ib.gateway import GatewaySettings
from gridexchange.ib.opening import MarketSettings, open_gateway
from gridexchange.ib.records import Stock

from . import clocks
from .ib.naive import NaiveClient
from .ib.week import Week

# Ten minutes before the close of a Friday, and a while after Monday's opening.
FRIDAY = round(datetime(2026, 9, 25, 19, 50, tzinfo=UTC).timestamp() * 1000)
SECONDS = 239_000.0


def test_over_a_weekend_both_keep_every_rule_and_say_what_they_do(tmp_path, monkeypatch):
    monkeypatch.setattr(clocks, "START_MS", FRIDAY)
    monkeypatch.setattr(random, "_urandom", random._urandom)  # a world seeds it
    weekend = Week(tmp_path, rests=60.0)
    weekend.pass_time(SECONDS)
    assert weekend.problems() == []
    assert weekend.gateway.rules.calls["snapshot"] > 100
    assert weekend.gateway.rules.calls["orders"] > 10
    assert (weekend.pacing / "counts").exists()
    assert {client for _, client, kind in weekend.arrived if kind == 1} == {7, 900}


def test_a_naive_client_is_throttled_and_overflows(tmp_path):
    time = clocks.WorldTime()
    gateway = open_gateway(
        GatewaySettings(AccountSettings(), Stock()), MarketSettings(), tmp_path, time
    )

    def step():
        time.after(1.0, step)
        gateway.advance()

    step()
    naive = NaiveClient(gateway, time)
    time.sleep(200.0)
    assert (naive.asked, naive.ended) == (40, 30)  # the fourth cycle is answered no more
    assert gateway.rules.broken["throttled"] == 1
    assert gateway.rules.broken["300 s between cycles"] == 3
    time.sleep(7000.0)
    assert gateway.rules.broken["100 lines"] > 0
    assert naive.closed
    assert [why for why in gateway.hang_ups if "buffer overflow" in why]
