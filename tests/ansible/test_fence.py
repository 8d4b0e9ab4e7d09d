"""A bot that was moved away: neither a deployment nor a person brings it back, unless told to."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.ansible import pretend_docker
from tests.ansible.test_releases import Host, changed, refusal
from tests.fleet.test_cli import run

SCRIPT = Path(__file__).resolve().parents[2] / "roles/grid_bot/files/fence.sh"
FENCE = """
- hosts: trading
  gather_facts: false
  tasks:
    - import_role: {name: grid_bot, tasks_from: fence.yml}
"""


def test_a_fence_holds_until_it_is_lifted(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.image("a")
    assert host.deploy("a").returncode == 0
    (tmp_path / "fence.yml").write_text(FENCE)
    fence = tmp_path / "fence.yml"
    dry = host.play(fence, "--check", grid_bot_state="fenced")
    assert changed(dry) == 1, dry.stdout + dry.stderr
    books = host.world / "volumes/gridberry-paper-bot"
    assert not (books / "fenced").exists()
    assert changed(host.play(fence, grid_bot_state="fenced")) == 1
    assert (books / "fenced").read_text() == "grid_bot_state is fenced\n"
    assert pretend_docker.load(host.world, "containers")["gridberry-bot"]["running"] is False
    assert changed(host.play(fence, grid_bot_state="fenced")) == 0

    said = "pi1: its bot is fenced: grid_bot_state is fenced; set grid_bot_state to fenced, or, if"
    assert said in refusal(host.deploy("a"))
    assert said in refusal(host.deploy("a", "--check"))
    assert said in refusal(host.play("rollback.yml", "-e", "rollback_release=1"))

    assert host.deploy("a", "-e", "grid_bot_lift_fence=true").returncode == 0
    assert not (books / "fenced").exists()
    assert not (host.directory / "fenced").exists()
    assert host.deploy("a").returncode == 0


def test_start_leaves_a_fenced_bot_alone(tmp_path: Path) -> None:
    (tmp_path / "docker").write_text('#!/bin/sh\necho "docker said: $*"\n')
    (tmp_path / "docker").chmod(0o755)
    (tmp_path / "opt").mkdir()
    here = {"ansible_connection": "local", "ansible_become": False}
    hosts = {
        "well": here | {"grid_bot_directory": str(tmp_path)},
        "moved": here | {"grid_bot_directory": str(tmp_path / "opt")},
        "told": here | {"grid_bot_directory": str(tmp_path), "grid_bot_state": "fenced"},
    }
    (tmp_path / "opt/fenced").write_text("moved to pi2 on 2026-11-24 by lead@laptop\n")
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(yaml.safe_dump({"trading": {"hosts": hosts}}))
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = run("start", "-i", str(inventory), **path)
    assert done.returncode == 1
    assert done.stdout.count("docker said: start gridberry-bot") == 1
    assert "moved to pi2 on 2026-11-24 by lead@laptop" in done.stdout
    assert "grid_bot_state is fenced" in done.stdout


def fence(tmp_path: Path, docker: str) -> subprocess.CompletedProcess[str]:
    """Fence a bot on a host whose Docker is this script; its users have the hardened umask."""
    (tmp_path / "docker").write_text(f"#!/bin/sh\n{docker}\n")
    (tmp_path / "docker").chmod(0o755)
    (tmp_path / "books").mkdir(exist_ok=True)
    given = f"PROJECT=gridberry DIRECTORY={tmp_path}/opt TEXT=moved DRY="
    return subprocess.run(
        ["sh", "-c", f"umask 027\n{given}\n{SCRIPT.read_text()}"],
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
    )


@pytest.mark.parametrize("verb", ["Error: No", "error: no"])
def test_a_bot_that_is_not_there_is_fenced(tmp_path: Path, verb: str) -> None:
    done = fence(tmp_path, f'echo "{verb} such object: gridberry-bot" >&2; exit 1')
    assert (done.returncode, done.stdout) == (0, "changed\nstopped\n")


def test_no_fence_is_claimed_while_docker_cannot_say_where_the_books_are(tmp_path: Path) -> None:
    done = fence(tmp_path, 'echo "Cannot connect to the Docker daemon at x." >&2; exit 1')
    assert done.returncode == 1
    assert "stopped" not in done.stdout
    assert "Cannot connect to the Docker daemon" in done.stderr
    assert (tmp_path / "opt/fenced").exists()  # no deployment or start from here on


def test_the_bot_can_read_why_it_is_fenced(tmp_path: Path) -> None:
    docker = f'case $3 in *Mounts*) echo {tmp_path}/books ;; *) echo "running=false" ;; esac'
    assert fence(tmp_path, docker).returncode == 0
    assert (tmp_path / "books/fenced").stat().st_mode & 0o777 == 0o644
