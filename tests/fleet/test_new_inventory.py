"""`./gridberry new`: its questions on a real terminal, its proposal, and what it writes."""

from __future__ import annotations

import importlib
import os
import pty
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from gridbase.candles.price_units import from_units
from gridbase.errors import UserError

from fleet.new_inventory import __main__ as new
from fleet.new_inventory import answers, proposal

ROOT = Path(__file__).resolve().parents[2]
HOUR = 3_600_000
BEGIN = 1_767_225_600_000  # 2026-01-01


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout to write into; the checks are this one's."""
    (tmp_path / "inventory").mkdir()
    return tmp_path


@pytest.fixture
def candles(tmp_path: Path) -> Path:
    """200 days, hour by hour: long ago at 1,000, in the last 100 days between 90 and 110."""
    lines = ["timestamp,open,high,low,close,volume"]
    for hour in range(200 * 24):
        wave = 90 + 20 * abs((hour + 11) % 40 / 20 - 1)
        price = 1000.0 if hour < 100 * 24 else wave
        row = (BEGIN + hour * HOUR, price, price + 0.5, price - 0.5, price, 1)
        lines.append(",".join(map(str, row)))
    path = tmp_path / "SOLUSDT-1h-2026-01.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def secret(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text + "\n")
    return path


def test_all_by_options_passes_the_checks_of_a_deployment(
    root: Path, candles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["home", "--pi", "pi1", "--pi", "pi2=fd00::2", "--user", "me", "--nvme", "yes"]
    line += ["--budget", "50000", "--candles", str(candles), "--yes"]
    assert new.main(line, root) == 0
    home = root / "inventory" / "home"
    hosts = yaml.safe_load((home / "hosts.yml").read_text())["trading"]["hosts"]
    assert hosts == {"pi1": {"ansible_host": "pi1.local"}, "pi2": {"ansible_host": "fd00::2"}}
    settings = yaml.safe_load((home / "group_vars/trading/main.yml").read_text())
    assert settings == {
        "ansible_user": "me",
        "preflight_nvme_device": "/dev/nvme0n1",
        "grid_bot_exchange": "binance",
        "grid_bot_symbol": "SOL/USDT",
        "grid_bot_lower": "90",
        "grid_bot_upper": "110",
        "grid_bot_grids": 20,
        "grid_bot_investment": "50000",
        "grid_bot_mode": "paper",
        "grid_bot_exchange_balance": "50000",
    }
    assert {path.name for path in (home / "host_vars").iterdir()} == {"pi1.yml", "pi2.yml"}
    assert not (home / "group_vars/trading/vault.yml").exists()
    said = capsys.readouterr().out
    assert "Proposed: 20 grids from 90 to 110" in said
    assert "expect less of those to come" in said
    assert "ansible-playbook -i inventory/home playbooks/site.yml --check --diff" in said


def test_keys_are_in_a_vault_that_ansible_opens(root: Path, tmp_path: Path) -> None:
    line = ["home", "--yes", "--lower", "42000", "--upper", "50000"]
    for name, text in (("api-key", "KEY: 1"), ("api-secret", "s3'\""), ("vault-password", "pass")):
        line += [f"--{name}-file", str(secret(tmp_path / name, text))]
    assert new.main(line, root) == 0
    vault = root / "inventory/home/group_vars/trading/vault.yml"
    assert stat.S_IMODE(vault.stat().st_mode) == 0o600
    ansible = importlib.import_module("ansible.parsing.vault")
    opener = ansible.VaultLib([("default", ansible.VaultSecret(b"pass"))])
    keys = {"grid_bot_api_key": "KEY: 1", "grid_bot_api_secret": "s3'\""}
    assert yaml.safe_load(opener.decrypt(vault.read_text())) == keys
    assert "KEY" not in vault.read_text()


def test_what_a_deployment_would_refuse_is_not_written(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # 900 lines between 42,000 and 42,900 are nearer to each other than two fees.
    line = ["home", "--yes", "--lower", "42000", "--upper", "42900", "--grids", "900"]
    assert new.main(line, root) == 2
    error = capsys.readouterr().err
    assert error.startswith("gridberry: these settings are refused: ")
    assert "grid.grids" in error
    assert not list((root / "inventory").iterdir())


def test_nothing_is_ever_overwritten(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "inventory/home").mkdir()
    assert new.main(["home", "--yes", "--lower", "1", "--upper", "2"], root) == 2
    assert "inventory/home is there already" in capsys.readouterr().err
    for name in ("example", "virtual", "../x", "A"):
        assert new.main([name, "--yes"], root) == 2
    with pytest.raises(FileExistsError):
        new.write(root / "inventory/home", new.files(simple()), "")
    assert list((root / "inventory").iterdir()) == [root / "inventory/home"]
    assert not list((root / "inventory/home").iterdir())


def simple() -> answers.Answers:
    grid = answers.Grid(Decimal(42000), Decimal(50000), 10)
    pis = {"pi1": "pi1.local"}
    return answers.Answers(pis, "me", nvme=False, exchange="binance", symbol="BTC/USDT",
                           budget=Decimal(1000), grid=grid)  # fmt: skip


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--pi", "pi_1", "a Pi's name is 'pi_1'"),
        ("--pi", "pi1=192.168.1.999", "the address of pi1 is '192.168.1.999'"),
        ("--pi", "pi1 pi1", "is there twice"),
        ("--user", "root", "'root'"),
        ("--nvme", "perhaps", "yes or no is allowed"),
        ("--exchange", "kraken", "binance or binanceus is allowed"),
        ("--symbol", "btcusdt", "two coins such as BTC/USDT"),
        ("--symbol", "BTC/BTC", "two coins such as BTC/USDT"),
        ("--budget", "1,000", "plain digits above 0"),
        ("--budget", "0", "plain digits above 0"),
        ("--lower", "-1", "plain digits above 0"),
        ("--upper", "41000", "above the lowest, 42000, is allowed"),
        ("--grids", "1", "2 to 999 is allowed"),
        ("--grids", "٣", "2 to 999 is allowed"),
        ("--candles", "/no/such.csv", "/no/such.csv"),
        ("--api-key-file", "/no/such", "--api-key-file = /no/such"),
    ],
)
def test_a_wrong_option_is_one_line(
    root: Path, capsys: Any, option: str, value: str, said: str
) -> None:
    options = {"--lower": "42000", "--upper": "50000", option: value}
    line = [f"{name}={text}" for name, text in options.items()]
    assert new.main([*line, "--yes"], root) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert option in error
    assert said in error
    assert not list((root / "inventory").iterdir())


