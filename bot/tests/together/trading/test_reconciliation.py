"""When books count as up to date."""

from types import SimpleNamespace

import pytest
from gridbot.trading.reconciliation import CURRENT_SECONDS, Reconciler


@pytest.mark.parametrize(
    ("gap", "streaming", "asked", "current"),
    [
        (False, True, 10 * CURRENT_SECONDS, True),  # the stream would have told
        (False, False, CURRENT_SECONDS, True),
        (False, False, CURRENT_SECONDS + 0.001, False),
        (True, True, 0.0, False),  # what it told has a hole
        (True, False, 0.0, False),
    ],
)
def test_books_are_current_as_far_as_the_exchange_tells(gap, streaming, asked, current):
    session = SimpleNamespace(
        account=SimpleNamespace(bot_name="pi1"),
        config=SimpleNamespace(base="BTC", quote="USDT"),
        clock=SimpleNamespace(monotonic=lambda: 1000.0 + asked),
        broker=SimpleNamespace(streaming=streaming),
    )
    assert Reconciler(session, 1000.0, gap).current is current
