"""What role grid_bot learns of a live bot's open grids before it is removed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ORDERS = Path(__file__).resolve().parents[2] / "roles/grid_bot/files/orders.sh"
# `docker run` runs what it is given here, on books that lie beside this.
DOCKER = """\
#!/bin/sh
here=$(dirname "$0")
case "$1 $2" in
    "volume ls") cat "$here/volumes" 2>/dev/null && exit || echo "Cannot connect"; exit 1 ;;
    "inspect --format") [ -e "$here/image" ] && echo sha256:1 && exit; echo "no image"; exit 1 ;;
    run*) sed "s|/var/lib/gridbot|$here/books|" | PYTHONPATH=$here "$PYTHON" - ;;
esac
"""
STORE = """\
from types import SimpleNamespace


class Store:
    def __init__(self, directory, *, read_only):
        assert read_only
        lines = (directory / "grids").read_text().splitlines()
        self.grids = dict(line.split() for line in lines)

    def symbols(self):
        return list(self.grids)

    def grid_run(self, symbol):
        closed = self.grids[symbol]
        return SimpleNamespace(closed_ms=None if closed == "open" else int(closed))
"""


@pytest.fixture
def bot(tmp_path):
    """A live bot that has traded, as its Docker shows it."""
    (tmp_path / "docker").write_text(DOCKER)
    (tmp_path / "docker").chmod(0o755)
    (tmp_path / "gridbot").mkdir()
    (tmp_path / "gridbot/__init__.py").touch()
    (tmp_path / "gridbot/store.py").write_text(STORE)
    (tmp_path / "books").mkdir()
    (tmp_path / "bot.toml").write_text('name = "pi"\nmode = "live"\n')
    (tmp_path / "volumes").write_text("gridberry-live-bot\n")
    (tmp_path / "image").touch()
    return tmp_path


def orders(bot: Path) -> list[str]:
    """What the script says of it."""
    script = f"DIRECTORY={bot}\n{ORDERS.read_text(encoding='utf-8').replace('/run/', f'{bot}/')}"
    environment = os.environ | {"PATH": f"{bot}:/usr/bin:/bin", "PYTHON": sys.executable}
    done = subprocess.run(
        ["sh", "-c", script], env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout.splitlines()


def test_grids_that_are_open_are_named(bot):
    (bot / "books/grids").write_text("BTC/USDT open\nETH/USDT 17\nXRP/USDT open\n")
    assert orders(bot) == ["open BTC/USDT", "open XRP/USDT"]


def test_a_closed_one_is_none(bot):
    (bot / "books/grids").write_text("BTC/USDT 17\n")
    assert orders(bot) == []


def test_one_that_has_not_traded_has_none(bot):
    assert orders(bot) == []
    (bot / "volumes").write_text("")
    assert orders(bot) == []


def test_paper_is_not_asked(bot):
    (bot / "books/grids").write_text("BTC/USDT open\n")
    (bot / "bot.toml").write_text('mode = "paper"\n')
    assert orders(bot) == []


def test_what_cannot_be_asked_is_said(bot):
    (bot / "books/grids").write_text("not books\nat all, these\n")
    assert orders(bot)[0].startswith("unknown ValueError")
    (bot / "image").unlink()
    assert orders(bot) == ["unknown no image"]
    (bot / "volumes").unlink()
    assert orders(bot) == ["unknown Cannot connect"]
