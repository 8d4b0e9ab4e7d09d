"""Settings of a grid on a stock: what is refused, in one line."""

from pathlib import Path

import pytest
from gridbase.errors import UserError
from gridbot.config.load import parse_config

EXCHANGE = {"name": "ib", "gateway": "127.0.0.1:4002", "account": "DU1234567"}
DOCUMENT = {
    "bot_name": "pi1",
    "exchange": EXCHANGE,
    "market": {"symbol": "SPY/USD"},
    "grid": {"lower": "480", "upper": "520", "grids": 8, "quantity": "5"},
    "fees": {"in": "quote"},
}


def parse(**changes):
    document = DOCUMENT | changes
    return parse_config(document, Path("bot.toml"))


def test_a_paper_account_needs_no_key_and_no_address_of_a_practice_exchange():
    gateway = parse(exchange=EXCHANGE | {"restart": "04:45"}).account.exchange.gateway
    assert (gateway.host, gateway.port, gateway.client_id) == ("127.0.0.1", 4002, 1)
    assert gateway.restart == 4 * 60 + 45
    gateway = parse(exchange=EXCHANGE | {"gateway": "/run/api"}).account.exchange.gateway
    assert (gateway.socket, gateway.address) == ("/run/api", "/run/api")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"exchange": {"name": "ib", "account": "DU1234567"}}, "exchange.gateway is missing"),
        ({"exchange": {"name": "ib", "gateway": "127.0.0.1:4002"}}, "exchange.account is missing"),
        ({"exchange": EXCHANGE | {"gateway": "127.0.0.1"}}, "needs host and port"),
        ({"exchange": EXCHANGE | {"account": "du1"}}, "needs a name such as DU1234567"),
        ({"exchange": EXCHANGE | {"restart": "25:00"}}, "needs a time of the day"),
        ({"exchange": EXCHANGE | {"pacing_directory": "run"}}, "needs an absolute path"),
        ({"exchange": EXCHANGE | {"testnet": True}}, "use a paper account"),
        ({"exchange": EXCHANGE | {"api_key_file": "/run/key"}}, "must be left out"),
        ({"exchange": {**EXCHANGE, "name": "binance"}}, "api_key_file is missing"),
        ({"fees": {}}, 'fees.in = "received" needs to be "quote"'),
        ({"grid": DOCUMENT["grid"] | {"post_only": True}}, "grid.post_only = true is not offered"),
        ({"grid": DOCUMENT["grid"] | {"quantity": "1.5"}}, "needs whole shares"),
        ({"grid": {"range": "atr", "grids": 8, "quantity": "5"}}, 'grid.range = "atr" is not'),
        ({"trend": {"enabled": True}}, "trend.enabled = true is not offered"),
        ({"mode": "live"}, "also needs live_confirmation"),
    ],
)
def test_what_is_refused(changes, line):
    with pytest.raises(UserError, match=line):
        parse(**changes)


def test_a_gateway_is_for_interactive_brokers_alone():
    keys = {"api_key_file": "/run/key", "api_secret_file": "/run/secret"}
    exchange = {"name": "binance", "url": "http://exchange:8000", "client_id": 3, **keys}
    with pytest.raises(UserError, match=r"exchange\.client_id is for exchange\.name = \"ib\""):
        parse(exchange=exchange)
