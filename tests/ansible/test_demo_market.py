"""What the demo trades on recorded candles: a fitting grid, and a bot that trades it."""

import dataclasses
import json
import math
import os
import random
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from gridbase.candles.reader import open_candles
from gridbase.errors import UserError

from bot.tests.together.process.conftest import Bench, gridbot, wait_for
from inventory.demo_market import demo_grid, demo_settings, demo_symbol

from .test_configurations import ROOT, play, write_inventory

MINUTES = 5000


def write_candles(path: Path, start: str, decimals: int, seed: int) -> Path:
    """Candles that swing by 5 % around a price, with noise."""
    dice = random.Random(seed)  # noqa: S311 - a market, no secret
    rows = ["timestamp,open,high,low,close,volume"]
    last = Decimal(start)
    for minute in range(MINUTES):
        share = 1 + 0.05 * math.sin(minute / 40) + dice.gauss(0, 0.003)
        price = round(Decimal(start) * Decimal(share), decimals)
        low, high = sorted((last, price))
        time = 1_704_067_200_000 + 60_000 * minute
        rows.append(f"{time},{last:f},{high:f},{low:f},{price:f},{dice.randint(1, 99)}")
        last = price
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize(
    ("name", "wanted", "symbol"),
    [
        ("SOLUSDT-1m-2024-01.csv", "", "SOL/USDT"),
        ("SOLUSDT-1m-2024-01-31.zip", "", "SOL/USDT"),
        ("1000SATSFDUSD-15m-2024-01.zip", "", "1000SATS/FDUSD"),
        ("ETHBTC-1h-2024-01.csv", "", "ETH/BTC"),
        ("SOLUSDT-1m-2024-01.csv", "ETH/EUR", "ETH/EUR"),
        ("btc-usd-perp-1m-2022-01.csv", "", "BTC/USDT"),
        ("mine.csv", "", "BTC/USDT"),
    ],
)
def test_a_dump_is_named_after_its_symbol(name, wanted, symbol):
    assert demo_symbol(name, wanted) == symbol


@pytest.mark.parametrize(
    ("price", "lower", "upper", "grids"),
    [
        ("46319", "42000", "50000", "40"),
        ("46000", "42000", "50000", "40"),
        ("105000", "96000", "114000", "40"),
        ("2700", "2470", "2930", "40"),
        ("101.72", "93", "111", "40"),
        ("0.00001", "0.0000091", "0.0000109", "40"),
        ("0.000001", "0.00000091", "0.00000109", "18"),
        ("0.0000002", "0.00000018", "0.00000022", "4"),
    ],
)
def test_the_grid_is_around_the_first_price(price, lower, upper, grids):
    found = demo_grid(Decimal(price))
    assert found["grid_bot_lower"] == lower
    assert found["grid_bot_upper"] == upper
    assert found["grid_bot_grids"] == grids


def test_a_price_of_one_step_has_no_grid():
    with pytest.raises(UserError, match=r"0\.00000001, where a grid finds no room"):
        demo_grid(Decimal("0.00000001"))


@pytest.mark.parametrize("wrong", [False, True])
def test_the_virtual_pis_get_what_fits_the_candles(tmp_path, wrong):
    file = write_candles(tmp_path / "SOLUSDT-1m-2024-01.csv", "100", 2, seed=1)
    if wrong:
        file.write_text("no candles")
    answer = subprocess.run(
        [sys.executable, ROOT / "inventory/virtual/machines.py"],
        env=os.environ | {"GRIDBERRY_STATE": str(tmp_path), "GRIDBERRY_CANDLES": str(file)},
        capture_output=True,
        text=True,
        check=True,
    )
    fitting = {
        "grid_bot_symbol": "SOL/USDT",
        "grid_bot_lower": "91",
        "grid_bot_upper": "109",
        "grid_bot_grids": "40",
    }
    assert json.loads(answer.stdout)["trading"]["vars"] == ({} if wrong else fitting)


def markets(directory: Path) -> dict[str, Path]:
    """Candles of BTC (recorded, where they lie beside the checkout), SOL and a tiny coin."""
    recorded = sorted((ROOT.parent / "shared" / "data").glob("*.csv"))
    return {
        "btc": recorded[0] if recorded else write_candles(directory / "b.csv", "46319.0", 1, 1),
        "sol": write_candles(directory / "SOLUSDT-1m-2024-01.csv", "101.72", 2, seed=2),
        "tiny": write_candles(directory / "PEPEUSDT-1m-2024-01.csv", "0.00001", 8, seed=3),
    }


def traded(status: dict) -> dict | None:
    """The status once orders of both sides have filled."""
    return status if status.get("buys") and status.get("sells") else None


@dataclasses.dataclass
class Ready:
    """What bot and exchange of each market would get on a Pi."""

    files: dict[str, Path]
    texts: dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    directory = tmp_path_factory.mktemp("demo")
    files = markets(directory)
    cache = {"grid_bot_cache": str(directory / "cache")}
    hosts = {
        name: demo_settings(file, "") | cache | {"grid_bot_candles": str(file)}
        for name, file in files.items()
    }
    result = play(directory, write_inventory(directory, hosts))
    assert result.returncode == 0, result.stdout
    texts = {name: json.loads((directory / f"{name}.json").read_text()) for name in files}
    return Ready(files, texts)


@pytest.mark.parametrize(
    ("name", "symbol"), [("btc", "BTC/USDT"), ("sol", "SOL/USDT"), ("tiny", "PEPE/USDT")]
)
def test_the_demo_trades_recorded_candles_of_any_price(ready, tmp_path, name, symbol):
    bench = Bench(tmp_path)
    try:
        bot, exchange = ready.texts[name]["bot"], ready.texts[name]["exchange"]
        for there, here in (
            ("http://exchange:8000", f"http://127.0.0.1:{bench.exchange_port}"),
            ("ws://exchange:8001", f"ws://127.0.0.1:{bench.stream_port}"),
            ("/run/secrets/api_", f"{tmp_path}/"),
            ("/run/secrets/metrics_token", f"{tmp_path}/key"),
            ("/var/lib/gridbot", f"{tmp_path}/bot"),
            ("port = 8080", f"port = {bench.page_port}"),
            ('poll_seconds = "2"', 'poll_seconds = "0.2"'),
        ):
            assert there in bot
            bot = bot.replace(there, here)
        bench.config.write_text(bot)
        (tmp_path / "exchange.toml").write_text(exchange)
        # Flags win over the file: places on this machine, and an hour of the market in a second.
        settings = ("--config", tmp_path / "exchange.toml", "--candles", ready.files[name])
        bench.start_exchange(*settings, "--host", "127.0.0.1", "--speed", "3600")
        bench.start_bot()
        status = wait_for(lambda: traded(bench.status()))
        assert status["state"] == "trading"
        assert status["symbol"] == symbol
        assert status["market"].startswith("recorded ")
        assert len(status["lines"]) == 41
        assert status["open_orders"] >= 35
        first = next(iter(open_candles(ready.files[name]))).open
        middle = sum(Decimal(status["lines"][end]["price"]) for end in (0, -1)) / 2
        assert abs(middle / (Decimal(first) / 10**8) - 1) < Decimal("0.02")
        audit = gridbot("audit", "--config", bench.config)
        assert audit.returncode == 0, audit.stdout + audit.stderr
    finally:
        bench.close()
