"""playbooks/undo.yml leaves no role out, and takes them from the last to the first."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


def names(path: str) -> list[str]:
    """The roles that a file of tasks imports, in its order."""
    return [task["ansible.builtin.import_role"]["name"] for task in imports(path)]


def imports(path: str) -> list[dict]:
    """The tasks of a file that import a role."""
    tasks = yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))
    return [task for task in tasks if "ansible.builtin.import_role" in task]


def test_every_role_of_the_host_is_undone_from_the_last_to_the_first():
    there, back = names("roles/host/tasks/main.yml"), names("roles/host/tasks/undo.yml")
    # The boot files are last in both, as a reboot follows.
    assert back == [*reversed(there[:-1]), there[-1]]


def test_every_role_is_told_to_be_absent():
    (play,) = yaml.safe_load((ROOT / "playbooks/undo.yml").read_text(encoding="utf-8"))
    hosts = names("roles/host/tasks/undo.yml")
    assert play["vars"] == {f"{role}_state": "absent" for role in ["grid_bot", "docker", *hosts]}


def test_conditions_and_tags_are_those_of_the_host():
    def told(path: str) -> dict[str, tuple]:
        return {
            task["ansible.builtin.import_role"]["name"]: (task.get("when"), task["tags"])
            for task in imports(path)
        }

    assert told("roles/host/tasks/undo.yml") == told("roles/host/tasks/main.yml")


@pytest.mark.parametrize(
    ("notes", "said"),
    [
        ("chrony\ndocker.io\n", "asked ps"),
        ("docker-ce\n", "asked ps"),
        ("docker.ioo\n", ""),
        (None, ""),
    ],
)
def test_containers_are_asked_for_where_docker_was_installed(tmp_path, notes, said):
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\necho "asked $1"\n')
    docker.chmod(0o755)
    if notes is not None:
        (tmp_path / "notes").write_text(notes)
    done = subprocess.run(
        ["sh", ROOT / "roles/docker/files/running.sh"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "NOTES": tmp_path / "notes"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == said
