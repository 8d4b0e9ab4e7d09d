"""The Gateway's limits on a clock that a test moves: never broken, and used to the full."""

import itertools
import random

import pytest
from gridbase.gateway.limits import HISTORY, MESSAGE, Pacer, history

# As published, apart from the code.
TEN_MINUTES, SAME, TWO_SECONDS = 600.0, 15.0, 2.0


def within(times, seconds):
    """The most that happened in any window so long."""
    return max(
        sum(weight for at, weight in times if start <= at < start + seconds) for start, _ in times
    )


def leave(pacer, request, now):
    pause = pacer.pause(request, now)
    if pause == 0:
        pacer.add(request, now)
    return pause


@pytest.mark.parametrize("seed", range(5))
def test_no_rule_is_broken_however_much_is_wanted(seed):
    pick = random.Random(seed)  # noqa: S311  wishes, no secrets
    pacer, now, sent = Pacer(), 1000.0, []
    while len(sent) < 300:
        contract, request = pick.choice("AB"), str(pick.randrange(6))
        what = pick.choice(("TRADES", "TRADES", "BID_ASK"))
        pause = leave(pacer, history(contract, request, what), now)
        if pause == 0:
            sent.append((now, contract, request, what))
            now += pick.choice((0.0, 0.05, 0.5))
        else:
            now += pick.uniform(0.2, 1.0) * pause + 0.001
    assert within([(at, 2 if what == "BID_ASK" else 1) for at, *_, what in sent], TEN_MINUTES) <= 60
    for key in {(contract, what) for _, contract, _, what in sent}:
        times = [(at, 1) for at, contract, _, what in sent if (contract, what) == key]
        assert within(times, TWO_SECONDS) < 6
    for key in {row[1:3] for row in sent}:
        times = [row[0] for row in sent if row[1:3] == key]
        assert all(later - at >= SAME for at, later in itertools.pairwise(times))


def test_what_is_allowed_is_not_held_up():
    pacer = Pacer()
    for number in range(HISTORY.most):
        assert leave(pacer, history("A", str(number), "TRADES"), number * 3.0) == 0
    assert leave(pacer, history("A", "x", "TRADES"), 200.0) == pytest.approx(HISTORY.seconds - 200)
    assert leave(pacer, history("A", "x", "TRADES"), HISTORY.seconds) == 0


def test_a_request_that_was_refused_does_not_count():
    pacer = Pacer()
    assert leave(pacer, history("A", "1", "TRADES"), 0.0) == 0
    for _ in range(100):
        assert leave(pacer, history("A", "1", "TRADES"), 1.0) > 0
    assert leave(pacer, history("A", "2", "TRADES"), 1.0) == 0


def test_messages():
    pacer = Pacer()
    assert [leave(pacer, MESSAGE, 5.0) > 0 for _ in range(60)].count(False) == 45
    assert leave(pacer, MESSAGE, 6.2) == 0
