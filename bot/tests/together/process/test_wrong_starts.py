"""Starts that would go wrong, on a real exchange: one line, at once, and nothing is spent."""

import os
import re
import socket
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import pytest
from gridbase.clock import SystemClock
from gridbot.config.load import load_config
from gridbot.exchanges.open_account import open_account

from .conftest import SOURCE, Bench, gridbot, wait_for

# Markets that stand at 50,000, each with one rule of its own.
RULES = {
    "BTC/USDT": {},
    "BAND/USDT": {"price_band": '{ask_up = "1.05", bid_down = "0.95"}'},
    "WIDE/USDT": {"price_band": '{ask_up = "100"}'},
    "FEW/USDT": {"max_orders": 10},
    "COARSE/USDT": {"lot_size": '"0.0001"'},
    "SMALL/USDT": {"max_quantity": '"0.001"'},
    "STEPS/USDT": {"tick_size": '"500"'},
    "DEAR/USDT": {"min_notional": '"1000"'},
}
FREE = "20000"
# Live mode allows no address but the real exchange's: a test says "live" behind the settings' back.
LIVE = """
import dataclasses, sys
from gridbot import cli
from gridbot.commands import check, run
def live(path, load=check.load_config):
    config = load(path)
    account = dataclasses.replace(config.account, mode="live")
    return dataclasses.replace(config, account=account)
check.load_config = run.load_config = live
sys.exit(cli.main(sys.argv[1:]))
"""
MAY_WITHDRAW = (
    r"exchange\.api_key_file = \S+: this API key may withdraw \(enableWithdrawals = true\); "
    r"make a key that cannot withdraw, and use that$"
)
OUTSIDE = {
    "price below the range": (
        {"lower": '"90000"', "upper": '"110000"'},
        (
            r"the price [0-9.]+ is outside the range grid\.lower = 90000 to grid\.upper = 110000: "
            r"the grid would buy 0\.1\d+ BTC for \d+\.?\d* USDT at once; "
            r'.* allow it with grid\.outside_range_purchase = "90\d0"$'
        ),
    ),
    "above": (
        {"lower": '"20000"', "upper": '"30000"'},
        r"grid\.upper = 30000: the grid would buy nothing .* grid\.outside_range_purchase = \"0\"$",
    ),
    "too little confirmed": (
        {"lower": '"90000"', "upper": '"110000"\noutside_range_purchase = "100"'},
        r"at once, more than grid\.outside_range_purchase = 100; move the range",
    ),
}
REFUSED = {
    "a coin that the exchange does not have": (
        {"symbol": '"NOPE/USDT"'},
        r'market\.symbol = "NOPE/USDT" is not traded on',
    ),
    "a budget below the smallest": (
        {"symbol": '"DEAR/USDT"'},
        r"grid\.investment = 9000 is too small .*; the smallest investment that is allowed is \d+",
    ),
    "losing pairs": (
        {"symbol": '"COARSE/USDT"', "investment": '"500"'},
        r"20 of 20 pairs show no profit .*, or allow it with grid\.allow_losing_pairs = true$",
    ),
    "band of sells": (
        {"symbol": '"BAND/USDT"', "lower": '"48000"'},
        r"grid\.upper = 53000 is outside the exchange's price band: .* sell only at or below",
    ),
    "band of buys": (
        {"symbol": '"BAND/USDT"', "upper": '"52000"'},
        r"grid\.lower = 47000 is outside the exchange's price band: .* buy only at or above",
    ),
    "highest price": (
        {"symbol": '"WIDE/USDT"', "upper": '"1000001"'},
        r"grid\.upper = 1000001 is above the highest price that .*: use 1000000 or less$",
    ),
    "lowest price": (
        {"symbol": '"STEPS/USDT"', "lower": '"1"'},
        r"grid\.lower = 1 rounds to a price of 0 at the tick size 500",
    ),
    "more orders than the exchange takes": (
        {"symbol": '"FEW/USDT"'},
        r"grid\.grids = 20 .*; use at most 10 grids$",
    ),
    "too close": ({"grids": 400}, r"grid\.grids = 400 .* use at most \d+ grids in this range$"),
    "one tick": ({"symbol": '"STEPS/USDT"'}, r"puts two lines on the same price"),
    "largest order": (
        {"symbol": '"SMALL/USDT"'},
        r"grid\.investment = 9000 makes orders .* above the exchange's maximum of 0\.001;",
    ),
}
POOR = ({"investment": '"30000"'}, r"grid\.investment.* 30000 USDT.* 20000.* free; deposit more")


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """One exchange for all of them: none of them changes anything there."""
    bench = Bench(tmp_path_factory.mktemp("market"))
    start_market(bench)
    yield bench
    bench.close()


@pytest.fixture(scope="module")
def withdrawing(tmp_path_factory):
    """The same exchange, whose key may withdraw."""
    bench = Bench(tmp_path_factory.mktemp("withdrawing"))
    start_market(bench, "withdrawals = true")
    yield bench
    bench.close()


def start_market(bench, *settings):
    config = bench.directory / "exchange.toml"
    tables = [
        "\n".join(
            [
                f'[[symbols]]\nsymbol = "{symbol}"\nstart_price = "50000"',
                *(f"{name} = {value}" for name, value in rules.items()),
            ]
        )
        for symbol, rules in RULES.items()
    ]
    lines = [*settings, f'[balances]\nUSDT = "{FREE}"', *tables]
    config.write_text("\n".join(lines) + "\n")
    bench.start_exchange("--config", config)


