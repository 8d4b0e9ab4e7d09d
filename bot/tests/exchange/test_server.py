"""`gridexchange` as a process: settings, health, stop."""

import sqlite3
import stat

import pytest
import requests
from gridexchange.cli import main
from gridexchange.config import load_config
from gridexchange.server import market_label

from .conftest import KEY, SECRET


@pytest.fixture
def flags(tmp_path):
    for name, content in (("key", KEY), ("secret", SECRET)):
        path = tmp_path / name
        path.touch(mode=0o600)
        path.write_text(content)
    return {
        "--state-directory": str(tmp_path / "state"),
        "--api-key-file": str(tmp_path / "key"),
        "--api-secret-file": str(tmp_path / "secret"),
        "--port": "0",
    }


def refused(capsys, flags, config="", directory=None) -> str:
    """The one line that the command prints before it ends with status 2 (or 4)."""
    words = [word for pair in flags.items() for word in pair]
    if directory is not None:
        path = directory / "exchange.toml"
        path.write_text(config)
        words += ["--config", str(path)]
    status = main(words)
    assert status in (2, 4)
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ("sped = 60", "unknown setting sped; did you mean speed?"),
        ("port = 'http'", "port = 'http': needs a whole number from 0 to 65535"),
        ("port = '8000'", "port = '8000': needs a whole number from 0 to 65535"),
        ("port = true", "port = True: needs a whole number from 0 to 65535"),
        ("speed = 0", "speed = 0: needs a number from 0.001 to 100000"),
        ("speed = nan", "speed = nan: needs a number from 0.001 to 100000"),
        ("fee_rate = 0.001", "fee_rate = 0.001: needs quotes, as TOML numbers"),
        ("fee_rate = '1.5'", "fee_rate = '1.5': needs a share from"),
        ("fee_in = 'BNB'", "fee_in = 'BNB': needs received or quote"),
        ("tick_size = '0'", "tick_size = '0': needs an amount above 0"),
        ("lot_size = '1e-5'", "lot_size = '1e-5': needs an amount above 0 with at most 8 dec"),
        ("symbol = 'BTCUSDT'", "symbol = 'BTCUSDT': needs two different coins"),
        ("at_end = 'stop'", "at_end = 'stop': needs repeat or hold"),
        ("seed = -1", "seed = -1: needs a whole number from 0"),
        ("balances = 5", "balances = 5: needs a table of coins and amounts"),
        ("[balances]\nUSDT = 0.5", "USDT = 0.5: needs quotes"),
        ("[balances]\nusdt = '5'", "needs coins in capitals, not usdt"),
        ("min_quantity = '2'\nmax_quantity = '1'", "min_quantity = 2: needs at most max_quantity"),
        (
            "tick_size = '0.01'\nstart_price = '0.001'",
            "start_price = 0.001: needs at least tick_size = 0.01",
        ),
        ("live = 'kraken'", 'live = \'kraken\': needs "" or "binance" or "binanceus"'),
        ("live = 'binance'\nspeed = 60", "speed = 60: needs 1 with live = binance"),
        ("live = 'binance'\ncandles = 'c.csv'", "candles = c.csv: not allowed with live = binance"),
        ("live_rest = 'api.binance.com'", "live_rest = 'api.binance.com': needs https://HOST or"),
        ("live_streams = 'https://x'", "live_streams = 'https://x': needs wss://HOST or ws://HOST"),
        ("host = 5", "host = 5: needs text"),
        ("port = ", "is not TOML"),
        ("stream_port = 'x'", "stream_port = 'x': needs a whole number from 0 to 65535"),
        ("stream_connections = 0", "stream_connections = 0: needs a whole number from 1"),
        ("[faults]\nsede = 1", "unknown setting sede; known are seed, rules"),
        ("[[faults.rules]]\nkind = 'drops'", "rule 1: kind = 'drops': there is no such fault"),
    ],
)
def test_bad_settings_get_one_line(tmp_path, capsys, flags, config, line):
    if config.startswith("port"):
        del flags["--port"]
    found = refused(capsys, flags, config, tmp_path)
    assert line in found
    assert str(tmp_path / "exchange.toml") in found
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("flag", "value", "line"),
    [
        ("--port", "99999", "port = 99999: needs a whole number"),
        ("--speed", "fast", "speed = 'fast': needs a number"),
        ("--balance", "USDT", "balances = {'USDT': ''}: USDT = '': needs an amount"),
        ("--config", "/nowhere/x.toml", "/nowhere/x.toml: cannot be read: No such file"),
        ("--candles", "/nowhere/c.csv", "/nowhere/c.csv: cannot be read: No such file"),
        ("--api-key-file", "/nowhere/key", "api_key_file = /nowhere/key: No such file"),
        ("--state-directory", "/proc/nowhere", "state directory /proc/nowhere: cannot be used"),
        ("--host", "203.0.113.1", "host = 203.0.113.1, port = 0: cannot listen"),
    ],
)
def test_bad_flags_get_one_line(capsys, flags, flag, value, line):
    assert line in refused(capsys, flags | {flag: value})


