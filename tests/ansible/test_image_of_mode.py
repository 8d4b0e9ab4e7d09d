"""Which image each host of a mixed fleet gets: a live bot's has no practice exchange in it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
FLEET = {"pi1": {}, "pi2": {"grid_bot_mode": "live"}, "pi3": {"grid_bot_mode": "paper"}, "pi4": {}}
STOCK = {"grid_bot_exchange": "ib"}


def wanted(tmp_path: Path, fleet: dict[str, dict]) -> dict[str, list[str]]:
    """The hosts that lack an image, by its name, as the role says in check mode.

    Args:
        tmp_path: A directory.
        fleet: The inventory's settings, by host.
    """
    role = tmp_path / "roles/grid_bot"
    role.mkdir(parents=True)
    for name in ("defaults", "vars"):
        (role / name).symlink_to(ROOT / "roles/grid_bot" / name)
    tasks = yaml.safe_load((ROOT / "roles/grid_bot/tasks/main.yml").read_text())
    (role / "tasks").mkdir()
    (role / "tasks/main.yml").write_text(
        yaml.safe_dump([task for task in tasks if "image" in task["name"]])
    )
    inventory = {"all": {"vars": {"ansible_connection": "local"}, "hosts": fleet}}
    (tmp_path / "inventory.yml").write_text(yaml.safe_dump(inventory))
    play = {"hosts": "all", "gather_facts": False}
    play["tasks"] = [{"import_role": {"name": "grid_bot"}, "tags": ["grid_bot"]}]
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    (tmp_path / "ansible.cfg").write_text(f"[defaults]\nroles_path = roles:{ROOT / 'roles'}\n")
    words = ["-i", "inventory.yml", "play.yml", "--check", "--tags", "grid_bot"]
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", *words, "-e", f"__grid_bot_root={ROOT}"],
        env=os.environ | {"ANSIBLE_NOCOLOR": "true", "ANSIBLE_CONFIG": "ansible.cfg"},
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = re.findall(r"would have (gridbot:\w+-\w+) on ([\w, ]+)", done.stdout)
    return {image: hosts.split(", ") for image, hosts in said}


def test_a_mixed_fleet_gets_one_image_for_each_mode(tmp_path):
    found = wanted(tmp_path, FLEET | {"pi5": STOCK})
    assert sorted(found.values()) == [["pi1", "pi3", "pi4"], ["pi2", "pi5"]]


def test_a_fleet_of_one_mode_gets_one(tmp_path):
    live = {name: {"grid_bot_mode": "live"} for name in ("pi1", "pi2")}
    [(image, hosts)] = wanted(tmp_path / "live", live).items()
    assert hosts == ["pi1", "pi2"]
    [(other, hosts)] = wanted(tmp_path / "paper", {"pi1": {}}).items()
    assert hosts == ["pi1"]
    assert other != image
