"""A bot in a container: to the Gateway's port through a socket, by the proxy that the host runs."""

import contextlib
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from gridbot.cli import main
from gridexchange.ib.account import AccountSettings
from gridexchange.ib.gateway import GatewaySettings
from gridexchange.ib.opening import MarketSettings, open_gateway
from gridexchange.ib.records import Stock

from bot.tests.exchange.ib.conftest import GatewayClock, serving

from .test_beside import CONFIG

PROXY = Path("/usr/lib/systemd/systemd-socket-proxyd")
CHECK = ("check", "--price", "500", "--config")


@contextlib.contextmanager
def proxy(path, port):
    """What role ib_gateway runs, without its units."""
    listening = ["systemd-socket-activate", "-l", str(path), str(PROXY), f"127.0.0.1:{port}"]
    process = subprocess.Popen(listening, stderr=subprocess.DEVNULL)
    try:
        while not path.exists():
            assert process.poll() is None
            time.sleep(0.01)
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(
    not (PROXY.exists() and shutil.which("systemd-socket-activate")),
    reason="systemd is not installed (Debian's package systemd)",
)
def test_the_bot_reaches_the_gateway_through_a_socket(tmp_path, capsys):
    path, config = tmp_path / "api", tmp_path / "bot.toml"
    config.write_text(CONFIG.replace("127.0.0.1:{port}", str(path)))
    settings = GatewaySettings(AccountSettings(), Stock())
    gateway = open_gateway(settings, MarketSettings(), tmp_path / "gateway", GatewayClock())
    with serving(gateway) as (port, _), proxy(path, port):
        assert main([*CHECK, str(config)]) == 0
    assert "SPY" in capsys.readouterr().out


def test_a_socket_that_is_not_there_is_one_line(tmp_path, capsys):
    config = tmp_path / "bot.toml"
    config.write_text(CONFIG.replace("127.0.0.1:{port}", str(tmp_path / "api")))
    assert main([*CHECK, str(config)]) != 0
    said = capsys.readouterr().err
    assert f"Gateway {tmp_path}/api cannot be reached: No such file or directory" in said
    assert said.count("\n") == 1