def test_missing_setting(capsys, flags):
    del flags["--api-key-file"]
    assert "api_key_file is missing: set it in the file or give" in refused(capsys, flags)


def test_secret_that_others_can_read(tmp_path, capsys, flags):
    (tmp_path / "secret").chmod(0o640)
    found = refused(capsys, flags)
    assert "api_secret_file" in found
    assert "0640" in found
    assert SECRET not in found


def test_flags_win_over_the_file(tmp_path, flags):
    path = tmp_path / "exchange.toml"
    path.write_text('speed = 5\nseed = 3\nfee_rate = "0.002"\n[balances]\nUSDT = "7"\n')
    names = {name.removeprefix("--").replace("-", "_"): value for name, value in flags.items()}
    config = load_config(path, names | {"speed": "600"})
    assert (config.speed, config.seed, str(config.fee_rate)) == (600, 3, "0.002")
    assert config.balances == {"USDT": 7}
    assert config.min_quantity == config.lot_size


def test_live_prices_go_at_the_speed_of_time(flags):
    names = {name.removeprefix("--").replace("-", "_"): value for name, value in flags.items()}
    config = load_config(None, names | {"live": "binanceus"})
    assert config.speed == 1
    assert config.live_addresses == ("https://api.binance.us", "wss://stream.binance.us:9443")
    config = load_config(None, names | {"live": "binance", "live_rest": "http://127.0.0.1:8000/"})
    assert config.live_addresses == ("http://127.0.0.1:8000", "wss://stream.binance.com:9443")
    assert market_label(config) == "live prices of binance"


def test_books_of_a_market_made_up_by_older_rules_are_told_that_it_starts_anew(
    make_server, tmp_path
):
    server = make_server("--speed", "0.001")
    order = {"side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": "49000"}
    assert server.request("POST", "order", symbol="BTCUSDT", quantity="0.01", **order)[0] == 200
    assert server.stop() == 0
    # As books of version 1 were, thirty days into their market.
    with sqlite3.connect(tmp_path / "state" / "exchange.sqlite3") as books:
        for name, value in (
            ("market_fingerprint", "synthetic-1 7 50000 0.01"),
            ("position", 172_800),
        ):
            change = "UPDATE facts SET value = ? WHERE name = ?"
            assert books.execute(change, (value, f"{name} BTC/USDT")).rowcount == 1
    books.close()
    server.start()
    told = (
        "WARNING BTC/USDT: this version makes up prices by other rules (synthetic-2 instead of"
        " synthetic-1), so the market starts anew at 50000; balances and orders stay"
    )
    assert server.text.count(told) == 1
    (order,) = server.request("GET", "openOrders", symbol="BTCUSDT")[1]
    assert order["price"] == "49000.00000000"
    ticker = requests.get(f"{server.url}/api/v3/ticker/price?symbol=BTCUSDT", timeout=30)
    assert ticker.json()["price"] == "50000.00000000"
    assert server.stop() == 0
    server.start()
    assert server.text.count("starts anew") == 1


def test_stops_in_an_orderly_way_and_goes_on_where_it_was(make_server, tmp_path):
    server = make_server("--speed", "600")
    health = requests.get(f"{server.url}/gridberry/health", timeout=30)
    assert health.headers["X-Gridberry-Market"] == "synthetic seed=7 speed=600"
    assert health.json()["market"] == "synthetic seed=7 speed=600"
    assert "market: synthetic seed=7 speed=600" in server.text
    status, order = server.request(
        "POST", "order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01"
    )
    assert status == 200
    assert server.stop() == 0
    assert "stopped" in server.text
    server.start()
    _, trades = server.request("GET", "myTrades", symbol="BTCUSDT")
    assert [trade["price"] for trade in trades] == [order["fills"][0]["price"]]
    for secret in (KEY, SECRET):
        assert secret not in server.text
    # The books are the account's: nobody else on the machine need read or write them.
    mode = stat.S_IMODE((tmp_path / "state" / "exchange.sqlite3").stat().st_mode)
    assert not mode & 0o022
