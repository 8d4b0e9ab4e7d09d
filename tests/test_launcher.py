"""The launcher's own part: where it runs from, what it refuses, what it says before it installs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def checkout() -> Iterator[Path]:
    """What the launcher reads before it installs anything, in a path with spaces, for any user."""
    with tempfile.TemporaryDirectory(prefix="grid berry ") as folder:
        Path(folder).chmod(0o755)
        copy = Path(folder) / "my pis"
        (copy / "virtual_pi").mkdir(parents=True)
        shutil.copy(ROOT / "gridberry", copy)
        shutil.copy(ROOT / "requirements.lock", copy)
        shutil.copy(ROOT / "virtual_pi" / "apt-packages.txt", copy / "virtual_pi")
        yield copy


def launch(
    checkout: Path, *arguments: str, nobody: bool = False, **environment: str
) -> subprocess.CompletedProcess[str]:
    command = [str(checkout / "gridberry"), *arguments]
    if nobody:
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]
    return subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        cwd="/",
        stdin=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "HOME": str(checkout), **environment},
    )


def test_help_from_any_folder(checkout: Path) -> None:
    result = launch(checkout, "help")
    assert result.returncode == 0
    for verb in ("demo", "setup", "test", "status", "audit", "ssh", "down"):
        assert f"./gridberry {verb}" in result.stdout


def test_help_through_a_link(checkout: Path) -> None:
    link = checkout.parent / "link to it"
    link.symlink_to(checkout / "gridberry")
    assert subprocess.run([link], check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["dmeo"], "dmeo"),
        (["demo", "--pis", "none"], "none"),
        (["demo", "--pis"], "--pis"),
        (["demo", "--fast"], "--fast"),
        (["status", "--xml"], "--xml"),
        (["down", "everything"], "everything"),
        (["test", "--slow"], "--slow"),
        (["ssh"], "ssh"),
        (["setup", "--pis"], "help"),
    ],
)
def test_wrong_use_is_one_line_and_exit_2(checkout: Path, arguments: list[str], names: str) -> None:
    result = launch(checkout, *arguments)
    assert result.returncode == 2
    assert names in result.stderr.splitlines()[-1]
    assert not (checkout / ".venv").exists()


def test_candles_that_are_not_there(checkout: Path) -> None:
    result = launch(checkout, "demo", GRIDBERRY_CANDLES="/no/such file.csv")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "GRIDBERRY_CANDLES is '/no/such file.csv'" in result.stderr
    assert not (checkout / ".venv").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_without_root_it_says_what_to_install_and_stops(checkout: Path) -> None:
    # An empty package database: to dpkg-query this is a machine where nothing is installed.
    database = checkout.parent / "dpkg"
    database.mkdir()
    (database / "status").touch()
    state = checkout.parent / "state"
    state.mkdir()
    state.chmod(0o777)
    result = launch(
        checkout, "demo", nobody=True, DPKG_ADMINDIR=str(database), GRIDBERRY_STATE=str(state)
    )
    assert result.returncode == 3, result.stderr
    command = result.stderr.splitlines()[-1]
    assert "apt-get install" in command
    for package in ("qemu-system-arm", "mtools"):
        assert package in command
    assert not (checkout / ".venv").exists()


def test_setup_needs_neither_debian_nor_root_but_ssh(checkout: Path, tmp_path: Path) -> None:
    # A PATH with little in it: what is missing is named before anything is installed.
    for program in ("sh", "env", "readlink", "dirname", "date", "mkdir", "id", "cat"):
        (tmp_path / program).symlink_to(shutil.which(program) or program)
    (tmp_path / "python3").symlink_to(sys.executable)
    result = launch(checkout, "setup", PATH=str(tmp_path), GRIDBERRY_STATE=str(tmp_path / "state"))
    assert result.returncode == 3, result.stderr
    assert result.stderr.startswith("gridberry: ssh is missing")
    assert not (checkout / ".venv").exists()


def test_needs_a_first_run(checkout: Path) -> None:
    for verb in ("status", "audit"):
        result = launch(checkout, verb)
        assert result.returncode == 1
        assert "./gridberry demo" in result.stderr
