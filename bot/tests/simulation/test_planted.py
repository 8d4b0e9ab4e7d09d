"""The harness is a check only if it can fail: with a bug planted in the bot, it does."""

import pytest
from gridbot.binance_broker import BinanceBroker
from gridbot.broker import BrokerError, Failure
from gridbot.store import Store

from .test_fault_world import tell


def complaints(seeds):
    return " ".join(str(result["problems"]) for result in tell(range(seeds)))


def test_an_order_sent_again_without_asking_is_found(monkeypatch):
    def never_there(_broker, client_id):
        raise BrokerError(Failure.NOT_FOUND, f"{client_id} is unknown")

    monkeypatch.setattr(BinanceBroker, "find", never_there)
    monkeypatch.setattr(BinanceBroker, "receive_window_ms", -1000)
    assert "used twice" in complaints(40)


def test_a_trade_that_is_not_read_is_found(monkeypatch):
    read = BinanceBroker.trades_from
    monkeypatch.setattr(
        BinanceBroker, "trades_from", lambda broker, number: read(broker, number)[1:]
    )
    assert "did not settle" in complaints(4)


def test_an_intent_that_is_committed_too_late_is_found(monkeypatch):
    commit = Store.commit
    kept = []

    def late(store, *arguments):
        kept.append(arguments)
        if len(kept) > 1:
            commit(store, *kept.pop(0))

    monkeypatch.setattr(Store, "commit", late)
    assert "left before its intent was committed" in complaints(4)


@pytest.fixture(autouse=True)
def _no_log(caplog):
    caplog.set_level("CRITICAL")
