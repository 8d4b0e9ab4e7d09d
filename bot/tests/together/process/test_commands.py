"""Every mistake a user can make at the command line: one line, exit status, nothing done."""

import subprocess
import sys

import pytest
from gridbot import cli
from gridbot.cli import COMMANDS

from .conftest import SOURCE, free_port, gridbot, wait_for


def one_line(result, code):
    """The one line of a failed command."""
    assert result.returncode == code, result.stdout + result.stderr
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    return result.stderr.strip()


@pytest.mark.parametrize("command", ["run", "check", "audit", "close"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lowr": '"1"', "poll_seconds": '"1"'}, "loop.lowr is not a known setting"),
        ({"grids": '"20"'}, 'grid.grids = "20" needs a whole number'),
        ({"lower": "47000.5"}, "needs quotes to be exact"),
        ({"lower": '"54000"'}, "grid.lower = 54000 must be below grid.upper = 53000"),
        ({"mode": '"live"'}, "must be left out in live mode"),
    ],
)
def test_a_wrong_setting_is_one_line(bench, command, change, message):
    bench.write_config(**change)
    assert message in one_line(gridbot(command, "--config", bench.config), 2)
    assert list((bench.directory / "bot").iterdir()) == []


def test_a_missing_file_is_one_line(bench):
    line = one_line(gridbot("run", "--config", bench.directory / "none.toml"), 2)
    assert line.endswith("none.toml: No such file or directory")


def test_a_readable_secret_is_one_line(bench):
    (bench.directory / "secret").chmod(0o644)
    line = one_line(gridbot("run", "--config", bench.config), 2)
    assert "has mode 0644" in line


def test_an_unreachable_exchange_is_one_line(bench):
    line = one_line(gridbot("check", "--config", bench.config), 3)
    assert f"http://127.0.0.1:{bench.exchange_port}" in line
    assert line.endswith("cannot be reached: Connection refused")


def test_an_unknown_host_is_one_line(bench):
    bench.write_config(url='"http://exchange.invalid:8000"')
    assert "cannot be reached" in one_line(gridbot("check", "--config", bench.config), 3)


def test_a_wrong_key_is_one_line(bench):
    bench.start_exchange()
    (bench.directory / "key").write_text("another-key")
    line = one_line(gridbot("check", "--config", bench.config), 3)
    assert "does not accept the API key of exchange.api_key_file" in line
    assert "another-key" not in line


def test_a_missing_state_directory_is_one_line(bench):
    bench.start_exchange()
    bench.write_config(directory='"/nowhere/at/all"')
    assert "create it" in one_line(gridbot("run", "--config", bench.config), 4)
    assert "create it" in one_line(gridbot("audit", "--config", bench.config), 4)


def test_a_page_port_in_use_is_one_line(bench):
    bench.start_exchange()
    bench.write_config(port=bench.exchange_port)
    line = one_line(gridbot("run", "--config", bench.config), 2)
    assert f"page.port = {bench.exchange_port}" in line


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("192.0.2.7", "Cannot assign requested address"),
        ("no-such-host.invalid", "this name is not known"),
    ],
)
def test_a_page_host_that_is_not_here_is_one_line(bench, host, reason):
    bench.start_exchange()
    bench.write_config(host=f'"{host}"')
    line = one_line(gridbot("run", "--config", bench.config), 2)
    assert f"page.host = {host}, page.port = {bench.page_port}: " in line
    assert line.endswith(reason)


@pytest.mark.parametrize("arguments", [["foo"], ["check"], [], ["tax", "--config", "x", "-y"]])
def test_wrong_usage_is_one_line(arguments):
    line = one_line(gridbot(*arguments), 2)
    assert line.startswith("gridbot")
    assert line.endswith("--help")


def test_health_of_nobody_is_one_line():
    line = one_line(gridbot("health", "--url", f"http://127.0.0.1:{free_port()}/health"), 1)
    assert "Connection refused" in line


