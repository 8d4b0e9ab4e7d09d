"""The broker's addresses and its reading of failures; what it does is tested in tests/trading."""

import copy
from pathlib import Path

import pytest
from gridbot.binance_account import BinanceAccount
from gridbot.binance_answers import failure_kind
from gridbot.broker import Failure
from gridbot.clock import SystemClock
from gridbot.config import LIVE_CONFIRMATION, parse_config

PAPER = {
    "bot_name": "pi1",
    "exchange": {
        "name": "binance",
        "url": "http://exchange:8000",
        "api_key_file": "/run/secrets/key",
        "api_secret_file": "/run/secrets/secret",
    },
    "market": {"symbol": "BTC/USDT"},
    "grid": {"lower": "45000", "upper": "65000", "grids": 5, "investment": "10000"},
}


def account(document):
    config = parse_config(document, Path("bot.toml"))
    return BinanceAccount(config, "key", "secret", clock=SystemClock())


@pytest.mark.parametrize("name", ["binance", "binanceus"])
def test_a_paper_bot_knows_one_address(name):
    document = copy.deepcopy(PAPER)
    document["exchange"]["name"] = name
    client = account(document).rest._client
    assert client.id == name
    assert set(client.urls["api"].values()) == {"http://exchange:8000/api/v3"}


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("binance", "https://api.binance.com/api/v3"),
        ("binanceus", "https://api.binance.us/api/v3"),
    ],
)
def test_a_live_bot_talks_to_the_exchange_itself(name, address):
    document = copy.deepcopy(PAPER) | {"mode": "live", "live_confirmation": LIVE_CONFIRMATION}
    document["exchange"]["name"] = name
    del document["exchange"]["url"]
    assert account(document).address == address


@pytest.mark.parametrize(
    ("status", "code", "text", "kind"),
    [
        (400, -2013, "Order does not exist.", Failure.NOT_FOUND),
        (400, -2011, "Unknown order sent.", Failure.NOT_FOUND),
        (401, -2015, "Invalid API-key, IP, or permissions for action.", Failure.AUTH),
        (400, -2014, "API-key format invalid.", Failure.AUTH),
        (400, -1022, "Signature for this request is not valid.", Failure.AUTH),
        (400, -1021, "Timestamp is outside of the recvWindow.", Failure.CLOCK),
        (429, -1003, "Too much request weight used.", Failure.RATE_LIMITED),
        (418, -1003, "Way too much request weight used; banned.", Failure.RATE_LIMITED),
        (429, -1015, "Too many new orders.", Failure.RATE_LIMITED),
        (403, None, "HTTP 403 Forbidden", Failure.RATE_LIMITED),
        (400, -2010, "Account has insufficient balance.", Failure.REJECTED),
        (400, -2010, "Duplicate order sent.", Failure.AMBIGUOUS),
        (400, -1013, "Filter failure: LOT_SIZE", Failure.REJECTED),
        (400, -1007, "Timeout waiting for response from backend server.", Failure.AMBIGUOUS),
        (503, -1008, "Server is currently overloaded.", Failure.AMBIGUOUS),
        (500, None, "HTTP 500", Failure.AMBIGUOUS),
        (200, None, "HTTP 200 OK", Failure.AMBIGUOUS),
        (404, None, "HTTP 404 Not Found", Failure.UNREACHABLE),
    ],
)
def test_every_failure_has_one_kind(status, code, text, kind):
    assert failure_kind(status, code, text) is kind
