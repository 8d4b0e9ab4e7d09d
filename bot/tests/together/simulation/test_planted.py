"""The harness is a check only if it can fail: with a bug planted in the bot, it does."""

from dataclasses import replace
from decimal import Decimal

import pytest
from gridbot.exchanges.binance.symbol import BinanceBroker
from gridbot.exchanges.port import BrokerError, Failure
from gridbot.store import Store
from gridbot.trading import reconciliation, start_grid
from gridbot.trading.account_guard import AccountGuard
from gridbot.trading.session import Session

from .test_fault_world import tell


def complain(seeds, *wanted):
    """Whether stories find all that is wanted; none is told after that."""
    found = ""
    for seed in range(0, seeds, 4):
        results = tell(range(seed, min(seed + 4, seeds)))
        found += " ".join(str(result["problems"]) for result in results)
        if all(words in found for words in wanted):
            return True
    return False


def test_an_order_sent_again_without_asking_is_found(monkeypatch):
    def never_there(_broker, client_id):
        raise BrokerError(Failure.NOT_FOUND, f"{client_id} is unknown")

    monkeypatch.setattr(BinanceBroker, "find", never_there)
    monkeypatch.setattr(BinanceBroker, "receive_window_ms", -1000)
    assert complain(40, "used twice")


def test_a_fee_that_is_misread_is_found(monkeypatch):
    read = reconciliation.fill_of

    def without_fee(trade, client_id):
        return replace(read(trade, client_id), commission=Decimal(0))

    monkeypatch.setattr(reconciliation, "fill_of", without_fee)
    assert complain(4, "fee 0 ", "balance")


def test_a_trade_that_is_never_read_is_found(monkeypatch):
    rules = reconciliation.Reconciler
    monkeypatch.setattr(rules, "_hear", lambda _self, _engine: False)
    monkeypatch.setattr(rules, "_complete", lambda *_arguments: None)
    monkeypatch.setattr(rules, "_is_booked", lambda _self, number: number % 2 == 0)
    assert complain(4, "did not settle")


def test_an_intent_that_is_committed_too_late_is_found(monkeypatch):
    commit = Store.commit
    kept = []

    def late(store, *arguments):
        kept.append(arguments)
        if len(kept) > 1:
            commit(store, *kept.pop(0))

    monkeypatch.setattr(Store, "commit", late)
    assert complain(4, "left before its intent was committed")


def test_an_error_that_the_bot_outlives_is_found(monkeypatch):
    whole, calls = reconciliation.Reconciler.follow, []

    def follow(reconciler, engine):
        calls.append(engine)
        if len(calls) == 5:
            raise TypeError
        return whole(reconciler, engine)

    monkeypatch.setattr(reconciliation.Reconciler, "follow", follow)
    assert complain(6, "unexpected TypeError at test_planted.py")


def test_a_purchase_outside_the_range_that_nobody_has_confirmed_is_found(monkeypatch):
    monkeypatch.setattr(start_grid, "wait_for_range", lambda *_arguments: None)
    results = tell((49, 81, 145, 184))  # the first plan is within the range, a later one is not
    found = " ".join(str(result["problems"]) for result in results)
    assert "outside the range" in found
    assert "confirmed: 500" in found


def test_an_order_that_a_paused_grid_sends_is_found(monkeypatch):
    monkeypatch.setattr(Session, "may_send", lambda *_arguments: True)
    assert complain(40, "told the grid to stand still")


def test_a_buy_after_the_verdict_of_the_judge_is_found(monkeypatch):
    monkeypatch.setattr(AccountGuard, "hold", lambda _guard: "")
    assert complain(60, "though the judge is silent", "though the judge has ended")


def test_a_verdict_that_is_not_carried_out_is_found(monkeypatch):
    monkeypatch.setattr(AccountGuard, "enforce", lambda *_arguments: None)
    assert complain(60, "the judge has ended the account's grids, and one runs")


@pytest.fixture(autouse=True)
def _no_log(caplog):
    caplog.set_level("CRITICAL")
