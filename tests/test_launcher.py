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

from fleet.demo import SETTINGS, mark, recipe
from virtual_pi.machines import Machine

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
        for name in ("fleet", "inventory", "bot/src", "roles/status/filter_plugins"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
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
    for verb in (
        "try",
        "demo",
        "prepare",
        "find",
        "new",
        "setup",
        "test",
        "status",
        "audit",
        "ssh",
        "down",
    ):
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
        (["ssh", "--port", "1"], "--port"),
        (["resume", "--take", "all"], "all"),
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


STUB = """#!/bin/sh
printf '%s\\n' "$*" >>"$CALLS"
case "$*" in
    *purelib*) dirname -- "$CALLS"; exit ;;
    "-m ansible playbook"*settings.yml*) printf '%s\\n' "$REFUSAL"; exit 1 ;;
    "-m virtual_pi"*) echo "a machine was to be made" >&2; exit 1 ;;
    "-m fleet.demo"*--due) ;;
    "-m fleet.demo"*) exit ;;
esac
exec "$PYTHON" "$@"
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A checkout with a .venv whose Python neither runs Ansible nor makes machines."""
    copy = tmp_path / "checkout"
    for folder in ("fleet", "inventory", "virtual_pi", "bot/src", "roles/status/filter_plugins"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("gridberry", "requirements.lock"):
        shutil.copy(ROOT / file, copy)
    commands = copy / ".venv/bin"
    commands.mkdir(parents=True)
    shutil.copy(ROOT / "requirements.lock", copy / ".venv/installed.lock")
    (commands / "python").write_text(STUB)
    # To the launcher, all of Debian's packages are there.
    (commands / "dpkg-query").write_text("#!/bin/sh\necho installed\n")
    for command in commands.iterdir():
        command.chmod(0o755)
    return copy


def launch_installed(
    checkout: Path, *arguments: str, **environment: str
) -> tuple[subprocess.CompletedProcess[str], str]:
    """Run it; also returns what its Python was called with."""
    calls = checkout / "calls"
    calls.touch()
    result = launch(
        checkout,
        *arguments,
        CALLS=str(calls),
        PYTHON=sys.executable,
        **{"PATH": f"{checkout}/.venv/bin:{os.environ['PATH']}"} | environment,
    )
    return result, calls.read_text()


CANDLES = "timestamp,open,high,low,close,volume\n1640991660000,100,101,99,100,1\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("not candles\n", "column timestamp is missing"),
        (CANDLES + "1640991720000,100,101,99,100,x\n", "line 3: volume 'x' is not a number"),
        (CANDLES.replace("100,101,99,100", ",".join(["0.00000001"] * 4)), "finds no room"),
    ],
)
def test_candles_that_cannot_be_traded_are_refused_before_anything_is_installed(
    installed: Path, text: str, says: str
) -> None:
    (installed / "market.csv").write_text(text)
    result, calls = launch_installed(
        installed, "demo", GRIDBERRY_CANDLES=str(installed / "market.csv")
    )
    assert result.returncode == 2
    assert result.stderr.startswith("gridberry: GRIDBERRY_CANDLES")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert calls == ""


def test_settings_that_cannot_work_are_refused_before_a_machine_is_made(installed: Path) -> None:
    (installed / "SOLUSDT-1m-2024-01.csv").write_text(CANDLES)
    result, calls = launch_installed(
        installed,
        "demo",
        "--pis=2",
        GRIDBERRY_CANDLES=str(installed / "SOLUSDT-1m-2024-01.csv"),
        REFUSAL="\n[ERROR]: Task failed: Action failed: pi1: grid.upper = 1 is too low\nOrigin: x",
    )
    assert result.returncode == 2
    assert result.stderr == "gridberry: pi1: grid.upper = 1 is too low\n"
    assert "1 candles, traded as SOL/USDT" in result.stdout
    assert "virtual_pi" not in calls
    assert f"-i {installed}/.gridberry/planned.ini" in calls


def test_a_demo_of_which_nothing_has_changed_checks_and_builds_nothing(installed: Path) -> None:
    machine = Machine(installed / ".gridberry", "pi1")
    machine.directory.mkdir(parents=True)
    machine.settings_file.write_text("{}")
    mark(machine).write_text(recipe(installed, dict.fromkeys(SETTINGS, "")))
    _, calls = launch_installed(installed, "demo")
    assert "settings.yml" not in calls
    assert "-m fleet.demo --pis 1\n" in calls
    assert "-m virtual_pi image" not in calls
    for more in (["--again"], ["--pis", "2"]):
        (installed / "calls").unlink()
        _, calls = launch_installed(installed, "demo", *more, REFUSAL="[ERROR]: Action failed: no")
        assert "settings.yml" in calls
