"""`./gridberry try --live-prices`: an exchange that answers, one that does not, and its books."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from gridbase.errors import UserError

from fleet import live_price, try_market, try_out
from fleet.live_price import live_price as ask_price

from .test_try_out import trial

BALANCES = {"USDT": "1000"}


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A practice exchange that plays the real one: the options that name it."""
    place = tmp_path / "upstream"
    place.mkdir()
    settings: dict[str, object] = {"symbol": "ETH/USDT", "speed": 1, "start_price": "2718.28"}
    ports = {"port": try_out.free_port(), "stream_port": try_out.free_port()}
    for name in ("api_key", "api_secret"):
        (place / name).touch(mode=0o600)
        (place / name).write_text("x" * 64)
        settings[f"{name}_file"] = os.fspath(place / name)
    settings |= {"state_directory": os.fspath(place / "books"), **ports}
    (place / "books").mkdir(mode=0o700)
    text = try_out.toml({"": settings, "balances": dict(BALANCES)})
    (place / "exchange.toml").write_text(text)
    words = ("gridexchange", "--config", os.fspath(place / "exchange.toml"))
    program = try_out.Program("the stand-in", place / "log", *words)
    try:
        ready = "/api/v3/ping"
        try_out.wait_for([program], "it", lambda: try_out.ask(ports["port"], ready) is not None)
        yield {
            "--live-rest": f"http://127.0.0.1:{ports['port']}",
            "--live-streams": f"ws://127.0.0.1:{ports['stream_port']}",
        }
    finally:
        program.stop()


def words_of(upstream: dict[str, str], *more: str) -> list[str]:
    """The command line that follows it."""
    given = [word for pair in upstream.items() for word in pair]
    return ["--live-prices", "--symbol", "ETH/USDT", *given, *more]


def test_a_grid_stands_around_the_price_and_stays_with_its_books(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, upstream: dict[str, str]
) -> None:
    monkeypatch.setenv("GRIDBERRY_STATE", str(tmp_path))
    options = try_out.arguments_of(words_of(upstream, "--exchange", "binanceus"))
    market = try_market.live_market(options)
    assert market.name == "ETH-USDT-binanceus"
    assert market.prices == "live prices of binanceus"
    assert Decimal(market.grid["lower"]) < Decimal("2718.28") < Decimal(market.grid["upper"])
    place = tmp_path / "try" / market.name
    place.mkdir(parents=True)
    try_out.write_settings(place, market, {"exchange": 1, "streams": 2, "page": 3}, 60)
    exchange = (place / "exchange.toml").read_text()
    assert 'live = "binanceus"' in exchange
    assert upstream["--live-streams"] in exchange
    assert "speed" not in exchange
    assert "start_price" not in exchange
    assert 'name = "binanceus"' in (place / "bot.toml").read_text()
    # The price moves; the grid of the books does not.
    monkeypatch.setattr(try_market, "live_price", lambda *_: Decimal(4000))
    assert try_market.live_market(options).grid["lower"] == market.grid["lower"]


def test_it_trades_at_the_prices_of_the_other_exchange(
    tmp_path: Path, upstream: dict[str, str]
) -> None:
    words = words_of(upstream)
    with trial(tmp_path, *words) as one:
        said = one.until("orders are on the exchange")
        assert "ETH/USDT on live prices of binance: 40 grids from" in said
        [grid] = one.status()["grids"]
        assert (grid["market"], grid["prices"]) == ("live prices of binance", "live-on-paper")
        assert abs(Decimal(grid["price"]) - Decimal("2718.28")) < 100
        # A range elsewhere needs to be confirmed, as on the exchange itself.
        config = tmp_path / "try/ETH-USDT-binance/bot.toml"
        elsewhere = re.sub(r'(?m)^lower = ".*"', 'lower = "5000"', config.read_text())
        elsewhere = re.sub(r'(?m)^upper = ".*"', 'upper = "6000"', elsewhere)
        elsewhere = elsewhere.replace('bot_name = "try"', 'bot_name = "other"')
        (tmp_path / "elsewhere.toml").write_text(elsewhere)
        checked = subprocess.run(
            [sys.executable, "-m", "gridbot", "check", "--config", tmp_path / "elsewhere.toml"],
            check=False,
            capture_output=True,
            text=True,
        )
        assert checked.returncode == 2, checked.stdout
        assert "is outside the range grid.lower = 5000 to grid.upper = 6000" in checked.stderr
        lines = grid["lines"]
    with trial(tmp_path, *words) as two:
        two.until("orders are on the exchange")
        assert [line["price"] for line in two.status()["grids"][0]["lines"]] == [
            line["price"] for line in lines
        ]


def test_a_coin_that_it_does_not_list_is_named(upstream: dict[str, str]) -> None:
    with pytest.raises(UserError, match=r"^binance does not list SOL/USDT; use another --symbol$"):
        ask_price("binance", "SOL/USDT", upstream["--live-rest"])


def test_one_that_cannot_be_reached_is_one_line_and_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRIDBERRY_STATE", str(tmp_path))
    nowhere = f"http://127.0.0.1:{try_out.free_port()}"
    assert try_out.main(["--live-prices", "--live-rest", nowhere]) == 1
    said = capsys.readouterr()
    assert not said.out
    assert said.err == (
        "gridberry: --live-prices: binance cannot be reached: [Errno 111] Connection refused;"
        " without this option prices are made up\n"
    )
    assert not (tmp_path / "try").exists()


def test_one_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_price, "PATIENCE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UserError, match="binance cannot be reached: "):
            ask_price("binance", "BTC/USDT", where)