def test_the_plan_is_shown_without_an_exchange(bench):
    shown = gridbot("check", "--config", bench.config, "--offline")
    assert shown.returncode == 0
    assert "10 buys, 10 sells" in shown.stdout
    (bench.directory / "key").unlink()
    assert gridbot("check", "--config", bench.config, "--offline", "--json").returncode == 0


def test_settings_of_the_archive_that_is_gone_are_refused_offline_as_well(bench, capsys):
    bench.config.write_text(bench.config.read_text() + '[archive]\nformat = "csv"\n')
    assert cli.main(["check", "--offline", "--config", str(bench.config)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    known = "known are account_guard, alerts, exchange, fees, "
    assert f"archive is not a known section; {known}" in said.err


def test_a_plan_that_can_not_pay_is_refused(bench):
    bench.write_config(grids=400)
    line = one_line(gridbot("check", "--config", bench.config, "--offline"), 2)
    assert "use at most" in line


def test_an_investment_above_the_account_is_refused(bench):
    bench.start_exchange("--balance", "USDT=100")
    checked = gridbot("check", "--config", bench.config)
    assert checked.returncode == 2
    assert "is more than the 100 USDT that the account has free" in checked.stderr


def test_every_command_documents_its_exit_status():
    for command, _, _ in COMMANDS:
        shown = gridbot(command, "--help")
        assert shown.returncode == 0, command
        assert "exit status:" in shown.stdout
    assert gridbot().returncode == 2
    assert gridbot("version").stdout.startswith("gridbot ")


def imported(code):
    """Modules loaded after some code has run in a process of its own."""
    command = f"{code}\nimport sys; print(*sys.modules, sep='\\n')"
    result = subprocess.run(
        [sys.executable, "-c", command],
        env={"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(result.stdout.split())


def test_the_bot_imports_one_exchange_and_no_numpy():
    modules = imported(
        "from gridbot.commands import run\n"
        "from gridbase.ccxt_package import exchange_class\n"
        "exchange_class('binanceus')"
    )
    assert {"ccxt.binance", "ccxt.binanceus"} <= modules
    exchanges = {name for name in modules if name.startswith("ccxt.")}
    unwanted = {"ccxt.kraken", "ccxt.async_support", "ccxt.pro", "numpy", "aiohttp", "asyncio"}
    assert not unwanted & modules
    assert len(exchanges) < 20


def test_health_imports_nothing_heavy():
    modules = imported(
        "from gridbot.cli import main\n"
        "import contextlib\n"
        "main(['health', '--url', 'http://127.0.0.1:9/health'])"
    )
    unwanted = {"ccxt", "requests", "sqlite3", "h11", "waitress", "decimal", "tomllib"}
    assert not (unwanted | {"http.client", "email", "ssl", "json"}) & modules


def test_check_compares_with_the_grid_that_runs(bench):
    state = ("--state", bench.directory / "bot")
    offline = ("check", "--offline", "--config", bench.config)
    assert gridbot(*offline, *state).returncode == 0  # no grid runs yet
    bench.start_exchange()
    bot = bench.start_bot()
    wait_for(lambda: bench.status().get("state") == "trading")
    bench.write_config(poll_seconds='"1"')
    assert gridbot(*offline, *state).returncode == 0
    assert gridbot(*offline, "--state", "bot", cwd=bench.directory).returncode == 0
    bench.write_config(lower='"46000"')
    assert "grid.lower = 46000 differs from 47000" in one_line(gridbot(*offline, *state), 1)
    bench.write_config(symbol='"ETH/USDT"')
    assert "the running grid of BTC/USDT is left out" in one_line(gridbot(*offline, *state), 1)
    bench.write_config()
    bench.stop(bot)
    assert gridbot("close", "--config", bench.config).returncode == 0
    bench.write_config(lower='"46000"', symbol='"ETH/USDT"')
    assert gridbot(*offline, *state).returncode == 0
    assert "create it" in one_line(gridbot(*offline, "--state", "/nowhere/at/all"), 4)