@pytest.fixture
def terminal(root: Path) -> Iterator[Any]:
    """Answer the questions at a terminal of its own; gives what was said, and the exit status."""

    def run(*typed: str) -> tuple[str, int]:
        screen, far = pty.openpty()
        code = (
            "import sys, pathlib; from fleet.new_inventory.__main__ import main;"
            f"sys.exit(main(['home'], pathlib.Path({str(root)!r})))"
        )
        # A session of its own: getpass asks the controlling terminal, which none is then.
        command = [sys.executable, "-c", code]
        ends = {"stdin": far, "stdout": far, "stderr": far}
        process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, **ends)
        os.close(far)
        said = b""
        for line in (*typed, None):
            while not said.endswith(b": ") or line is None:
                try:
                    part = os.read(screen, 4096)
                except OSError:  # Linux's word for the end
                    part = b""
                if not part:
                    break
                said += part
            if line is not None:
                os.write(screen, line.encode() + b"\n")
                said += b"\n"
        os.close(screen)
        return said.decode(), process.wait()

    yield run
    shutil.rmtree(root / "inventory")


def test_a_wrong_answer_is_one_line_and_asked_again(terminal: Any, root: Path) -> None:
    said, status = terminal(
        "pi_x", "pi1=10.0.0.5", "", "maybe", "no", "", "ETH/USDT", "",
        "3200", "2200", "4200", "10", "",
    )  # fmt: skip
    assert status == 0, said
    assert "a Pi's name is 'pi_x'" in said
    assert "the answer is 'maybe'; yes or no is allowed" in said
    assert "the highest price is 2200; above the lowest, 3200, is allowed" in said
    settings = yaml.safe_load((root / "inventory/home/group_vars/trading/main.yml").read_text())
    assert settings["ansible_user"] == "trader"
    assert settings["grid_bot_symbol"] == "ETH/USDT"
    assert (settings["grid_bot_lower"], settings["grid_bot_grids"]) == ("3200", 10)


def test_the_range_is_of_the_last_months_and_has_the_last_price(candles: Path) -> None:
    last = proposal.read_last_days(candles)
    assert len(last) == 90 * 24 + 1
    grid = proposal.propose_range(last)
    assert grid == answers.Grid(Decimal(90), Decimal(110), 20)
    # The market has fallen out of where it was: the range goes to 5 % below the last price.
    last.closes[-1] = 60 * 10**8
    fallen = proposal.propose_range(last)
    assert fallen.lower == 57
    assert fallen.upper == Decimal("109.5")


def test_the_backtest_is_the_engines_and_begins_within_the_range(candles: Path) -> None:
    last = proposal.read_last_days(candles)
    narrow = answers.Grid(Decimal(95), Decimal(105), 10)
    result = proposal.backtest(last, "SOL/USDT", Decimal(1000), narrow)
    assert Decimal(95) <= from_units(int(result.candles.opens[0])) <= Decimal(105)
    assert result.account.sells > 100
    words = proposal.in_words(result, "SOL/USDT")
    assert f"({result.account.sells} pairs)" in words
    assert f"{(result.equity / 1000 - 1) * 100:+.2f} %" in words
    nowhere = answers.Grid(Decimal(10) ** 14, Decimal(10) ** 15, 10)
    with pytest.raises(UserError, match="no candle begins between 100000000000000 and"):
        proposal.backtest(last, "SOL/USDT", Decimal(1000), nowhere)
