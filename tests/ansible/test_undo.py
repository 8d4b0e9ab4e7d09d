"""playbooks/undo.yml leaves no role out, and takes them from the last to the first."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


HOST = ROOT / "roles/host"
ROLES = yaml.safe_load((HOST / "vars/main.yml").read_text(encoding="utf-8"))["__host_roles"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A directory of roles: host itself, and in place of each other one that says its turn."""
    here = tmp_path_factory.mktemp("host")
    shutil.copytree(HOST, here / "roles/host")
    for role in ROLES:
        tasks = here / "roles" / role / "tasks"
        tasks.mkdir(parents=True)
        for name in ("main", "check"):
            said = f"{name} {role} {{{{ {role}_state | default('present') }}}}"
            task = {"ansible.builtin.debug": {"msg": said}, "tags": ["inside"]}
            (tasks / f"{name}.yml").write_text(yaml.safe_dump([task]))
    (here / "roles" / ROLES[-2] / "tasks/check.yml").unlink()
    (here / "ansible.cfg").write_text("[defaults]\n")
    return here


def turns(directory: Path, file: str, *words: str, **settings: str) -> list[str]:
    """Which roles have their turn in one of host's files of tasks, and their state.

    Args:
        directory: The fixture.
        file: The file's name.
        words: For ansible-playbook.
        settings: The inventory's.
    """
    role = {"import_role": {"name": "host", "tasks_from": file}}
    play = {"hosts": "all", "gather_facts": False, "tasks": [role]}
    (directory / "play.yml").write_text(yaml.safe_dump([play]))
    inventory = {"all": {"hosts": {"pi": settings | {"ansible_connection": "local"}}}}
    (directory / "inventory.yml").write_text(yaml.safe_dump(inventory))
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", "inventory.yml", "play.yml", *words],
        env=os.environ | {"ANSIBLE_NOCOLOR": "true", "ANSIBLE_CONFIG": "ansible.cfg"},
        cwd=directory,
        check=True,
        capture_output=True,
        text=True,
    )
    return re.findall(r'"msg": "(.*)"', done.stdout)


def test_every_role_of_the_host_has_its_turn(directory):
    assert turns(directory, "main.yml") == [f"main {role} present" for role in ROLES]


def test_every_role_is_undone_from_the_last_to_the_first_whatever_an_inventory_says(directory):
    # The boot files are last in both, as a reboot follows.
    back = [*reversed(ROLES[:-1]), ROLES[-1]]
    assert back[-1] == "boot_config"
    said = turns(directory, "undo.yml", swap_state="present")
    assert said == [f"main {role} absent" for role in back]


@pytest.mark.parametrize("file", ["main.yml", "undo.yml"])
def test_tags_and_toggles_choose_the_same_roles_in_both(directory, file):
    def chosen(*words: str, **settings: str) -> list[str]:
        return sorted(turn.split()[1] for turn in turns(directory, file, *words, **settings))

    assert chosen("--tags", "sysctl,swap") == ["swap", "sysctl"]
    assert chosen("--tags", "docker") == []
    assert chosen("--skip-tags", "logs") == sorted({*ROLES} - {"logs"})
    off = {"swap_enabled": False, "logs_enabled": "no"}
    assert chosen("--skip-tags", "storage", **off) == sorted({*ROLES} - {"logs", "swap", "storage"})


def test_each_role_that_checks_its_settings_does_so_unless_it_is_off(directory):
    checked = turns(directory, "check.yml", logs_enabled="false")
    assert checked == [f"check {role} present" for role in ROLES if role not in {"logs", ROLES[-2]}]


def plays(name: str) -> list[dict]:
    """The plays of a playbook that touch a host."""
    found = yaml.safe_load((ROOT / "playbooks" / name).read_text(encoding="utf-8"))
    return [play for play in found if "hosts" in play]


def roles_of(play: dict) -> list[str]:
    """The roles that a play's tasks import or include."""
    tasks = play.get("tasks", []) + play.get("post_tasks", [])
    calls = ("ansible.builtin.import_role", "ansible.builtin.include_role")
    return [task[call]["name"] for task in tasks for call in calls if call in task]


def test_the_playbook_has_all_removed_that_the_other_one_brings():
    brought = {role for play in plays("site.yml") for role in roles_of(play)} | {"docker"}
    undo = plays("undo.yml")[-1]
    assert undo["vars"] == {f"{role}_state": "absent" for role in brought}
    *roles, host = roles_of(undo)
    assert host == "host"
    assert sorted(roles) == sorted(brought)
    # Containers go before Docker does.
    assert roles[-1] == "docker"


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