@pytest.fixture
def wrong(market):
    """Write a configuration; when the test is over, nothing may have been spent or ordered."""

    def write(changes: dict[str, object]) -> str:
        market.write_config(**changes)
        return str(changes.get("symbol", '"BTC/USDT"')).strip('"')

    yield write
    nothing_spent(market)


def nothing_spent(market):
    market.write_config()
    account = open_account(load_config(market.config).account, SystemClock())
    broker = account.broker("BTC/USDT")
    broker.connect()
    spent = {coin: amount for coin, amount in broker.balances().items() if amount}
    orders = broker.open_orders()
    account.close()
    assert spent == {"USDT": Decimal(FREE)}
    assert orders == []


def documented() -> dict[str, str]:
    """What docs/wrong-starts.md says the bot prints, by case."""
    text = (Path(__file__).parents[4] / "docs/wrong-starts.md").read_text()
    part = text.partition("## What the bot refuses\n")[2]
    return dict(re.findall(r"^\| (.+?) \| `(.+)` \|$", part, re.MULTILINE))


def as_documented(case: str, said: str) -> bool:
    """Whether it is what the document says, where it says something of this case."""
    wanted = documented().get(case, "...")
    return re.fullmatch(".*".join(map(re.escape, wanted.split("..."))), said) is not None


def test_the_document_has_no_other_case():
    assert len(documented()) == 6
    assert set(documented()) < {
        *OUTSIDE,
        *REFUSED,
        "an account with too little money",
        "a key that may withdraw",
    }


def one_line(result, symbol: str) -> str:
    """What a command says that refuses."""
    assert result.returncode == 2, result.stdout + result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    begins, _, said = result.stderr.strip().partition(": ")
    assert begins == "gridbot check"
    assert said.startswith(f"{symbol}: ")
    return said


@pytest.mark.parametrize(
    ("changes", "said"),
    [*OUTSIDE.values(), *REFUSED.values(), POOR],
    ids=[*OUTSIDE, *REFUSED, "an account with too little money"],
)
def test_check_says_why_in_one_line(market, wrong, request, changes, said):
    symbol = wrong(changes)
    begun = time.monotonic()
    result = gridbot("check", "--config", market.config)
    print(f"{time.monotonic() - begun:.1f} s")
    line = one_line(result, symbol)
    assert re.search(said, line)
    assert as_documented(request.node.callspec.id, line)


@pytest.mark.parametrize(("changes", "said"), REFUSED.values(), ids=REFUSED)
def test_the_bot_ends_with_the_same_line(market, wrong, changes, said):
    symbol = wrong(changes)
    result = gridbot("run", "--config", market.config)
    assert result.returncode == 2, result.stderr
    last = result.stderr.splitlines()[-1]
    assert last == f"gridbot run: {symbol}: " + last.partition(f"{symbol}: ")[2]
    assert "Traceback" not in result.stderr
    assert re.search(said, last)


@pytest.mark.parametrize(
    ("changes", "said"),
    [*OUTSIDE.values(), POOR],
    ids=[*OUTSIDE, "an account with too little money"],
)
def test_the_bot_waits_for_what_may_pass(market, wrong, changes, said):
    wrong(changes)
    bot = market.start_bot()
    try:
        status = wait_for(lambda: market.status().get("state") == "waiting" and market.status())
    finally:
        assert market.stop(bot) == 0
    assert status["reason"].startswith("BTC/USDT: ")
    assert status["orders"] == []
    assert re.search(said, status["reason"])


def live(command: str, market: Bench) -> subprocess.CompletedProcess:
    """A command in live mode, on this exchange."""
    return subprocess.run(
        [sys.executable, "-c", LIVE, command, "--config", str(market.config)],
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_key_that_may_withdraw_is_refused_by_check(withdrawing):
    withdrawing.write_config()
    assert gridbot("check", "--config", withdrawing.config).returncode == 0  # play money
    begun = time.monotonic()
    result = live("check", withdrawing)
    print(f"{time.monotonic() - begun:.1f} s")
    line = one_line(result, "BTC/USDT")
    assert re.search(MAY_WITHDRAW, line)
    assert as_documented("a key that may withdraw", line)
    nothing_spent(withdrawing)


def test_a_key_that_may_withdraw_ends_the_bot_before_it_trades(withdrawing):
    withdrawing.write_config()
    result = live("run", withdrawing)
    assert result.returncode == 2, result.stderr
    assert re.search(MAY_WITHDRAW, result.stderr.splitlines()[-1])
    assert "Traceback" not in result.stderr
    nothing_spent(withdrawing)


def test_a_key_that_cannot_withdraw_is_good(market):
    market.write_config()
    assert live("check", market).returncode == 0


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("api_key_file", r"does not accept the API key of exchange\.api_key_file = "),
        ("api_secret_file", r"exchange\.api_secret_file = "),
    ],
)
def test_a_wrong_key_or_secret_is_refused_in_one_line(market, setting, said):
    (market.directory / "other").touch(mode=0o600)
    (market.directory / "other").write_text("another")
    market.write_config(**{setting: f'"{market.directory}/other"'})
    begun = time.monotonic()
    result = gridbot("check", "--config", market.config)
    print(f"{time.monotonic() - begun:.1f} s")
    assert result.returncode != 0
    assert result.stderr.count("\n") == 1
    assert re.search(said, result.stderr)
    assert "another" not in result.stderr
    nothing_spent(market)


def test_a_page_port_that_is_taken_is_refused(market):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        market.write_config(port=port)
        result = gridbot("run", "--config", market.config)
    assert result.returncode == 2, result.stderr
    last = result.stderr.splitlines()[-1]
    assert re.search(rf"page\.port = {port}: the page cannot be served there: Address alr", last)
    nothing_spent(market)
