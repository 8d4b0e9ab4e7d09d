"""Asking for the rules of symbols: few questions, whatever their number."""

import json

import pytest
from gridbase.clock import SystemClock
from gridbase.errors import UserError
from gridbase.public_rest import ILLEGAL_CHARACTERS, INVALID_SYMBOL, Away
from recorder.config import Config, Market
from recorder.core.rows import Kind
from recorder.service import recorder as module

FILTERS = [
    {"filterType": "PRICE_FILTER", "tickSize": "0.01"},
    {"filterType": "LOT_SIZE", "stepSize": "0.001"},
]


def learn(
    monkeypatch, tmp_path, count: int, wrong: str = "", code: int = 0
) -> tuple[dict, list[int]]:
    """What is learnt of so many symbols, and how many each question named."""
    asked: list[int] = []

    class Exchange:
        def __init__(self, *_):
            pass

        def ask(self, _name, symbols):
            names = json.loads(symbols)
            asked.append(len(names))
            if wrong in names:
                raise Away("refused", code)
            return {"symbols": [{"symbol": each, "filters": FILTERS} for each in names]}

    monkeypatch.setattr(module, "Rest", Exchange)
    names = tuple(f"S{number}USDT" for number in range(count))
    market = Market("binanceus", names, (Kind.TRADES,), "http://rest.test", "ws://s.test", 600)
    recorder = module.Recorder(Config(tmp_path, (market,)), SystemClock())
    return recorder._learn(market), asked


def test_two_hundred_symbols_are_two_questions(monkeypatch, tmp_path):
    sizes, asked = learn(monkeypatch, tmp_path, 200)
    assert len(sizes) == 200
    assert asked == [100, 100]


@pytest.mark.parametrize("code", [INVALID_SYMBOL, ILLEGAL_CHARACTERS])
def test_the_one_that_is_not_known_is_named(monkeypatch, tmp_path, code):
    with pytest.raises(UserError, match=r"binanceus does not know S63USDT$"):
        learn(monkeypatch, tmp_path, 100, wrong="S63USDT", code=code)
