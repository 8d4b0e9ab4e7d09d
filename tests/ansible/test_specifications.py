"""Each role's argument specification and defaults are of the same settings."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

ROLES = Path(__file__).resolve().parents[2] / "roles"
WITH_SETTINGS = sorted(path.parent.parent for path in ROLES.glob("*/meta/argument_specs.yml"))


def load(path: Path):
    """A YAML file's content."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def options(role: Path) -> dict:
    """The options of a role's main entry point."""
    return load(role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]


def defaults(role: Path) -> dict:
    """The settings of a role, with their defaults."""
    return load(role / "defaults/main.yml")


@pytest.mark.parametrize("role", WITH_SETTINGS, ids=lambda role: role.name)
class TestRole:
    def test_every_default_is_specified(self, role):
        assert options(role).keys() == defaults(role).keys()

    def test_a_default_is_written_once(self, role):
        # Ansible reads it from defaults/main.yml alone: a second one could only contradict it.
        assert [name for name, option in options(role).items() if "default" in option] == []

    def test_defaults_have_their_type(self, role):
        for name, default in defaults(role).items():
            if "{{" in str(default):
                continue
            option = options(role)[name]
            known = {key: option[key] for key in ("type", "elements", "choices") if key in option}
            result = ArgumentSpecValidator({name: known}).validate({name: default})
            assert result.error_messages == []

    def test_every_default_has_a_comment_above_it(self, role):
        lines = (role / "defaults/main.yml").read_text(encoding="utf-8").splitlines()
        block_has_comment = False
        for line in lines:
            if not line.strip():
                block_has_comment = False
            elif line.startswith("#"):
                block_has_comment = True
            elif re.match(r"\w+:", line):
                assert block_has_comment, line

    def test_names_carry_the_role(self, role):
        assert all(name.startswith(f"{role.name}_") for name in options(role))

    def test_readme_names_every_setting(self, role):
        text = (role / "README.md").read_text(encoding="utf-8")
        assert [name for name in options(role) if f"`{name}`" not in text] == []


def test_every_role_has_what_a_role_has():
    for role in (path for path in ROLES.iterdir() if path.is_dir()):
        assert (role / "README.md").is_file(), role
        # One without settings carries a module, or names other roles.
        assert (role / "defaults").is_dir() == (role in WITH_SETTINGS), role
        if (role / "tasks").is_dir():
            assert (role / "tasks/main.yml").is_file()


def test_collections_are_those_of_the_installed_package():
    import ansible_collections

    root = Path(next(iter(ansible_collections.__path__)))
    for wanted in load(ROLES.parent / "requirements.yml")["collections"]:
        manifest = root / wanted["name"].replace(".", "/") / "MANIFEST.json"
        found = load(manifest)["collection_info"]["version"]
        assert found == wanted["version"], wanted["name"]


def variables(role: Path) -> dict:
    """The variables that a role brings along, with their defaults."""
    found = {}
    for file in [*(role / "vars").rglob("*.yml"), role / "defaults/main.yml"]:
        found |= (load(file) or {}) if file.is_file() else {}
    return found


def test_another_roles_variable_has_a_value_without_that_role():
    brought = {role.name: variables(role) for role in ROLES.iterdir() if role.is_dir()}
    for role, own in brought.items():
        # `host` asks each role for its own toggle, in that role's import.
        if role == "host":
            continue
        others = {name: value for one in brought.values() for name, value in one.items()}
        names = "|".join(others.keys() - own.keys())
        used = re.compile(rf"(?<![\w.])({names})\b(?!:| = )( \| default\(([^()]*)\))?")
        folders = ("defaults/*", "tasks/*", "handlers/*", "templates/*", "vars/*.yml", "vars/*/*")
        for file in (one for folder in folders for one in (ROLES / role).glob(folder)):
            if file.is_dir():
                continue
            for name, default, value in used.findall(file.read_text(encoding="utf-8")):
                assert default, f"{file}: {name}"
                # The same as that role's own, or the next one in the chain.
                assert value in others or yaml.safe_load(value) == others[name], f"{file}: {name}"


def test_a_roles_variables_stay_its_own(tmp_path):
    play = [
        {
            "hosts": "localhost",
            "gather_facts": False,
            "tasks": [
                {"ansible.builtin.import_role": {"name": "packages"}},
                {"ansible.builtin.assert": {"that": ["packages_lock_timeout is not defined"]}},
            ],
        }
    ]
    (tmp_path / "play.yml").write_text(yaml.safe_dump(play))
    done = subprocess.run(
        ["ansible-playbook", "-i", "localhost,", "-c", "local", tmp_path / "play.yml"],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROLES.parent,
        env=os.environ | {"ANSIBLE_CONFIG": str(ROLES.parent / "ansible.cfg")},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def facts_of(tasks: list) -> set[str]:
    """The names that tasks set for a host: they outlive the role, and win against its variables."""
    found: set[str] = set()
    for task in tasks or []:
        found |= set(task.get("ansible.builtin.set_fact", {})) - {"cacheable"}
        found |= {task["register"]} if "register" in task else set()
        for part in ("block", "rescue", "always"):
            found |= facts_of(task.get(part))
    return found


def test_no_fact_hides_a_variable_of_a_role():
    named = {name: path for path in ROLES.glob("*/vars/**/*.yml") for name in load(path) or {}}
    for path in ROLES.glob("*/tasks/*.yml"):
        hidden = facts_of(load(path)) & set(named)
        assert not hidden, f"{path}: {hidden}"
