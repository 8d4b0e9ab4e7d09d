"""The skeleton of a role, docs/role: it makes a role of the host that works and can be undone."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.ansible import test_specifications

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def roles(tmp_path_factory):
    """A directory of roles with a new one, named in the list of the host's."""
    roles = tmp_path_factory.mktemp("new") / "roles"
    roles.mkdir()
    shutil.copytree(ROOT / "roles/host", roles / "host")
    (roles / "host/vars/main.yml").write_text(yaml.safe_dump({"__host_chosen": ["fresh"]}))
    words = ["role", "init", "--offline", "--role-skeleton", ROOT / "docs/role", "fresh"]
    ansible(roles, "galaxy", *words, "--init-path", roles)
    task = roles / "fresh/tasks/main.yml"
    task.write_text(task.read_text().replace("/etc/fresh.conf", f"{roles.parent}/fresh.conf"))
    return roles


def ansible(roles: Path, program: str, *words: object) -> str:
    """Run one of Ansible's programs beside the roles; what it printed."""
    config = ROOT / "ansible.cfg"
    done = subprocess.run(
        [sys.executable, "-m", "ansible", program, *map(os.fspath, words)],
        env=os.environ
        | {
            "ANSIBLE_NOCOLOR": "true",
            "ANSIBLE_CONFIG": str(config),
            "ANSIBLE_ROLES_PATH": str(roles),
        },
        cwd=roles.parent,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def test_it_says_the_same_in_its_specification_and_its_defaults(roles):
    told = test_specifications.TestRole()
    for name in dir(told):
        if name.startswith("test_"):
            getattr(told, name)(roles / "fresh")


def test_it_is_done_once_and_undone(roles):
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "tasks": [{"import_role": {"name": "host"}}],
    }
    (roles.parent / "play.yml").write_text(yaml.safe_dump([play]))

    def changed(*words: str) -> bool:
        return "changed=1 " in ansible(roles, "playbook", "-i", "localhost,", "-c", "local",
                                       "play.yml", *words)  # fmt: skip

    file = roles.parent / "fresh.conf"
    assert changed("--check")
    assert not file.exists()
    assert changed()
    assert file.read_text() == "# Written by Ansible (role fresh).\n"
    assert not changed()
    assert changed("-e", "fresh_state=absent")
    assert not file.exists()


def test_ansible_lint_has_nothing_to_say(roles):
    shutil.copy(ROOT / ".ansible-lint", roles.parent)  # beside what it is for
    done = subprocess.run(
        [sys.executable, "-m", "ansiblelint", "--offline", "-q", "roles/fresh"],
        env=os.environ | {"ANSIBLE_LIBRARY": str(ROOT / "plugins/modules")},
        cwd=roles.parent,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
