"""A few kills; `bot/benchmarks/hub_kills.py` has hundreds."""

import pytest

from bot.tests.together.hub.killing import Killing
from tests.trixie_root import MachineMissingError


def test_nothing_is_lost_or_doubled(tmp_path):
    try:
        counts = Killing(tmp_path, seed=3, kills=2).run()
    except MachineMissingError as error:
        pytest.skip(f"TimescaleDB: {error}")
    assert counts["trades"] > 0
